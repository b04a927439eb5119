"""The order of rows: parsed from names and expressions, and always total, so that pages never overlap or skip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql import operators, roles
from sqlalchemy.sql.elements import ColumnElement, UnaryExpression

from svc_infra.db.sql.errors import InvalidQuery, UnknownField
from svc_infra.db.sql.fields import ModelFields

__all__ = ["Expression", "OrderBy", "OrderKey", "OrderTerm", "Ordering"]

M = TypeVar("M")

Expression: TypeAlias = roles.ExpressionElementRole[object]
"""A SQLAlchemy expression over columns: a mapped attribute such as `User.email`, or what is made of one."""

OrderTerm: TypeAlias = str | Expression
"""One key of an order: a field's name, with a leading `-` for descending, or an expression like `User.email.desc()`."""

OrderBy: TypeAlias = OrderTerm | Sequence[OrderTerm]
"""An order: one key, or several from the first to the last that decides."""

_DIRECTIONS = {operators.asc_op: False, operators.desc_op: True}
_NULLS = {operators.nulls_first_op: "first", operators.nulls_last_op: "last"}


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order that is a field.

    Attributes:
        name: The field.
        descending: Whether large values come first.
        nulls: Where NULL stands, "first" or "last"; None leaves it to the database.
    """

    name: str
    descending: bool = False
    nulls: str | None = None

    def __str__(self) -> str:
        """The key as it is written in a query, such as `-created_at`."""
        return f"-{self.name}" if self.descending else self.name


@dataclass(frozen=True, slots=True)
class Ordering:
    """A total order.

    Attributes:
        keys: The fields; all of the order unless it has expressions.
        expressions: What was given when some of it is no field of the model; empty otherwise.
    """

    keys: tuple[OrderKey, ...]
    expressions: tuple[ColumnElement[Any], ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the order is by fields alone, so that its statement can be kept and it can be paged by keyset."""
        return not self.expressions

    def clauses(
        self, column: Callable[[str], ColumnElement[Any]], *, has_null_order: bool = True
    ) -> list[ColumnElement[Any]]:
        """The ORDER BY list.

        Args:
            column: Gives the column of a field.
            has_null_order: Whether the database knows NULLS FIRST and NULLS LAST.
        """
        found = list(self.expressions)
        for key in self.keys:
            target = column(key.name)
            if key.nulls is not None and not has_null_order:
                found.append(target.is_(None).desc() if key.nulls == "first" else target.is_(None).asc())
                found.append(target.desc() if key.descending else target.asc())
            else:
                found.append(_clause(key, target))
        return found

    @classmethod
    def parse(
        cls, fields: ModelFields[M], order_by: OrderBy | None, *, allowed: Collection[str] | None = None
    ) -> Ordering:
        """Read an order and make it total by appending the primary key, in the direction of the last key.

        Args:
            fields: The model's fields.
            order_by: Names such as "-created_at" and expressions such as `User.created_at.desc()`, one or several.
            allowed: The only fields that may be named; None allows every field.

        Raises:
            UnknownField: For a name or expression that is no field, or is not allowed.
            InvalidQuery: For a term that is neither text nor an expression.
        """
        terms = _terms(order_by)
        keys: list[OrderKey] = []
        expressions: list[ColumnElement[Any]] = []
        for term in terms:
            key = _key_of_name(fields, term) if isinstance(term, str) else _key_of_expression(fields, term)
            if key is not None and allowed is not None and key.name not in allowed:
                raise UnknownField(
                    f"{fields.model.__name__} may not be ordered by {key.name!r}; "
                    f"allowed are {', '.join(sorted(allowed))}"
                )
            if key is None or expressions:
                # A key after an expression keeps its place among them.
                expressions.append(_element(term) if key is None else _clause(key, fields.columns[key.name]))
            else:
                keys.append(key)
        if expressions:
            expressions[:0] = [_clause(key, fields.columns[key.name]) for key in keys]
        return cls(tuple(_total(fields, keys)), tuple(expressions))


def _terms(order_by: OrderBy | None) -> Iterable[OrderTerm]:
    if order_by is None:
        return ()
    if isinstance(order_by, str):
        return [part.strip() for part in order_by.split(",") if part.strip()]
    if isinstance(order_by, roles.ExpressionElementRole):
        return (order_by,)
    if not isinstance(order_by, Iterable):
        raise InvalidQuery(
            f"order_by takes fields such as '-created_at' and expressions, got {type(order_by).__name__}"
        )
    return order_by


def _key_of_name(fields: ModelFields[M], term: str) -> OrderKey:
    name = term[1:] if term[:1] in {"-", "+"} else term
    fields.comparable(name, use="ordered by")
    return OrderKey(name, descending=term.startswith("-"))


def _element(term: object) -> ColumnElement[Any]:
    make: Callable[[], object] | None = getattr(term, "__clause_element__", None)
    element = term if make is None else make()
    if not isinstance(element, ColumnElement) or isinstance(getattr(term, "prop", None), RelationshipProperty):
        raise InvalidQuery(
            f"can't order by a {type(term).__name__}: "
            "give a field's name, such as '-created_at', or a column expression"
        )
    return element


def _key_of_expression(fields: ModelFields[M], term: object) -> OrderKey | None:
    element: object = _element(term)
    descending, nulls = False, None
    while isinstance(element, UnaryExpression):
        if element.modifier in _DIRECTIONS:
            descending = _DIRECTIONS[element.modifier]
        elif element.modifier in _NULLS:
            nulls = _NULLS[element.modifier]
        else:
            return None
        element = element.element
    name = fields.name_of(element)
    return None if name is None else OrderKey(name, descending, nulls)


def _total(fields: ModelFields[M], keys: list[OrderKey]) -> list[OrderKey]:
    unique: dict[str, OrderKey] = {}
    for key in keys:
        unique.setdefault(key.name, key)
    descending = keys[-1].descending if keys else False
    for name in fields.primary_key:
        unique.setdefault(name, OrderKey(name, descending))
    return list(unique.values())


def _clause(key: OrderKey, column: ColumnElement[Any]) -> ColumnElement[Any]:
    clause = column.desc() if key.descending else column.asc()
    if key.nulls == "first":
        return clause.nulls_first()
    if key.nulls == "last":
        return clause.nulls_last()
    return clause
