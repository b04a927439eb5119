"""The query string of a list route: what may stand in it and how it is read.

    limit=50&offset=0          a page by position; limit is 1..1000
    cursor=...                 a page by key, stable under concurrent inserts; empty for the first one
    total=exact                exact, capped, estimated or none
    order_by=-created_at,name  allowed fields; a minus sign for descending
    q=john&fields=name,email   search, in some of the search fields
    email=a@b.c&age__gte=18    conditions on allowed fields; `__in` takes several values, separated by commas
    select=id,email            only these fields in the answer
    include=orders             related records in the answer

A name that means nothing is an error, because a condition with a typing mistake would otherwise return every row. Names
that begin with an underscore are left to others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args
from urllib.parse import parse_qsl

from pydantic import ValidationError

from svc_infra.api.fastapi.problems import FieldError, Problem, ProblemError, invalid_request
from svc_infra.db.sql.filters import Compare, Operator

__all__ = ["ListQuery", "ListRules", "QueryField", "TotalMode"]

TotalMode: TypeAlias = Literal["exact", "capped", "estimated", "none"]
"""How the number of all rows is found: counted, counted up to a limit, taken from the database's statistics, or not."""

SUFFIXES: Final[Mapping[str, Operator]] = {
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "lte": "le",
    "le": "le",
    "gt": "gt",
    "gte": "ge",
    "ge": "ge",
    "in": "in",
    "not_in": "not_in",
    "contains": "icontains",
    "starts_with": "starts_with",
    "ends_with": "ends_with",
    "is_null": "is_null",
}
TEXT_ONLY: Final = frozenset({"icontains", "starts_with", "ends_with"})

MAX_OFFSET: Final = 2**31 - 1
MAX_TEXT: Final = 256
MAX_VALUES: Final = 100
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class QueryField(Protocol):
    """A field as far as a query string deals with it: a column of a table or a field of a document."""

    @property
    def name(self) -> str:
        """Its name, also in the query string."""
        ...

    @property
    def description(self) -> str | None:
        """What it means, for people."""
        ...

    @property
    def is_hidden(self) -> bool:
        """Whether responses never show it."""
        ...

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        ...

    @property
    def is_nullable(self) -> bool:
        """Whether it may have no value."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the JSON schema of a value in a query string."""
        ...

    def parse_text(self, text: str) -> object:
        """Return the value that *text* stands for; raise `pydantic.ValidationError` when it stands for none."""
        ...


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list request after parsing. `cursor` is None for a page by position and "" for the first page by key."""

    limit: int
    offset: int = 0
    cursor: str | None = None
    total: TotalMode = "exact"
    order_by: tuple[str, ...] = ()
    q: str | None = None
    fields: tuple[str, ...] = ()
    where: tuple[Compare, ...] = ()
    select: tuple[str, ...] | None = None
    include: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it asks for no more than one page of all rows."""
        return not (self.q or self.where or self.include) and self.cursor is None and self.select is None


