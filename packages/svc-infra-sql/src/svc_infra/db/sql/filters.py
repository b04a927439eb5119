"""Filters as values: they name fields and hold values, and become SQL only inside a repository.

    from svc_infra.db.sql.filters import field

    await repo.list(session, limit=10, where=field("age").ge(18) & ~field("email").contains("spam"))
    await repo.list(session, limit=10, where=field("posts").any(field("title").starts_with("A")))
    await repo.list(session, limit=10, where=field("author.name").eq("Ann"))

Against a SQLAlchemy expression they have three merits: names and values are checked, so that they may come from a
client; the statement is built once for each shape of filter; and a filter over a relationship is an EXISTS, which never
doubles rows or miscounts, and sees only rows of the repository's scope (tenant) that are not soft-deleted.

NULL fulfils no comparison, as in SQL, but `eq(None)` means `is_null()` and `ne(None)` the contrary. Whether letters'
case counts in `like`, `contains`, `starts_with` and `ends_with` is the database's rule (it does on PostgreSQL and
DuckDB, it does not on SQLite and, by its default collation, on MariaDB); `ilike` and `icontains` never heed it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from sqlalchemy import ARRAY, ColumnElement, String, and_, any_, bindparam, false, not_, or_, true
from sqlalchemy.orm import QueryableAttribute

from svc_infra.db.sql.errors import InvalidQuery, InvalidValue
from svc_infra.db.sql.filter_scope import FilterScope
from svc_infra.db.sql.search import as_text, checked_text, escape_like

__all__ = ["DEEPEST", "AllOf", "AnyOf", "Compare", "Field", "Filter", "Not", "Operator", "Related", "field"]

M = TypeVar("M")
T_contra = TypeVar("T_contra", contravariant=True)

Operator: TypeAlias = Literal[
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "not_in",
    "like",
    "ilike",
    "contains",
    "icontains",
    "starts_with",
    "ends_with",
    "between",
    "is_null",
]
"""The comparisons. `in` and `not_in` take a list, `between` a pair (both ends belong to it), `is_null` a bool."""

OPERATORS: tuple[str, ...] = get_args(Operator)
_TEXT = frozenset({"like", "ilike", "contains", "icontains", "starts_with", "ends_with"})
_PATTERNS: Mapping[str, str] = {"contains": "%{}%", "icontains": "%{}%", "starts_with": "{}%", "ends_with": "%{}"}
_ESCAPE = "/"
DEEPEST = 50
"""How deep filters may be nested."""


class Filter:
    """A condition on rows; combine by `&`, `|` and `~`."""

    __slots__ = ()

    def __and__(self, other: Filter) -> AllOf:
        return AllOf((self, other))

    def __or__(self, other: Filter) -> AnyOf:
        return AnyOf((self, other))

    def __invert__(self) -> Not:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError("a filter has no truth value; combine filters by & | ~ instead of and, or, not")

    def shape(self) -> Hashable:
        """What decides the SQL: all but the values."""
        raise NotImplementedError

    def bind(self, scope: FilterScope[Any], depth: int = 0) -> None:
        """Add the checked values to the scope's parameters."""
        raise NotImplementedError

    def clause(self, scope: FilterScope[Any]) -> ColumnElement[bool]:
        """The SQL, with parameters in the order of `bind`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Compare(Filter):
    """A comparison of a field with a value.

    Attributes:
        name: The field; a dotted name such as "author.name" is that of a related row, of which one must fulfil it.
        operator: The comparison.
        value: What the field is compared with.

    Raises:
        InvalidQuery: For an unknown operator.
    """

    name: str
    operator: Operator
    value: Any

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InvalidQuery(f"{self.operator!r} is no operator; there are {', '.join(OPERATORS)}")
        if not isinstance(self.name, str):
            raise InvalidQuery(f"a field is named by a str, got {type(self.name).__name__}")

    def _unfolded(self) -> Filter | None:
        relation, _, rest = self.name.partition(".")
        return Related(relation, Compare(rest, self.operator, self.value)) if rest else None

    def _null(self) -> bool | None:
        """Whether it asks for NULL (True), for the contrary (False), or for neither (None)."""
        if self.operator == "is_null":
            if not isinstance(self.value, bool):
                raise InvalidValue(f"is_null of {self.name} takes a bool, got {type(self.value).__name__}")
            return self.value
        if self.value is None and self.operator in {"eq", "ne"}:
            return self.operator == "eq"
        return None

    def shape(self) -> Hashable:
        """The field, the operator and whether it asks for NULL."""
        return ("compare", self.name, self.operator, self._null())

    def bind(self, scope: FilterScope[Any], depth: int = 0) -> None:
        """Check the value against the field's column."""
        unfolded = self._unfolded()
        if unfolded is not None:
            unfolded.bind(scope, depth + 1)
            return
        if self.operator in _TEXT or self._null() is not None:
            scope.fields.column(self.name, use="filtered by")
        else:
            scope.fields.comparable(self.name, use="filtered by")
        if self._null() is not None or scope.checker is None:
            return
        checker = scope.checker(scope.fields)
        if self.operator in {"in", "not_in"}:
            if isinstance(self.value, str | bytes | Mapping) or not isinstance(self.value, Iterable):
                raise InvalidValue(f"{self.operator} of {self.name} takes a list, got {type(self.value).__name__}")
            scope.next_name(checker.each(self.name, self.value))
        elif self.operator == "between":
            if not isinstance(self.value, list | tuple) or len(self.value) != 2:
                raise InvalidValue(f"between of {self.name} takes a pair")
            for end in checker.each(self.name, self.value):
                scope.next_name(end)
        elif self.operator in _TEXT:
            text, pattern = checked_text(f"{self.operator} of {self.name}", self.value), _PATTERNS.get(self.operator)
            if pattern is None and (len(text) - len(text.rstrip("\\"))) % 2:
                raise InvalidValue(f"{self.operator} of {self.name} ends with a backslash that nothing follows")
            scope.next_name(text if pattern is None else pattern.format(escape_like(text)))
        elif self.value is None:
            raise InvalidValue(f"{self.operator} of {self.name} can't compare with None; ask for NULL by is_null")
        else:
            scope.next_name(checker.value(self.name, self.value))

    def clause(self, scope: FilterScope[Any]) -> ColumnElement[bool]:
        """The comparison with bound parameters."""
        unfolded = self._unfolded()
        if unfolded is not None:
            return unfolded.clause(scope)
        kind = scope.fields.column(self.name, use="filtered by").type
        column = scope.column(self.name)
        null = self._null()
        if null is not None:
            return column.is_(None) if null else column.is_not(None)
        if self.operator in {"in", "not_in"}:
            return self._membership(scope, column, kind)
        if self.operator == "between":
            return column.between(bindparam(scope.next_name(), type_=kind), bindparam(scope.next_name(), type_=kind))
        if self.operator in _TEXT:
            text = as_text(column, kind)
            pattern = bindparam(scope.next_name(), type_=String())
            # Some databases take a backslash so by themselves, some do not.
            escape = _ESCAPE if self.operator in _PATTERNS else "\\"
            like = text.ilike if self.operator in {"ilike", "icontains"} else text.like
            return like(pattern, escape=escape)
        compare: ColumnElement[bool] = getattr(column, f"__{self.operator}__")(bindparam(scope.next_name(), type_=kind))
        return compare

    def _membership(self, scope: FilterScope[Any], column: ColumnElement[Any], kind: Any) -> ColumnElement[bool]:
        name = scope.next_name()
        if scope.use_arrays and not isinstance(kind, ARRAY):
            found: ColumnElement[bool] = column == any_(bindparam(name, type_=ARRAY(kind)))
        else:
            found = column.in_(bindparam(name, type_=kind, expanding=True))
        return found if self.operator == "in" else not_(found)


