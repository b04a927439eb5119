"""Which operations lose data: dropped tables, columns and sequences, narrower types, removed enum values."""

from __future__ import annotations

import decimal
from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import types as sa
from sqlalchemy.types import TypeEngine

from svc_infra.db.sql.core.autogenerate.enums import AddEnumValuesOp, ReplaceEnumOp
from svc_infra.db.sql.core.autogenerate.sequences import DropSequenceOp
from svc_infra.db.sql.core.operations import describe_operation, leaf_operations

__all__ = ["is_narrowing", "losses"]


def losses(operations: ops.OpContainer) -> Iterator[str]:
    """Yield a line for each operation that loses data, saying what it does."""
    leaves = list(leaf_operations(operations))
    # A generated column is dropped and added again to change its expression; its values are computed anew.
    regenerated = {
        (operation.table_name, operation.column.name)
        for operation in leaves
        if isinstance(operation, ops.AddColumnOp) and operation.column.computed is not None
    }
    for operation in leaves:
        if isinstance(operation, ops.DropColumnOp):
            was_computed = operation.to_column().computed is not None
            if not was_computed or (operation.table_name, operation.column_name) not in regenerated:
                yield describe_operation(operation)
        elif isinstance(operation, (ops.DropTableOp, DropSequenceOp)):
            yield describe_operation(operation)
        elif isinstance(operation, ReplaceEnumOp) and not isinstance(operation, AddEnumValuesOp):
            if operation.removed:
                yield describe_operation(operation)
        elif isinstance(operation, ops.AlterColumnOp) and _narrows(operation):
            yield describe_operation(operation)


def _narrows(operation: ops.AlterColumnOp) -> bool:
    if operation.modify_type is None:
        return False
    return operation.existing_type is None or is_narrowing(operation.existing_type, operation.modify_type)


# Each type's values fit into the ones after it.
_WIDENING: tuple[tuple[type, ...], ...] = (
    (sa.SmallInteger, sa.Integer, sa.BigInteger, sa.Numeric),
    (sa.Date, sa.DateTime),
    (sa.Boolean, sa.SmallInteger, sa.Integer, sa.BigInteger),
)


def is_narrowing(old: TypeEngine[object], new: TypeEngine[object]) -> bool:
    """Tell whether values of the old type may not fit into the new one.

    >>> is_narrowing(sa.String(20), sa.String(50)), is_narrowing(sa.String(50), sa.String(20))
    (False, True)
    >>> is_narrowing(sa.Integer(), sa.BigInteger()), is_narrowing(sa.Text(), sa.Integer())
    (False, True)
    """
    if isinstance(new, sa.TypeDecorator):
        new = new.impl_instance
    if isinstance(new, sa.Enum):
        return not isinstance(old, sa.Enum) or not set(old.enums) <= set(new.enums)
    if isinstance(new, sa.String):
        return _narrows_text(old, new)
    if isinstance(new, sa.Numeric) and isinstance(old, sa.Numeric):
        return _narrows_number(old, new)
    if isinstance(new, sa.LargeBinary) and isinstance(old, sa.LargeBinary):
        return _is_shorter(old.length, new.length)
    if type(old)._type_affinity is type(new)._type_affinity and not isinstance(new, sa.Integer):  # noqa: SLF001
        return False
    return not any(_fits(old, new, order) for order in _WIDENING)


def _narrows_text(old: TypeEngine[object], new: sa.String) -> bool:
    if isinstance(old, sa.Enum):
        return new.length is not None and any(len(value) > new.length for value in old.enums)
    if isinstance(old, sa.String):
        return _is_shorter(old.length, new.length)
    # Every other value can be written out, but not in a fixed length that is unknown to be enough.
    return new.length is not None


def _narrows_number(old: sa.Numeric[decimal.Decimal], new: sa.Numeric[decimal.Decimal]) -> bool:
    if new.precision is None:
        return False
    if old.precision is None or isinstance(new, sa.Float):
        return not isinstance(old, sa.Float) or _is_shorter(old.precision, new.precision)
    old_scale, new_scale = old.scale or 0, new.scale or 0
    return new_scale < old_scale or new.precision - new_scale < old.precision - old_scale


def _is_shorter(old: int | None, new: int | None) -> bool:
    return new is not None and (old is None or new < old)


def _fits(old: TypeEngine[object], new: TypeEngine[object], order: tuple[type, ...]) -> bool:
    places = [
        next((place for place, kind in reversed(list(enumerate(order))) if isinstance(item, kind)), -1)
        for item in (old, new)
    ]
    return 0 <= places[0] <= places[1]
