"""DuckDB, which keeps no names of constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import Table, UniqueConstraint

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["compare_unnamed_constraints"]


def compare_unnamed_constraints(
    context: AutogenContext,
    group: ops.ModifyTableOps,
    _schema: str | None,
    _table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    """Take back drops and additions of unique constraints that differ in the name alone."""
    if context.dialect.name != "duckdb" or conn_table is None or metadata_table is None:
        return PriorityDispatchResult.CONTINUE
    dropped = {
        _columns(operation.to_constraint()): operation
        for operation in group.ops
        if isinstance(operation, ops.DropConstraintOp) and operation.constraint_type == "unique"
    }
    for operation in list(group.ops):
        if isinstance(operation, ops.CreateUniqueConstraintOp):
            same = dropped.get(_columns(operation.to_constraint()))
            if same is not None:
                group.ops.remove(same)
                group.ops.remove(operation)
    return PriorityDispatchResult.CONTINUE


def _columns(constraint: object) -> tuple[str, ...]:
    return tuple(sorted(constraint.columns.keys())) if isinstance(constraint, UniqueConstraint) else ()
