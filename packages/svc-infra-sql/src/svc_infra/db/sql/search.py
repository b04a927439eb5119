"""Free-text search over columns: case-insensitive, and what the user typed is literal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Enum, String, bindparam, cast, or_
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

from svc_infra.db.sql.errors import InvalidQuery, InvalidValue
from svc_infra.db.sql.fields import ModelFields

__all__ = ["as_text", "checked_text", "escape_like", "search_criterion", "search_pattern"]

M = TypeVar("M")

_ESCAPE = "/"
_LONGEST = 10_000


def escape_like(text: str) -> str:
    """The text with LIKE's wildcards escaped by `/`, for use with `escape="/"`.

    >>> escape_like("50%_/")
    '50/%/_//'
    """
    return text.replace(_ESCAPE, _ESCAPE * 2).replace("%", f"{_ESCAPE}%").replace("_", f"{_ESCAPE}_")


def search_pattern(q: str) -> str:
    """The LIKE pattern that finds the text anywhere.

    Raises:
        InvalidValue: When no database could look for the text; see `checked_text`.
    """
    return f"%{escape_like(checked_text('the search text', q))}%"


def checked_text(what: str, text: object) -> str:
    """A text that every database can take as a part of a LIKE pattern.

    Args:
        what: What it is called in the error.
        text: The text.

    Raises:
        InvalidValue: When it is no str or longer than 10,000 characters (SQLite takes patterns of 50,000 bytes), or
            holds a NUL character, which PostgreSQL can't compare, or a lone surrogate, which is no character.
    """
    if not isinstance(text, str):
        raise InvalidValue(f"{what} must be a str, got {type(text).__name__}")
    if len(text) > _LONGEST:
        raise InvalidValue(f"{what} has {len(text)} characters; at most {_LONGEST} can be looked for")
    if "\0" in text:
        raise InvalidValue(f"{what} holds a NUL character (\\x00); remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"{what} holds a lone surrogate, which is no character") from None
    return text


def search_criterion(
    fields: ModelFields[M], names: Sequence[str], column: Callable[[str], ColumnElement[Any]]
) -> ColumnElement[bool]:
    """The condition that one of the fields holds the pattern bound as `search_pattern`, in any case of letters.

    Fields that are not text are compared as text. Only ASCII letters are caseless on SQLite, as its LIKE is.

    Raises:
        UnknownField: When a name is no field.
        InvalidQuery: When no field is named.
    """
    if not names:
        raise InvalidQuery(f"search over {fields.model.__name__} needs at least one field to look in")
    pattern = bindparam("search_pattern", type_=String())
    found = []
    for name in dict.fromkeys(names):
        kind = fields.column(name, use="searched").type
        found.append(as_text(column(name), kind).ilike(pattern, escape=_ESCAPE))
    return or_(*found)


def as_text(column: ColumnElement[Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """The column as LIKE takes it: PostgreSQL's own enums, for one, are no text."""
    return column if isinstance(kind, String) and not isinstance(kind, Enum) else cast(column, String())