@dataclass(frozen=True)
class ListRules:
    """What the query string of one resource may hold.

    Attributes:
        columns: The resource's columns.
        filter_fields: Fields that conditions may name.
        order_fields: Fields that `order_by` may name.
        order_default: The order when none is asked for.
        search_fields: Fields that `q` searches; none switches `q` off.
        select_fields: Fields that `select` may name; none switches it off.
        has_cursor: Whether there are pages by key.
        relations: Names that `include` may hold.
        limit_default: Rows of a page when `limit` is absent.
        limit_max: Rows of a page at most.
        document_operators: Document every operator of every field, and not only equality.
        foreign: Parameters that belong to dependencies of the route.
    """

    columns: Mapping[str, QueryField]
    filter_fields: Sequence[str]
    order_fields: Sequence[str]
    order_default: tuple[str, ...] = ()
    search_fields: Sequence[str] = ()
    select_fields: Sequence[str] = ()
    has_cursor: bool = True
    relations: Sequence[str] = ()
    limit_default: int = 50
    limit_max: int = 1000
    total_default: TotalMode = "exact"
    document_operators: bool = False
    foreign: set[str] = field(default_factory=set)
    _cache: dict[bytes, ListQuery] = field(default_factory=dict, repr=False, compare=False)

    def parse(self, query_string: bytes) -> ListQuery:
        """Read a query string.

        Raises:
            ProblemError: 422 with every mistake and its place.
        """
        found = self._cache.get(query_string)
        if found is None:
            found = _Reader(self).read(query_string)
            # The same few pages are asked for again and again; the bound keeps memory flat under random input.
            if len(self._cache) >= 512 or len(query_string) > 512:
                self._cache.clear()
            self._cache[query_string] = found
        return found

    def parse_choice(self, query_string: bytes, name: str, choices: Sequence[str]) -> str:
        """Read the query string of a write, which may hold one parameter; absent, it means the first of *choices*.

        Raises:
            ProblemError: 422 when it holds anything else.
        """
        return choices[0] if not query_string else _Reader(self).read_choice(query_string, name, choices)

    def parse_item(self, query_string: bytes) -> ListQuery:
        """Read the query string of a route that answers one record: `select` and `include`.

        Raises:
            ProblemError: 422 with every mistake and its place.
        """
        if not query_string:
            return _PLAIN_ITEM
        return _Reader(self).read_item(query_string)


_PLAIN_ITEM: Final = ListQuery(limit=1)


