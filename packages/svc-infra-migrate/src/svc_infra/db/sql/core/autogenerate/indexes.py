"""Indexes with a predicate or an expression, compared by the definition that the database keeps of them.

Alembic does not compare predicates, is unsure about expressions, and does not see SQLite's expression indexes at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import Column, Connection, Index, Table, text

from svc_infra.db.sql.core.autogenerate.definitions import index_definitions
from svc_infra.db.sql.core.autogenerate.twins import Twins

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["compare_indexes"]


def compare_indexes(
    context: AutogenContext,
    group: ops.ModifyTableOps,
    schema: str | None,
    _table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    """Correct what Alembic has found out about the special indexes of a table."""
    connection, twins = context.connection, context.opts.get("twins")
    if connection is None or not isinstance(twins, Twins):
        return PriorityDispatchResult.CONTINUE
    if conn_table is None:
        _create_indexes_of_new_table(connection, group, metadata_table)
        return PriorityDispatchResult.CONTINUE
    if metadata_table is None:
        return PriorityDispatchResult.CONTINUE
    twin = twins.of(metadata_table, (column.name for column in conn_table.columns))
    if twin is None:
        return PriorityDispatchResult.CONTINUE
    existing = index_definitions(connection, conn_table.name, schema)
    wanted = {str(index.name): index for index in metadata_table.indexes}
    reflected = {str(index.name): index for index in conn_table.indexes}
    for name, index in wanted.items():
        if name not in twin.indexes and not _is_special(existing.get(name, "")):
            continue  # a plain index, or one with a new column, which Alembic creates
        found = [item for item in group.ops if getattr(item, "index_name", None) == name]
        if name not in existing:
            if not found:
                group.ops.append(ops.CreateIndexOp.from_index(index))
        elif twin.indexes.get(name) == existing[name]:
            for item in found:  # Alembic's guess, which the definitions disprove
                group.ops.remove(item)
        elif not found:
            group.ops.append(
                ops.DropIndexOp.from_index(reflected.get(name) or _from_text(name, existing[name], conn_table))
            )
            group.ops.append(ops.CreateIndexOp.from_index(index))
    for name in existing.keys() - wanted.keys() - reflected.keys():
        if _is_special(existing[name]):
            group.ops.append(ops.DropIndexOp.from_index(_from_text(name, existing[name], conn_table)))
    return PriorityDispatchResult.CONTINUE


def _create_indexes_of_new_table(
    connection: Connection, group: ops.ModifyTableOps, metadata_table: Table | None
) -> None:
    """Create the expression indexes that Alembic leaves out of a new table on SQLite."""
    if metadata_table is None or connection.dialect.name != "sqlite":
        return
    named = {getattr(item, "index_name", None) for item in group.ops}
    for index in metadata_table.indexes:
        if index.name not in named:
            group.ops.append(ops.CreateIndexOp.from_index(index))


def _is_special(definition: str) -> bool:
    """Tell whether an index has a predicate, or anything but columns in its parentheses."""
    return " WHERE " in definition or "(" in definition[definition.find("(") + 1 :]


def _from_text(name: str, definition: str, table: Table) -> Index:
    """Make an index of the text that SQLite keeps of it."""
    body = definition[definition.index("(") :]
    depth, end = 1, 0
    while depth:
        end += 1
        depth += {"(": 1, ")": -1}.get(body[end], 0)
    where = body[end + 1 :].partition("WHERE ")[2].strip()
    inner = body[1:end]
    part = table.columns[inner] if inner in table.columns else text(inner)
    index = Index(name, part, unique=definition.startswith("UNIQUE "), sqlite_where=text(where) if where else None)
    if not isinstance(part, Column):
        index._set_parent(table)  # noqa: SLF001
    return index
