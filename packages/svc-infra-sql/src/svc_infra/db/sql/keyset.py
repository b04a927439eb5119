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

__all__ = ["after", "has_border", "key_parameter", "order_within", "reversed_ordering"]

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


def has_border(
    fields: ModelFields[M], ordering: Ordering, are_null: tuple[bool, ...], capabilities: Capabilities
) -> bool:
    """Whether the rows after a place are of two ranges of an index, as the first key of only some is NULL."""
    first = ordering.keys[0]
    return bool(fields.columns[first.name].nullable) and are_null[0] is (_nulls(first, capabilities) == "first")


def order_within(
    ordering: Ordering, are_null: tuple[bool, ...], capabilities: Capabilities, *, beyond_border: bool
) -> Ordering:
    """The order of the rows for which `after` holds, without a first key that is NULL in all if sorting by it costs."""
    is_null = are_null[0] is not beyond_border
    return Ordering(ordering.keys[1:]) if is_null and capabilities.sorts_by_null else ordering


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
    *,
    beyond_border: bool = False,
) -> ColumnElement[bool]:
    """The condition that a row comes after the one whose keys are bound by `key_parameter`, in one range of an index.

    No index finds the place where rows come of which the first key is NULL, and others of which it is not.

    Args:
        fields: The model's fields.
        ordering: An order by fields.
        are_null: Which of the keys' values are NULL, and so are not bound.
        capabilities: Those of the database.
        column: Gives the column of a field.
        beyond_border: Whether to take the second range, where `has_border` says that there are two.
    """
    keys = ordering.keys
    columns = [column(key.name) for key in keys]
    if beyond_border:
        return columns[0].is_not(None) if are_null[0] else columns[0].is_(None)
    within = columns[0].is_(None)
    values: list[ColumnElement[Any]] = [
        bindparam(key_parameter(i), type_=fields.columns[key.name].type) for i, key in enumerate(keys)
    ]
    if capabilities.numbers_enums:
        kinds = [fields.columns[key.name].type for key in keys]
        columns = [_place(each, kind) for each, kind in zip(columns, kinds, strict=True)]
        values = [_place(each, kind) for each, kind in zip(values, kinds, strict=True)]
    # Of the first key all have a value in this range, or none has.
    nullable = [i > 0 and bool(fields.columns[key.name].nullable) for i, key in enumerate(keys)]
    start = 1 if are_null[0] else 0

    def equal(i: int) -> ColumnElement[bool]:
        return columns[i].is_(None) if are_null[i] else columns[i] == values[i]

    def beyond(i: int) -> ColumnElement[bool]:
        nulls_last = _nulls(keys[i], capabilities) == "last"
        if are_null[i]:
            return false() if nulls_last else columns[i].is_not(None)
        found = columns[i] < values[i] if keys[i].descending else columns[i] > values[i]
        return or_(found, columns[i].is_(None)) if nullable[i] and nulls_last else found

    def rest() -> ColumnElement[bool]:
        is_uniform = len({key.descending for key in keys[start:]}) == 1
        if capabilities.compares_rows and is_uniform and not any(nullable[start:]):
            left, right = tuple_(*columns[start:]), tuple_(*values[start:])
            return left < right if keys[start].descending else left > right
        places = range(start, len(keys))
        branches = or_(*(and_(*(equal(j) for j in range(start, i)), beyond(i)) for i in places))
        if are_null[start] or nullable[start]:
            return branches
        # Redundant, but by it the database finds the place in an index: of an OR alone it reads everything.
        first = keys[start]
        bound = columns[start] <= values[start] if first.descending else columns[start] >= values[start]
        return and_(bound, branches)

    return and_(within, rest()) if start else rest()
