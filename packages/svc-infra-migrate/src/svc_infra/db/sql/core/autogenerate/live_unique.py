"""Unique keys among live rows on MySQL and MariaDB, which have a generated column that no model has.

See `svc_infra.db.sql.live_unique`; importing it lets revisions carry its option `mysql_where` on every database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import Column, Index, Table, text

from svc_infra.db.sql.live_unique import marker_column

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["compare_live_unique", "is_marker"]

_CONDITION = re.compile(r"^\(*if\((.*?),\s*1\s*,\s*NULL\)\)*$", re.IGNORECASE | re.DOTALL)


def compare_live_unique(
    context: AutogenContext,
    group: ops.ModifyTableOps,
    _schema: str | None,
    _table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    """Compare such keys as what they are, and not as an index and a column."""
    if context.dialect.name not in {"mysql", "mariadb"} or conn_table is None:
        return PriorityDispatchResult.CONTINUE
    wanted = {} if metadata_table is None else {str(index.name): index for index in metadata_table.indexes}
    for existing in list(_existing(conn_table)):
        name = str(existing.name)
        model = wanted.get(name)
        is_same = (
            model is not None
            and marker_column(model) is not None
            and [column.name for column in model.columns] == [column.name for column in existing.columns]
        )
        for operation in list(group.ops):
            if isinstance(operation, ops.DropIndexOp) and operation.index_name == name:
                # With its column, and on the way back as the key that it was.
                group.ops[group.ops.index(operation)] = ops.DropIndexOp.from_index(existing)
            if is_same and getattr(operation, "index_name", None) == name:
                group.ops[:] = [each for each in group.ops if getattr(each, "index_name", None) != name]
    return PriorityDispatchResult.CONTINUE


def is_marker(column: Column[object]) -> bool:
    """Tell whether a column of the database is the generated one of such a key; it comes and goes with the key."""
    return column.computed is not None and any(marker_column(key) == column.name for key in _existing(column.table))


def _existing(table: Table) -> Iterator[Index]:
    """The keys in the database, each as a model would have it."""
    for index in list(table.indexes):
        columns = list(index.columns)
        generated = columns[-1].computed if columns else None
        condition = _CONDITION.match(str(generated.sqltext)) if generated is not None else None
        if index.unique and condition is not None and len(columns) > 1:
            found = Index(str(index.name), *columns[:-1], unique=True, mysql_where=text(condition[1].replace("`", "")))
            table.indexes.discard(found)
            if marker_column(found) == columns[-1].name:
                yield found
