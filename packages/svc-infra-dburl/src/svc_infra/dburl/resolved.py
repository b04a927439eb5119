"""The result of resolving a database URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

from sqlalchemy import URL

from svc_infra.dburl._build import Wish, build_url, wished_driver
from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.reading import pool_settings
from svc_infra.dburl._drivers import Driver, require_driver
from svc_infra.dburl._sources.finding import Look
from svc_infra.dburl.pooler import pooler_of

__all__ = ["ResolvedUrl"]


class Origin(NamedTuple):
    """What a result was made of, so that it can be made again for another mode, rendered and explained."""

    parsed: ParsedUrl
    driver: Driver
    wish: Wish
    looks: list[Look]
    notes: list[str]
    installed: Callable[[str], bool]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ResolvedUrl:
    """A database URL that its driver understands, and what has to be passed beside it.

    Attributes:
        url: The URL, with the driver named. Printing it hides every secret.
        connect_args: For `create_async_engine` or `create_engine`: TLS, timeouts, caches.
        source: The variable, file or parts that it came from.
        mode: Whether it is for an async or a sync engine.
        password: Reads the password; None unless it stands in a file or a provider was given. Call it for each new
            connection, so that a rotated password is used without a restart: `engine.prepare_engine` does.

    Example:
        >>> from svc_infra.dburl import resolve_url
        >>> resolved = resolve_url("sqlite:///app.db", environ={}, installed=lambda module: True)
        >>> resolved.url
        sqlite+aiosqlite:///app.db
    """

    url: URL
    connect_args: dict[str, object]
    source: str
    mode: Literal["async", "sync"]
    password: Callable[[], str] | None
    _origin: Origin

    @property
    def dialect(self) -> str:
        """The database: postgresql, mysql, mariadb, sqlite, mssql, snowflake or duckdb."""
        return self._origin.parsed.dialect

    @property
    def driver(self) -> str:
        """The driver's name, e.g. asyncpg; the database's where the plain scheme names the driver."""
        return self._origin.driver.name or self._origin.parsed.dialect

    @property
    def hosts(self) -> tuple[tuple[str, int | None], ...]:
        """The hosts and their ports, None for the usual one; empty for a socket, a file or the driver's default."""
        return self._origin.parsed.hosts

    @property
    def socket(self) -> str | None:
        """The Unix socket or, for PostgreSQL, its folder; None without one."""
        return self._origin.parsed.socket

    @property
    def options(self) -> Mapping[str, str]:
        """The parameters that count, under one name each, defaults included. They can hold secrets."""
        return MappingProxyType(self._origin.parsed.options)

    @property
    def pooler(self) -> bool:
        """Whether a pooler in transaction mode is in between, so that nothing may be kept in a session."""
        given = self._origin.parsed.options.get("pgbouncer")
        if given is not None:
            return given == "true"
        return (
            self.dialect == "postgresql"
            and bool(self._origin.parsed.hosts)
            and pooler_of(self._origin.parsed.hosts) is not None
        )

    @property
    def pool_options(self) -> dict[str, int | float | bool]:
        """Settings of the pool that the URL gives as parameters, for `create_async_engine`.

        ``pool_size``, ``max_overflow``, ``pool_timeout`` and ``pool_recycle`` (seconds), ``pool_pre_ping``.
        """
        return pool_settings(self._origin.parsed.options, self.source)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed or dropped on the way, in words for people."""
        return tuple(self._origin.notes)

    def with_mode(self, mode: Literal["async", "sync"]) -> ResolvedUrl:
        """The same database for the other kind of engine, with the same options, TLS and timeouts.

        Raises:
            MissingDriver: No driver for that mode is installed.
        """
        if mode == self.mode:
            return self
        origin = self._origin
        driver = wished_driver(origin.parsed, origin.wish, mode, origin.installed)
        notes: list[str] = []
        url, connect_args = build_url(origin.parsed, driver, self.source, notes)
        return replace(
            self, url=url, connect_args=connect_args, mode=mode, _origin=origin._replace(driver=driver, notes=notes)
        )

    def with_password(self, provider: Callable[[], str]) -> ResolvedUrl:
        """The same URL with a provider of the password, which is called for each new connection.

        Args:
            provider: Returns a password or token, e.g. one of RDS IAM or Vault. It should take milliseconds.
        """
        return replace(self, password=provider)

    def require_driver(self) -> None:
        """Raise unless the driver is installed.

        Raises:
            MissingDriver: It is not; the message has the command that installs it.
        """
        require_driver(self._origin.driver, self._origin.parsed.dialect, self.source, self._origin.installed)

    def render(self, *, hide_secrets: bool = True) -> str:
        """Render as one text from which `resolve_url` makes the same again, connect arguments included.

        Args:
            hide_secrets: False shows them: for a child process, never for a log.
        """
        from svc_infra.dburl._rendering import render

        return render(self._origin.parsed, self._origin.driver, hide_secrets=hide_secrets)

    def with_database(self, database: str) -> ResolvedUrl:
        """The same server with another database, or another file of SQLite or DuckDB."""
        origin = self._origin._replace(parsed=replace(self._origin.parsed, database=database))
        return replace(self, url=self.url.set(database=database), _origin=origin)

    def explain(self) -> str:
        """Every place that was looked at, in order, and what came of it, as lines of text without secrets."""
        from svc_infra.dburl._explaining import explain

        return explain(self)

    def as_dict(self) -> dict[str, object]:
        """What `explain` says, for JSON: without secrets, connect arguments as text where JSON has no type for them."""
        from svc_infra.dburl._explaining import as_dict

        return as_dict(self)

    @property
    def looks(self) -> tuple[tuple[str, str], ...]:
        """The places that were looked at, in order, and what was found in each, without secrets."""
        return tuple(self._origin.looks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResolvedUrl):
            return NotImplemented
        return (self.url, self.connect_args, self.mode, self.pool_options, self.pooler) == (
            other.url,
            other.connect_args,
            other.mode,
            other.pool_options,
            other.pooler,
        )

    def __hash__(self) -> int:
        return hash((self.url, self.mode))

    def __repr__(self) -> str:
        return f"ResolvedUrl({str(self.url)!r}, mode={self.mode!r}, source={self.source!r})"
