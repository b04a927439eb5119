"""How values of the database are shown: typed, isolated from the text around them, short in a list, long on request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Final, Literal, TypeAlias

from svc_infra.api.fastapi.admin.html import Html, element

__all__ = ["LONG", "SHORT", "Shown", "key_text", "number_text", "short_value", "shown_value"]

SHORT: Final = 80
"""Characters of a value in a list."""

LONG: Final = 4000
"""Characters of a value on the page of its row; a page of its own shows the whole."""

Kind: TypeAlias = Literal["null", "number", "boolean", "text", "json", "binary", "time"]

_PREVIEW_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as text.

    Attributes:
        kind: What it is, for its looks.
        text: The text in full.
    """

    kind: Kind
    text: str


def shown_value(value: object) -> Shown:
    """Return the text of *value*."""
    match value:
        case None:
            return Shown("null", "null")
        case Enum():
            return shown_value(value.value)
        case bool():
            return Shown("boolean", "true" if value else "false")
        case int() | float() | Decimal():
            return Shown("number", str(value))
        case datetime() | date() | time():
            text = value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
            return Shown("time", text)
        case timedelta():
            return Shown("time", str(value))
        case bytes() | bytearray() | memoryview():
            data = bytes(value)
            more = " ..." if len(data) > _PREVIEW_BYTES else ""
            return Shown("binary", f"{len(data):,} bytes: {data[:_PREVIEW_BYTES].hex(' ')}{more}")
        case dict() | list() | tuple():
            return Shown("json", json.dumps(value, ensure_ascii=False, indent=2, default=str))
        case _:
            return Shown("text", str(value))


def short_value(value: object) -> Html:
    """Return *value* for a cell of a list: one line, at most `SHORT` characters."""
    shown = shown_value(value)
    if shown.kind == "text" and not shown.text:
        return element("span", "empty", class_="null")
    text = " ".join(shown.text[: SHORT * 4].split()) if shown.kind in {"text", "json"} else shown.text
    if len(text) > SHORT or len(shown.text) > SHORT * 4:
        text = text[:SHORT].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return element("bdi", text, class_=shown.kind)


def key_text(value: object) -> str:
    """Return *value* as the text that its column reads from a query string."""
    if isinstance(value, Enum):
        return key_text(value.value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def number_text(number: int) -> str:
    """Return a count with thousands set apart."""
    return f"{number:,}"
