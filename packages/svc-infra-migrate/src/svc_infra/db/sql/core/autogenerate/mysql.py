"""The indexes that MySQL and MariaDB make for foreign keys, and keep when the key goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import Table

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["compare_foreign_key_indexes", "leave_indexes_to_their_tables"]


def compare_foreign_key_indexes(
    context: AutogenContext,
    group: ops.ModifyTableOps,
    _schema: str | None,
    _table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    """Create the index of a new foreign key by name, and drop the one of a dropped key, so that none is left over."""
    is_mysql = context.dialect.name in {"mysql", "mariadb"}
    if not is_mysql or conn_table is None or metadata_table is None:
        return PriorityDispatchResult.CONTINUE
    left = {str(index.name): index for index in conn_table.indexes}
    wanted = {str(index.name) for index in metadata_table.indexes}
    added = {str(item.constraint_name) for item in group.ops if isinstance(item, ops.CreateForeignKeyOp)}
    for operation in list(group.ops):
        if isinstance(operation, ops.DropConstraintOp) and operation.constraint_type == "foreignkey":
            index = left.get(str(operation.constraint_name))
            if (
                index is not None
                and index.name not in wanted | added
                and not _is_covered(metadata_table, list(index.columns.keys()))
            ):
                group.ops.insert(group.ops.index(operation) + 1, ops.DropIndexOp.from_index(index))
        elif isinstance(operation, ops.CreateForeignKeyOp) and operation.constraint_name:
            columns = list(operation.local_cols)
            if not _is_covered(metadata_table, columns) and str(operation.constraint_name) not in left:
                index_op = ops.CreateIndexOp(str(operation.constraint_name), operation.source_table, columns)
                group.ops.insert(group.ops.index(operation), index_op)
    return PriorityDispatchResult.CONTINUE


def leave_indexes_to_their_tables(operations: ops.OpContainer) -> None:
    """Take out the drops of indexes whose table is dropped too: one that a foreign key uses can't be dropped before.

    Alembic drops every index before its table, so that a first revision can not be undone there; see
    https://github.com/miguelgrinberg/Flask-Migrate/issues/13 .
    """
    dropped = {(item.table_name, item.schema) for item in operations.ops if isinstance(item, ops.DropTableOp)}
    for group in list(operations.ops):
        if isinstance(group, ops.ModifyTableOps) and (group.table_name, group.schema) in dropped:
            group.ops = [item for item in group.ops if not isinstance(item, ops.DropIndexOp)]
            if group.is_empty():
                operations.ops.remove(group)
        elif isinstance(group, ops.DropIndexOp) and (group.table_name, group.schema) in dropped:
            operations.ops.remove(group)


def _is_covered(table: Table, columns: Sequence[str]) -> bool:
    """Tell whether an index or key of the model begins with the columns, so that the database makes none."""
    from sqlalchemy import UniqueConstraint

    candidates = [[column.name for column in table.primary_key]]
    candidates += [[column.name for column in index.columns] for index in table.indexes]
    candidates += [
        [column.name for column in item.columns] for item in table.constraints if isinstance(item, UniqueConstraint)
    ]
    return any(candidate[: len(columns)] == list(columns) for candidate in candidates)