class _Reader:
    """Reads one query string and collects every mistake in it."""

    def __init__(self, rules: ListRules) -> None:
        self.rules = rules
        self.errors: list[FieldError] = []

    def read_item(self, query_string: bytes) -> ListQuery:
        rules, values = self.rules, self._pairs(query_string)
        select = self._names(values, "select", rules.select_fields) if rules.select_fields else ()
        include = self._names(values, "include", rules.relations) if rules.relations else ()
        self._refuse_unknown(values)
        return ListQuery(limit=1, select=select or None, include=include)

    def read_choice(self, query_string: bytes, name: str, choices: Sequence[str]) -> str:
        values = self._pairs(query_string)
        found = self._single(values, name)
        if found is not None and found not in choices:
            self._refuse(name, f"Input should be {' or '.join(choices)}", "enum")
        self._refuse_unknown(values)
        return found or choices[0]

    def _refuse_unknown(self, values: Iterable[str]) -> None:
        for name in values:
            if not name.startswith("_") and name not in self.rules.foreign:
                self._refuse(name, "There is no such parameter", "unknown_parameter")
        if self.errors:
            raise ProblemError(invalid_request(self.errors))

    def _pairs(self, query_string: bytes) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(
                query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000
            )
        except ValueError:
            raise ProblemError(Problem("invalid-request", 422, "The query string is not valid.")) from None
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        return values

    def read(self, query_string: bytes) -> ListQuery:
        rules, values = self.rules, self._pairs(query_string)
        limit = self._integer(values, "limit", 1, rules.limit_max, rules.limit_default)
        offset = self._integer(values, "offset", 0, MAX_OFFSET, 0)
        cursor = self._single(values, "cursor") if rules.has_cursor else None
        if cursor is not None and offset:
            self._refuse("offset", "offset and cursor exclude each other", "exclusive")
        total = self._single(values, "total")
        if total is None:
            total = rules.total_default
        elif total not in get_args(TotalMode):
            self._refuse("total", f"Input should be one of {', '.join(get_args(TotalMode))}", "enum")
        order_by = self._names(values, "order_by", rules.order_fields, signed=True)
        q: str | None = None
        fields: tuple[str, ...] = ()
        if rules.search_fields:
            q = self._single(values, "q")
            if q is not None and (len(q) > MAX_TEXT or "\x00" in q):
                self._refuse("q", f"Text should have at most {MAX_TEXT} characters and no NUL", "string_too_long")
            fields = self._names(values, "fields", rules.search_fields)
        select = self._names(values, "select", rules.select_fields) if rules.select_fields else ()
        include = self._names(values, "include", rules.relations) if rules.relations else ()
        conditions = [found for name in list(values) for found in self._conditions(name, values[name])]
        if self.errors:
            raise ProblemError(invalid_request(self.errors))
        return ListQuery(
            limit=limit,
            offset=offset,
            cursor=cursor,
            total=total,  # type: ignore[arg-type]
            order_by=order_by or rules.order_default,
            q=q or None,
            fields=fields or tuple(rules.search_fields),
            where=tuple(conditions),
            select=select or None,
            include=include,
        )

    def _refuse(self, name: str, message: str, kind: str) -> None:
        self.errors.append({"loc": ["query", name], "msg": message, "type": kind})

    def _single(self, values: dict[str, list[str]], name: str) -> str | None:
        found = values.pop(name, None)
        if found is None:
            return None
        if len(found) > 1:
            self._refuse(name, "Given more than once", "repeated")
        return found[-1]

    def _integer(self, values: dict[str, list[str]], name: str, low: int, high: int, default: int) -> int:
        text = self._single(values, name)
        if text is None:
            return default
        digits = text[1:] if text[:1] == "-" else text
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            self._refuse(name, "Input should be a valid integer", "int_parsing")
            return default
        number = int(text)
        if number < low:
            self._refuse(name, f"Input should be greater than or equal to {low}", "greater_than_equal")
        elif number > high:
            self._refuse(name, f"Input should be less than or equal to {high}", "less_than_equal")
        return number

    def _names(
        self, values: dict[str, list[str]], name: str, allowed: Collection[str], *, signed: bool = False
    ) -> tuple[str, ...]:
        found = [part.strip() for text in values.pop(name, ()) if text for part in text.split(",")]
        for part in found:
            if (part.lstrip("-") if signed else part) not in allowed or part.startswith("--"):
                self._refuse(name, f"{part!r} is not one of {', '.join(sorted(allowed)) or 'none'}", "enum")
        return tuple(dict.fromkeys(found))

    def _conditions(self, name: str, texts: list[str]) -> list[Compare]:
        if name.startswith("_") or name in self.rules.foreign:
            return []
        base, _, suffix = name.rpartition("__")
        if not base or suffix not in SUFFIXES:
            base, suffix = name, "eq"
        if base not in self.rules.filter_fields:
            self._refuse(name, "There is no such parameter", "unknown_parameter")
            return []
        column, operator = self.rules.columns[base], SUFFIXES[suffix]
        if operator in TEXT_ONLY and not column.is_text:
            self._refuse(name, f"{base} is no text", "unknown_parameter")
            return []
        return [Compare(base, operator, value) for value in self._values(name, column, operator, texts)]

    def _values(self, name: str, column: QueryField, operator: Operator, texts: list[str]) -> list[object]:
        if operator == "is_null":
            flags = [_BOOLEANS.get(text.lower()) for text in texts]
            if None in flags:
                self._refuse(name, "Input should be true or false", "bool_parsing")
            return list(flags)
        if operator in {"in", "not_in"}:
            # Nothing at all is an empty list, except where it is a value.
            parts = [part for text in texts if text or column.is_text for part in text.split(",")]
            if len(parts) > MAX_VALUES:
                self._refuse(name, f"At most {MAX_VALUES} values", "too_long")
                return []
            return [tuple(self._parsed(name, column, part) for part in parts)]
        if operator in TEXT_ONLY:
            for text in texts:
                if len(text) > MAX_TEXT or "\x00" in text:
                    self._refuse(name, f"Text should have at most {MAX_TEXT} characters and no NUL", "string_too_long")
            return list(texts)
        return [self._parsed(name, column, text) for text in texts]

    def _parsed(self, name: str, column: QueryField, text: str) -> object:
        try:
            return column.parse_text(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            self._refuse(name, first["msg"], first["type"])
            return None