@dataclass(frozen=True, slots=True)
class AllOf(Filter):
    """All of the filters hold; without any it holds for every row."""

    parts: tuple[Filter, ...]

    def shape(self) -> Hashable:
        """The shapes of the parts."""
        return ("all", *(part.shape() for part in self.parts))

    def bind(self, scope: FilterScope[Any], depth: int = 0) -> None:
        """Bind every part."""
        _bind_all(self.parts, scope, depth)

    def clause(self, scope: FilterScope[Any]) -> ColumnElement[bool]:
        """The parts joined by AND."""
        return and_(true(), *[part.clause(scope) for part in self.parts])


@dataclass(frozen=True, slots=True)
class AnyOf(Filter):
    """At least one of the filters holds; without any it holds for no row."""

    parts: tuple[Filter, ...]

    def shape(self) -> Hashable:
        """The shapes of the parts."""
        return ("any", *(part.shape() for part in self.parts))

    def bind(self, scope: FilterScope[Any], depth: int = 0) -> None:
        """Bind every part."""
        _bind_all(self.parts, scope, depth)

    def clause(self, scope: FilterScope[Any]) -> ColumnElement[bool]:
        """The parts joined by OR."""
        return or_(false(), *[part.clause(scope) for part in self.parts])


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The filter does not hold; of a comparison with NULL neither this nor the contrary does."""

    part: Filter

    def shape(self) -> Hashable:
        """The shape of the part."""
        return ("not", self.part.shape())

    def bind(self, scope: FilterScope[Any], depth: int = 0) -> None:
        """Bind the part."""
        _bind_all((self.part,), scope, depth)

    def clause(self, scope: FilterScope[Any]) -> ColumnElement[bool]:
        """NOT of the part."""
        return not_(self.part.clause(scope))


@dataclass(frozen=True, slots=True)
class Related(Filter):
    """At least one row of a relationship, to one or to many, fulfils a filter; by default any row at all.

    Attributes:
        relation: The relationship's name.
        part: The filter over the related model, or None.
    """

    relation: str
    part: Filter | None = None

    def shape(self) -> Hashable:
        """The relationship and the shape of the part."""
        return ("related", self.relation, self.part.shape() if self.part is not None else None)

    def bind(self, scope: FilterScope[Any], depth: int = 0) -> None:
        """Bind the part in the scope of the related model."""
        _, inner = scope.related(self.relation)
        if self.part is not None:
            _bind_all((self.part,), inner, depth)

    def clause(self, scope: FilterScope[Any]) -> ColumnElement[bool]:
        """EXISTS over the related table."""
        attribute, inner = scope.related(self.relation)
        criteria = inner.visibility.criteria(inner.column)
        if self.part is not None:
            criteria.append(self.part.clause(inner))
        condition = and_(*criteria) if criteria else None
        is_many: bool = bool(attribute.property.uselist)
        found: ColumnElement[bool] = attribute.any(condition) if is_many else attribute.has(condition)
        return found


def _bind_all(parts: Iterable[Filter], scope: FilterScope[Any], depth: int) -> None:
    if depth >= DEEPEST:
        raise InvalidQuery(f"the filter is nested more than {DEEPEST} deep")
    for part in parts:
        part.bind(scope, depth + 1)


@dataclass(frozen=True, slots=True)
class Field:
    """A field or relationship by name, to make filters of; see `field`."""

    name: str

    def eq(self, value: object) -> Compare:
        """It equals the value; `eq(None)` is `is_null()`."""
        return Compare(self.name, "eq", value)

    def ne(self, value: object) -> Compare:
        """It differs from the value and is not NULL."""
        return Compare(self.name, "ne", value)

    def lt(self, value: object) -> Compare:
        """It is less than the value."""
        return Compare(self.name, "lt", value)

    def le(self, value: object) -> Compare:
        """It is at most the value."""
        return Compare(self.name, "le", value)

    def gt(self, value: object) -> Compare:
        """It is greater than the value."""
        return Compare(self.name, "gt", value)

    def ge(self, value: object) -> Compare:
        """It is at least the value."""
        return Compare(self.name, "ge", value)

    def in_(self, values: Iterable[object]) -> Compare:
        """It is one of the values; of none when there are none."""
        return Compare(self.name, "in", tuple(values))

    def not_in(self, values: Iterable[object]) -> Compare:
        """It is none of the values and not NULL."""
        return Compare(self.name, "not_in", tuple(values))

    def like(self, pattern: str) -> Compare:
        r"""It matches a LIKE pattern, in which `%` and `_` are wildcards, unless they follow a backslash.

        A backslash is the escape on every database: `50\%` is the text "50%", and `\\` is one backslash.
        """
        return Compare(self.name, "like", pattern)

    def ilike(self, pattern: str) -> Compare:
        """It matches a LIKE pattern in any case of letters."""
        return Compare(self.name, "ilike", pattern)

    def contains(self, text: str) -> Compare:
        """It holds the text, taken literally."""
        return Compare(self.name, "contains", text)

    def icontains(self, text: str) -> Compare:
        """It holds the text, taken literally, in any case of letters."""
        return Compare(self.name, "icontains", text)

    def starts_with(self, text: str) -> Compare:
        """It begins with the text, taken literally."""
        return Compare(self.name, "starts_with", text)

    def ends_with(self, text: str) -> Compare:
        """It ends with the text, taken literally."""
        return Compare(self.name, "ends_with", text)

    def between(self, low: object, high: object) -> Compare:
        """It is at least `low` and at most `high`."""
        return Compare(self.name, "between", (low, high))

    def is_null(self, value: bool = True) -> Compare:
        """It is NULL, or with False is not."""
        return Compare(self.name, "is_null", value)

    def any(self, part: Filter | None = None) -> Related:
        """The relationship leads to a row that fulfils the filter, or to any row at all."""
        return Related(self.name, part)

    def has(self, part: Filter | None = None) -> Related:
        """The same as `any`, which reads better of a relationship to one."""
        return Related(self.name, part)


def field(name: str | QueryableAttribute[Any]) -> Field:
    """A field or relationship to make a filter of, by name or mapped attribute.

    >>> field("age").ge(18)
    Compare(name='age', operator='ge', value=18)
    """
    return Field(name if isinstance(name, str) else name.key)
