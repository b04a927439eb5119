"""The condition that a row comes after another one in an order, so that a page begins there without counting rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Enum, String, and_, bindparam, case, false, literal, or_, tuple_
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from svc_infra.db.sql.capabilities import Capabilities
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.ordering import Ordering, OrderKey

__all__ = ["after", "key_parameter", "reversed_ordering"]

M = TypeVar("M")


def key_parameter(position: int) -> str:
    """The name of the bound parameter that carries the value of an order's key."""
    return f"key_{position}"


def reversed_ordering(fields: ModelFields[M], ordering: Ordering, capabilities: Capabilities) -> Ordering:
    """The order from its end, NULLs included."""
    return Ordering(tuple(_reversed(fields, key, capabilities) for key in ordering.keys))


def _reversed(fields: ModelFields[M], key: OrderKey, capabilities: Capabilities) -> OrderKey:
    turned = OrderKey(key.name, not key.descending)
    if not fields.columns[key.name].nullable:
        return turned
    wanted = "first" if _nulls(key, capabilities) == "last" else "last"
    return turned if _nulls(turned, capabilities) == wanted else replace(turned, nulls=wanted)


def _nulls(key: OrderKey, capabilities: Capabilities) -> str:
    if key.nulls is not None:
        return key.nulls
    return capabilities.nulls_descending if key.descending else capabilities.nulls_ascending


def _place(value: ColumnElement[Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """The place of an enumeration's member, by which it is ordered; any other value is its own."""
    if not isinstance(kind, Enum) or not kind.native_enum:
        return value
    return case(*((value == literal(text, String()), place) for place, text in enumerate(kind.enums)))


def after(
    fields: ModelFields[M],
    ordering: Ordering,
    are_null: tuple[bool, ...],
    capabilities: Capabilities,
    column: Callable[[str], ColumnElement[Any]],
) -> ColumnElement[bool]:
    """The condition that a row comes after the one whose keys are bound by `key_parameter`.

    Args:
        fields: The model's fields.
        ordering: An order by fields.
        are_null: Which of the keys' values are NULL, and so are not bound.
        capabilities: Those of the database.
        column: Gives the column of a field.
    """
    keys = ordering.keys
    columns = [column(key.name) for key in keys]
    values: list[ColumnElement[Any]] = [
        bindparam(key_parameter(i), type_=fields.columns[key.name].type) for i, key in enumerate(keys)
    ]
    if capabilities.numbers_enums:
        kinds = [fields.columns[key.name].type for key in keys]
        columns = [_place(each, kind) for each, kind in zip(columns, kinds, strict=True)]
        values = [_place(each, kind) for each, kind in zip(values, kinds, strict=True)]
    nullable = [bool(fields.columns[key.name].nullable) for key in keys]
    is_uniform = len({key.descending for key in keys}) == 1
    if capabilities.compares_rows and is_uniform and not any(nullable):
        left, right = tuple_(*columns), tuple_(*values)
        return left < right if keys[0].descending else left > right

    def equal(i: int) -> ColumnElement[bool]:
        return columns[i].is_(None) if are_null[i] else columns[i] == values[i]

    def beyond(i: int) -> ColumnElement[bool]:
        nulls_last = _nulls(keys[i], capabilities) == "last"
        if are_null[i]:
            return false() if nulls_last else columns[i].is_not(None)
        found = columns[i] < values[i] if keys[i].descending else columns[i] > values[i]
        return or_(found, columns[i].is_(None)) if nullable[i] and nulls_last else found

    branches = [and_(*(equal(j) for j in range(i)), beyond(i)) for i in range(len(keys))]
    if are_null[0] or nullable[0]:
        return or_(*branches)
    # Redundant, but by it the database finds the place in an index: of an OR alone it reads everything.
    bound = columns[0] <= values[0] if keys[0].descending else columns[0] >= values[0]
    return and_(bound, or_(*branches))
