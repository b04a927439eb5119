"""`Database`: one object between the URL and the transaction."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from svc_infra.db.sql._engine import EMBEDDED, EngineFamily
from svc_infra.db.sql._options import Wishes
from svc_infra.db.sql._session_events import hears_sessions
from svc_infra.db.sql._wait import bounded, settle
from svc_infra.db.sql.errors import Disconnected, InvalidSetting, PoolTimeout, SqlError, UnusableDatabase
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.replicas import ReplicaSet
from svc_infra.db.sql.retry import DEFAULT_RETRIES, RetryPolicy, is_retryable
from svc_infra.db.sql.session import SessionScope
from svc_infra.db.sql.settings import DatabaseSettings
from svc_infra.db.sql.settings import read_urls as read_urls_in
from svc_infra.db.sql.translate import translating
from svc_infra.dburl.variables import read_variables

if TYPE_CHECKING:
    from svc_infra.dburl import ResolvedUrl

__all__ = ["Database"]

T = TypeVar("T")

#: The source that `resolve_url` notes for a URL that the program gave.
FROM_ARGUMENT = "argument"

#: Databases that have one isolation level, or whose one level of choice has nothing to do with SQLAlchemy's names.
ONE_LEVEL = frozenset({"duckdb", "snowflake", "sqlite"})


#: Seconds in which `close()` says goodbye to the server, and then waits for what was given up before.
GOODBYE_SECONDS, SETTLE_SECONDS = 5.0, 5.0


class Database:
    """The engine, the sessions and the settings of one database.

    Making one reads the configuration and loads the driver, so that bad configuration fails at start; the first
    session connects. It belongs to the event loop and the process that first use it.

    Args:
        url: The database's URL; None resolves it from `environ` as `svc_infra.dburl.resolve_database_url` does.
        environ: Where the URL and the `DB_*` settings come from, with the project's .env file behind it.
        pool_size: Connections kept open (`DB_POOL_SIZE`, default 5).
        max_overflow: Connections above `pool_size` under load (`DB_MAX_OVERFLOW`, default 10).
        pool_timeout: Seconds that a session waits for a connection (`DB_POOL_TIMEOUT`, default 30).
        pool_recycle: Seconds after which a connection is replaced (`DB_POOL_RECYCLE`, default 3600; -1 never).
        pool_pre_ping: Whether a connection is tested at each checkout (`DB_POOL_PRE_PING`, default true).
        statement_timeout_ms: Milliseconds that one statement may run (`DB_STATEMENT_TIMEOUT_MS`).
        answer_timeout: Seconds that a server may be silent on a statement without a limit, or on the next rows of a
            stream, before its connection is given up (`DB_ANSWER_TIMEOUT`, default 600; 0 waits for ever).
        read_urls: URLs of read replicas, which read-only sessions use. None takes `DB_READ_URLS`, or `READ_DB_URL` for
            one, when the database's own URL comes from the environment, too.
        max_replica_lag_seconds: How far behind a replica may be (`DB_MAX_REPLICA_LAG`, default 10).
        echo: Whether SQLAlchemy logs every statement with its parameters, which are hidden otherwise.

    An argument beats the URL's parameter of the same name, which beats the environment.

    Example:
        >>> from sqlalchemy import text
        >>> async def answer() -> int:
        ...     async with Database("sqlite://") as database, database.session() as session:
        ...         return (await session.execute(text("SELECT 42"))).scalar_one()
        >>> import asyncio; asyncio.run(answer())
        42

    Raises:
        svc_infra.dburl.errors.DatabaseUrlError: When there is no URL, or it can't be used.
        InvalidSetting: When a setting is not of its kind or out of range.
    """

    def __init__(
        self,
        url: str | URL | ResolvedUrl | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        pool_size: int | None = None,
        max_overflow: int | None = None,
        pool_timeout: float | None = None,
        pool_recycle: int | None = None,
        pool_pre_ping: bool | None = None,
        statement_timeout_ms: int | None = None,
        answer_timeout: float | None = None,
        read_urls: Sequence[str | URL | ResolvedUrl] | None = None,
        max_replica_lag_seconds: float | None = None,
        echo: bool = False,
    ) -> None:
        arguments: dict[str, float | bool | None] = {
            "pool_size": pool_size,
            "max_overflow": max_overflow,
            "pool_timeout": pool_timeout,
            "pool_recycle": pool_recycle,
            "pool_pre_ping": pool_pre_ping,
            "statement_timeout_ms": statement_timeout_ms,
            "answer_timeout": answer_timeout,
            "max_replica_lag_seconds": max_replica_lag_seconds,
        }
        resolved = _resolve(url, environ)
        environ = read_variables(environ)
        self._settings = DatabaseSettings.resolve(resolved.pool_options, environ, **arguments)
        self._engines = EngineFamily.create(resolved, self._settings, echo=echo)
        replicas = [
            EngineFamily.create(
                replica, DatabaseSettings.resolve(replica.pool_options, environ, **arguments), echo=echo
            )
            for replica in _resolve_replicas(read_urls, resolved, environ)
        ]
        self._replicas: ReplicaSet | None = None
        if replicas:
            self._replicas = ReplicaSet(self._engines, replicas, self._settings.max_replica_lag_seconds)
        self._lone: dict[bool, LoneStatements] = {}
        self._owner: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Database {self.url!r}{' closed' if self._closed else ''}>"

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine, for what this class does not offer."""
        return self._engines.engine

    @property
    def all_engines(self) -> tuple[AsyncEngine, ...]:
        """The primary's engine, followed by those of the read replicas."""
        replicas = () if self._replicas is None else self._replicas.replicas
        return (self.engine, *(replica.engine for replica in replicas))

    @property
    def url(self) -> URL:
        """The URL in use, its driver named and its password hidden when printed."""
        return self._engines.engine.url

    @property
    def settings(self) -> DatabaseSettings:
        """The settings in force."""
        return self._settings

    @property
    def is_embedded(self) -> bool:
        """Whether the database runs in this process (SQLite, DuckDB), with no network in between."""
        return self.engine.dialect.name in EMBEDDED

    @property
    def replicas(self) -> ReplicaSet | None:
        """The read replicas, or None when there are none."""
        return self._replicas

    @property
    def engines(self) -> EngineFamily:
        """The engine and its variants of the same pool."""
        return self._engines

    def session(self, *, readonly: bool = False, statement_timeout_ms: int | None = None) -> SessionScope:
        """Open a session: `async with database.session() as session`.

        Leaving the block commits; leaving it by an exception, cancellation included, rolls back. Objects stay readable
        after the commit. An error of SQLAlchemy or the driver that leaves the block, the commit's included, is raised
        as the typed error of `svc_infra.db.sql.errors`; inside the block SQLAlchemy's own errors are seen.

        A session serves one task: what another one sends while it waits is refused with an error of SQLAlchemy's, and
        so is every use after the block.

        Args:
            readonly: Whether the transaction refuses writes; where the database can't refuse them it is rolled back. It
                goes to a read replica, if there are any, that is up, not too far behind and has what the current scope
                wrote before; else to the primary.
            statement_timeout_ms: Milliseconds that one statement of this session may run; None for the database's
                setting.

        Raises:
            UnusableDatabase: On entry, when the database is closed or was first used in another process or event loop.
        """
        return SessionScope(self, Wishes(readonly, statement_timeout_ms))

    def lone(self, *, readonly: bool = False) -> AbstractAsyncContextManager[AsyncSession | LoneStatements]:
        """Open what single statements run on, each committed by itself: `async with database.lone() as lone`.

        For the methods of a repository's row form that are one statement, such as `repo.rows.get(lone, id)`: no BEGIN
        and COMMIT, and on PostgreSQL (asyncpg) and SQLite the driver itself, at about half of the cost. Where single
        statements gain nothing, or can't be (another database or driver, a pooler in transaction mode), it is a
        session; so it is while the application listens to the class of sessions (an audit log, a tenant's confines).

        Args:
            readonly: Whether they only read; then a read replica may answer, as in `session(readonly=True)`.

        Raises:
            UnusableDatabase: On entry, as for `session()`.
        """
        if not self._engines.runs_alone or hears_sessions(readonly=readonly):
            return self.session(readonly=readonly)
        found = self._lone.get(readonly)
        if found is None:
            found = self._lone[readonly] = LoneStatements(self, readonly=readonly)
        return found

    async def run_in_transaction(
        self,
        work: Callable[[AsyncSession], Awaitable[T]],
        *,
        isolation_level: str | None = "SERIALIZABLE",
        retries: RetryPolicy = DEFAULT_RETRIES,
        statement_timeout_ms: int | None = None,
    ) -> T:
        """Run `work(session)` in a transaction, again and as a whole when it loses against concurrent ones.

        The transaction is retried on a serialization failure, a deadlock or a lock timeout, its own or that of its
        commit; never when the connection was lost, as the commit may have taken place. So `work` should touch nothing
        but the session, and may be called several times.

        Args:
            work: Gets a new session each time; what it returns is returned once the transaction is committed.
            isolation_level: SERIALIZABLE, under which concurrent transactions give the result of some order of theirs;
                None for the database's default. SQLite takes its write lock at the start, DuckDB and Snowflake have one
                level only and are left at it.
            retries: How often and how long to try.
            statement_timeout_ms: As for `session()`.

        Raises:
            RetryableError: When the last attempt lost, too.
            LockTimeout: The same.
        """
        if self.engine.dialect.name in ONE_LEVEL:
            isolation_level = None
        wishes = Wishes(statement_timeout_ms=statement_timeout_ms, isolation_level=isolation_level, will_write=True)
        waits = retries.waits()
        while True:
            try:
                async with SessionScope(self, wishes) as session:
                    result = await work(session)
            except SqlError as error:
                wait = next(waits, None) if is_retryable(error) else None
                if wait is None:
                    raise
            else:
                return result
            await asyncio.sleep(wait)

    async def ping(self, timeout: float = 1.0) -> float:  # noqa: ASYNC109 (asyncio.timeout can't bound a hanging driver)
        """Ask the database for an answer through a connection of the pool.

        Args:
            timeout: Seconds to wait; the call ends by then even when the driver ignores its cancellation.

        Returns:
            The seconds that it took.

        Raises:
            Disconnected: When the database refuses, or does not answer in time.
            PoolTimeout: When all connections are in use.
        """
        self.enter()
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            with translating():
                await bounded(self._ping(), timeout)
        except TimeoutError:
            if self._engines.is_exhausted:
                raise PoolTimeout(
                    f"all connections to {self.url!r} were in use for {timeout:g} s; the database itself was not asked"
                ) from None
            raise Disconnected(f"no answer from {self.url!r} within {timeout:g} s") from None
        return loop.time() - start

    async def _ping(self) -> None:
        # SQLite answers SELECT 1 for a file that is no database; reading the schema version reads the file.
        statement = "PRAGMA schema_version" if self._engines.engine.dialect.name == "sqlite" else "SELECT 1"
        async with self._engines.engine.connect() as connection:
            await connection.exec_driver_sql(statement)

    async def close(self) -> None:
        """Close every connection; the database can't be used afterwards. Closing twice is fine.

        It ends within seconds, also when the server does not answer any more.
        """
        if self._closed:
            return
        self._closed = True
        if self._owner is not None and self._owner != (asyncio.get_running_loop(), os.getpid()):
            # The connections belong to a loop or process that this one can't speak for: drop them without a goodbye.
            for engine in self.all_engines:
                engine.sync_engine.dispose(close=False)
            return
        for engine in self.all_engines:
            await _dispose(engine)
        await settle(SETTLE_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def enter(self) -> None:
        """Claim the database for this process and event loop, or tell why it can't be used here.

        Raises:
            UnusableDatabase: When it is closed, was first used before a fork, or on another event loop.
        """
        here = (asyncio.get_running_loop(), os.getpid())
        if self._owner == here and not self._closed:
            return
        if self._closed:
            raise UnusableDatabase(f"{self!r} was closed; make a new Database")
        if self._owner is None:
            self._owner = here
            return
        if self._owner[1] != here[1]:
            raise UnusableDatabase(
                f"{self!r} was first used in process {self._owner[1]} and this is its fork {here[1]}: two processes "
                "would share its connections. Make the Database after the fork (per worker), or close it before"
            )
        raise UnusableDatabase(
            f"{self!r} was first used on another event loop and its connections are bound to that one. Make one "
            "Database per event loop and close it before the loop ends"
        )


async def _dispose(engine: AsyncEngine) -> None:
    try:
        await bounded(engine.dispose(), GOODBYE_SECONDS)
    except TimeoutError:
        # A silent server hears no goodbye. Outside of SQLAlchemy's greenlet terminating a connection never waits.
        dialect = engine.sync_engine.dialect
        dialect.do_close = dialect.do_terminate  # type: ignore[method-assign]
        engine.sync_engine.dispose()


def _resolve_replicas(
    urls: Sequence[str | URL | ResolvedUrl] | None, primary: ResolvedUrl, environ: Mapping[str, str]
) -> Iterator[ResolvedUrl]:
    from svc_infra.dburl import resolve_url

    if urls is not None:
        replicas = [_resolve(url, environ) for url in urls]
    elif primary.source == FROM_ARGUMENT:
        return  # the environment's replicas are those of the environment's database, not of every one in the process
    else:
        replicas = [resolve_url(url, environ=environ, source=variable) for url, variable in read_urls_in(environ)]
    for replica in replicas:
        if replica.url.get_backend_name() != primary.url.get_backend_name():
            raise InvalidSetting(
                f"the read replica of {replica.source} is {replica.url!r}; it must be of the same kind as "
                f"{primary.url!r}"
            )
        if replica.url != primary.url:
            yield replica


def _resolve(url: str | URL | ResolvedUrl | None, environ: Mapping[str, str]) -> ResolvedUrl:
    from svc_infra.dburl import ResolvedUrl, resolve_database_url, resolve_url

    if url is None:
        return resolve_database_url(environ)
    if isinstance(url, ResolvedUrl):
        return url
    return resolve_url(url, environ=read_variables(environ))
