"""A database URL taken apart, before a driver is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = ["Dialect", "Host", "Mode", "ParsedUrl"]

Dialect = Literal["postgresql", "mysql", "mariadb", "sqlite", "mssql", "snowflake", "duckdb"]
Mode = Literal["async", "sync"]
Host = tuple[str, int | None]
"""A host name or address without brackets, and its port or None for the database's usual one."""


@dataclass(slots=True)
class ParsedUrl:
    """The parts of a database URL, percent-decoded, in no driver's dialect yet.

    ``database`` is None when the URL has no path and empty when it has only the slash, as SQLAlchemy tells them apart.
    ``options`` are the query parameters, each name once, the last of repeated ones winning as in libpq.
    """

    dialect: Dialect
    driver: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    hosts: tuple[Host, ...] = ()
    socket: str | None = None
    socket_port: int | None = None
    database: str | None = None
    options: dict[str, str] = field(default_factory=dict, repr=False)

    def with_options(self, options: dict[str, str]) -> ParsedUrl:
        """The same URL with other options."""
        return replace(self, options=options)
