"""The `where` of a method: filters and SQLAlchemy expressions, all of which must hold."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql import roles
from sqlalchemy.sql.elements import ColumnClause, Grouping, TextClause

from svc_infra.db.sql.errors import InvalidQuery
from svc_infra.db.sql.filter_scope import FilterScope
from svc_infra.db.sql.filters import DEEPEST, AllOf, AnyOf, Filter, Not, Related
from svc_infra.db.sql.ordering import Expression

__all__ = ["Condition", "Conditions", "Where"]

# SQLite's parser takes expressions of a depth of 1,000, to which each AND and OR adds one.
_MOST = 500

Condition: TypeAlias = Filter | Expression
"""One condition on the rows: a filter such as `field("age").gt(30)`, or an expression such as `User.age > 30`."""

Where: TypeAlias = Condition | Sequence[Condition]
"""Conditions that all must hold."""


class Conditions:
    """The conditions of one call.

    Args:
        where: What the caller gave.

    Attributes:
        shape: What decides their SQL, or None when it can't be told, because an expression is among them.

    Raises:
        InvalidQuery: When one is no condition, such as a plain bool, or a filter is too large.
    """

    __slots__ = ("_given", "shape")

    def __init__(self, where: Where | None = None) -> None:
        self._given: tuple[Any, ...] = ()
        self.shape: Hashable | None = ()
        if where is None:
            return
        if not isinstance(where, Filter | roles.ExpressionElementRole | list | tuple):
            # An iterator may be at its end already, and no condition at all means every row.
            raise InvalidQuery(f"where takes a filter, an expression or a list of them, got {type(where).__name__}")
        self._given = (where,) if isinstance(where, Filter | roles.ExpressionElementRole) else tuple(where)
        for condition in self._given:
            if not isinstance(condition, Filter | roles.ExpressionElementRole):
                raise InvalidQuery(
                    f"where holds a {type(condition).__name__}, which is no condition; "
                    "give field('age').gt(30) or User.age > 30"
                )
            if isinstance(getattr(condition, "prop", None), RelationshipProperty):
                raise InvalidQuery(f"where holds the relationship {condition}; give field(...).any() or .has()")
        _check_size(condition for condition in self._given if isinstance(condition, Filter))
        if all(isinstance(condition, Filter) for condition in self._given):
            self.shape = tuple(condition.shape() for condition in self._given)
        else:
            self.shape = None

    def __bool__(self) -> bool:
        return bool(self._given)

    def bind(self, scope: FilterScope[Any]) -> None:
        """Add the filters' checked values to the scope's parameters.

        Raises:
            UnknownField: When a filter names no field or relationship.
            InvalidValue: When a value does not fit its field.
        """
        for condition in self._given:
            if isinstance(condition, Filter):
                condition.bind(scope)

    def clauses(self, scope: FilterScope[Any]) -> list[Any]:
        """The SQL of each."""
        return [
            condition.clause(scope) if isinstance(condition, Filter) else _enclosed(condition)
            for condition in self._given
        ]


def _enclosed(condition: Any) -> Any:
    """An expression that no OR inside can join with the conditions beside it, of which the tenant's is one.

    SQLAlchemy puts its own expressions in parentheses where they need them, but not text.
    """
    is_text = isinstance(condition, TextClause) or (isinstance(condition, ColumnClause) and condition.is_literal)
    return Grouping(condition) if is_text else condition


def _check_size(filters: Iterable[Filter]) -> None:
    """Check that filters are small enough for every database, and for Python to walk through them.

    Raises:
        InvalidQuery: When they are nested more than 50 deep or have more than 500 parts.
    """
    pending = [(part, 1) for part in filters]
    number = len(pending)
    while pending:
        found, depth = pending.pop()
        if isinstance(found, AllOf | AnyOf):
            parts: tuple[Filter | None, ...] = found.parts
        else:
            parts = (found.part,) if isinstance(found, Not | Related) else ()
        number += len(parts)
        if number > _MOST:
            raise InvalidQuery(f"the filter has more than {_MOST} parts; look for many values by in_")
        if parts and depth >= DEEPEST:
            raise InvalidQuery(f"the filter is nested more than {DEEPEST} deep")
        pending += [(part, depth + 1) for part in parts if part is not None]


NO_CONDITIONS = Conditions()
