"""Moments in SQLite, which keeps them as text and compares them as text.

CURRENT_TIMESTAMP, and so every `server_default=func.now()`, writes `2026-01-31 12:00:00`, where SQLAlchemy writes and
asks for `2026-01-31 12:00:00.000000`. A row is then neither equal to nor as late as the moment that it shows: a filter
by it finds nothing, and pages by cursor repeat a row for ever. Without the zeros both are the same text, and texts with
and without a fraction are in the order of time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import TIMESTAMP, DateTime, Dialect, Engine
from sqlalchemy.dialects.sqlite import DATETIME
from sqlalchemy.types import TypeEngine

__all__ = ["write_moments_as_sqlite_does"]

_ZEROS = ".000000"


class Moment(DATETIME):
    """A date and time in the form that SQLite's own functions write, with a fraction only where there is one."""

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str | None]:
        """Return what turns a value into text."""
        full = super().bind_processor(dialect)

        def process(value: Any) -> str | None:
            text: str | None = value if full is None else full(value)
            return text if text is None else text.removesuffix(_ZEROS)

        return process


def write_moments_as_sqlite_does(engine: Engine) -> None:
    """Write and compare moments in SQLite's own form, on an engine that was not used yet."""
    moments: dict[type[TypeEngine[Any]], type[TypeEngine[Any]]] = {DateTime: Moment, TIMESTAMP: Moment}
    engine.dialect.colspecs = {**engine.dialect.colspecs, **moments}
