"""Filters as values, with the vocabulary of the SQL repository.

    from svc_infra.db.nosql.mongo.filters import field, raw

    await repo.list(db, limit=10, where=field("age").ge(18) & ~field("email").contains("spam"))
    await repo.list(db, limit=10, where=raw({"location": {"$near": [1, 2]}}))

Values are only ever compared, never run: a dict such as `{"$ne": None}` from a request body is compared as a literal.
As in SQL, a field that is null or absent fulfils no comparison, but `eq(None)` means `is_null()` and `ne(None)` the
contrary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from svc_infra.db.nosql.mongo.errors import InvalidQuery, InvalidValue, UnknownField

__all__ = ["Field", "Filter", "Where", "conditions", "field", "literal_pattern", "raw"]


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on documents.

    Attributes:
        query: It in MongoDB's query language.
        names: The fields that it looks at, for the repository to check.
    """

    query: Mapping[str, Any]
    names: frozenset[str] = frozenset()

    def __and__(self, other: Filter) -> Filter:
        return Filter({"$and": [self.query, other.query]}, self.names | other.names)

    def __or__(self, other: Filter) -> Filter:
        return Filter({"$or": [self.query, other.query]}, self.names | other.names)

    def __invert__(self) -> Filter:
        return Filter({"$nor": [self.query]}, self.names)

    def __bool__(self) -> bool:
        raise TypeError("a filter is neither true nor false; combine filters with &, | and ~")


Where: TypeAlias = "Filter | Iterable[Filter]"
"""Conditions that all must hold."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field to be compared; `field(name)` makes it.

    Attributes:
        name: Its name; `a.b` reaches into a document in it.
    """

    name: str

    def eq(self, value: object) -> Filter:
        """Equal; None: null or absent."""
        return self._compare("$eq", value)

    def ne(self, value: object) -> Filter:
        """Not equal, and not null unless `value` is: None means neither null nor absent."""
        return self._filter({"$ne": None} if value is None else {"$nin": [value, None]})

    def lt(self, value: object) -> Filter:
        """Less."""
        return self._compare("$lt", value)

    def le(self, value: object) -> Filter:
        """Less or equal."""
        return self._compare("$lte", value)

    def gt(self, value: object) -> Filter:
        """Greater."""
        return self._compare("$gt", value)

    def ge(self, value: object) -> Filter:
        """Greater or equal."""
        return self._compare("$gte", value)

    def between(self, low: object, high: object) -> Filter:
        """Between, both ends included."""
        return self._filter({"$gte": low, "$lte": high})

    def in_(self, values: Iterable[object]) -> Filter:
        """One of the values."""
        return self._filter({"$in": _no_patterns(values)})

    def not_in(self, values: Iterable[object]) -> Filter:
        """None of the values, and not null."""
        return self._filter({"$nin": [*_no_patterns(values), None]})

    def is_null(self, null: bool = True) -> Filter:
        """Null or absent; `is_null(False)`: neither."""
        return self._filter({"$eq": None} if null else {"$ne": None})

    def contains(self, text: str) -> Filter:
        """Holds the text, letters' case counting. An array field: one of its elements holds it."""
        return self._filter({"$regex": literal_pattern(text)})

    def icontains(self, text: str) -> Filter:
        """Holds the text, whatever the case of its letters."""
        return self._filter({"$regex": literal_pattern(text), "$options": "i"})

    def starts_with(self, text: str) -> Filter:
        """Begins with the text; such a filter can use an index."""
        return self._filter({"$regex": "^" + literal_pattern(text)})

    def ends_with(self, text: str) -> Filter:
        """Ends with the text."""
        return self._filter({"$regex": literal_pattern(text) + r"\z"})

    def _compare(self, operator: str, value: object) -> Filter:
        if isinstance(value, re.Pattern):
            raise InvalidValue(f"{self.name} can't be compared with a pattern; use contains, starts_with or ends_with")
        return self._filter({operator: value})

    def _filter(self, condition: Mapping[str, Any]) -> Filter:
        return Filter({self.name: condition}, frozenset({self.name}))


def field(name: str) -> Field:
    """Return the field of that name, to compare it.

    Raises:
        UnknownField: The name is one that MongoDB would take for an operator.
    """
    if not name or any(part.startswith("$") or not part for part in name.split(".")):
        raise UnknownField(f"{name!r} can't be a field's name")
    if "\0" in name:
        raise UnknownField("a field's name can't hold a NUL character")
    return Field(name)


def raw(query: Mapping[str, Any]) -> Filter:
    """Return a filter in MongoDB's own query language. It must be written by you, never taken from a request."""
    return Filter(dict(query))


def literal_pattern(text: str) -> str:
    """Return a pattern that matches the text itself, wildcards included.

    Raises:
        InvalidValue: The text is none, or holds a NUL character, which patterns can't.
    """
    if not isinstance(text, str):
        raise InvalidValue(f"a text is searched for, not {type(text).__name__}")
    if "\0" in text:
        raise InvalidValue("a text to search for can't hold a NUL character")
    return re.escape(text)


def conditions(where: Where | None) -> tuple[Filter, ...]:
    """Return the filters of a `where`.

    Raises:
        InvalidQuery: One is no filter.
    """
    if where is None:
        return ()
    found = (where,) if isinstance(where, Filter) else tuple(where)
    for condition in found:
        if not isinstance(condition, Filter):
            raise InvalidQuery(
                f"where holds {condition!r}, which is no filter; give field('age').gt(30) or raw({{...}})"
            )
    return found


def _no_patterns(values: Iterable[object]) -> list[object]:
    if isinstance(values, str | bytes | Mapping):
        raise InvalidValue("in_ and not_in take a list of values")
    listed = list(values)
    for value in listed:
        if isinstance(value, re.Pattern) or (
            isinstance(value, Mapping) and any(str(key).startswith("$") for key in value)
        ):
            raise InvalidValue("a list of values can hold neither patterns nor operators")
    return listed
