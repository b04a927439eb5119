"""Make the `AsyncEngine` of a `Database`: its pool, and what listens to its connections and statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from svc_infra.db.sql._begin import limit_lone_statements, listen_for_begin, prepare_sqlite_connections
from svc_infra.db.sql._connecting import CONNECT_SECONDS, connect_with, listen_for_rest
from svc_infra.db.sql._deadline import (
    interrupt_cancelled_statements,
    listen_for_deadlines,
)
from svc_infra.db.sql._fair_pool import FairQueuePool
from svc_infra.db.sql._keepalive import keep_connections_alive
from svc_infra.db.sql._lost import give_up_lost_connections
from svc_infra.db.sql._mysql import drop_without_goodbye, kill_cancelled_statements
from svc_infra.db.sql._options import Wishes
from svc_infra.db.sql._sqlite_moments import write_moments_as_sqlite_does
from svc_infra.db.sql._turns import serve_one_task
from svc_infra.db.sql._written_table import note_written_table
from svc_infra.db.sql.direct import runs_directly
from svc_infra.db.sql.settings import DatabaseSettings

if TYPE_CHECKING:
    from svc_infra.dburl import ResolvedUrl

#: Databases that run in this process: no server that could have gone, no network.
EMBEDDED = frozenset({"duckdb", "sqlite"})


#: Variants of an engine that are kept; a caller that computes its timeouts must not make them grow for ever.
MOST_VARIANTS = 64


def create_engine(resolved: ResolvedUrl, settings: DatabaseSettings, *, echo: bool) -> AsyncEngine:
    """Make the engine; nothing connects yet."""
    resolved.require_driver()
    url = resolved.url
    backend = url.get_backend_name()
    if backend in ("duckdb", "mssql"):
        from svc_infra.db.sql.dialects import register_dialects

        register_dialects()
    memory = backend in EMBEDDED and is_memory(url)
    pool: dict[str, Any] = {
        "poolclass": FairQueuePool,
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout,
        "pool_recycle": settings.pool_recycle,
    }
    if memory:
        # The database is its one connection: sessions take turns on it, as sharing it would mix their transactions.
        pool |= {"pool_size": 1, "max_overflow": 0, "pool_recycle": -1}
    connect_args = dict(resolved.connect_args)
    if url.drivername == "postgresql+asyncpg":
        from svc_infra.db.sql._asyncpg import PrologueConnection

        connect_args.setdefault("connection_class", PrologueConnection)
    if backend == "snowflake":
        # Its own limit is two minutes of retries, which go on in the background after ours has ended the wait.
        connect_args.setdefault("login_timeout", int(CONNECT_SECONDS))
    engine = create_async_engine(url, connect_args=connect_args, echo=echo, hide_parameters=not echo, **pool)
    connect_with(engine.sync_engine, resolved)
    if settings.pool_pre_ping and backend not in EMBEDDED:
        listen_for_rest(engine.sync_engine)
    if backend == "sqlite":
        prepare_sqlite_connections(engine.sync_engine, memory=memory)
        write_moments_as_sqlite_does(engine.sync_engine)
        interrupt_cancelled_statements(engine.sync_engine)
    if backend in ("mariadb", "mysql"):
        side_engine = create_async_engine(url, connect_args=connect_args, poolclass=NullPool).sync_engine
        connect_with(side_engine, resolved)
        drop_without_goodbye(side_engine)
        drop_without_goodbye(engine.sync_engine)
        kill_cancelled_statements(engine.sync_engine, side_engine)
    serve_one_task(engine.sync_engine)
    if backend not in EMBEDDED:
        keep_connections_alive(engine.sync_engine)
    if url.drivername == "postgresql+asyncpg" and settings.statement_timeout_ms is not None and not resolved.pooler:
        limit_lone_statements(engine.sync_engine, settings.statement_timeout_ms)
    if backend == "postgresql":
        give_up_lost_connections(engine.sync_engine)
    note_written_table(engine.sync_engine)
    listen_for_begin(engine.sync_engine, settings.statement_timeout_ms)
    return engine


class EngineFamily:
    """The engine of one server and its variants, which share its pool and differ in how transactions begin."""

    def __init__(self, engine: AsyncEngine, settings: DatabaseSettings, *, runs_alone: bool) -> None:
        self.engine = engine
        #: Whether single statements may go without a transaction: not through a pooler that gives every statement
        #: another server, as asyncpg prepares and runs one in two steps.
        self.runs_alone = runs_alone
        self._settings = settings
        self._variants: dict[Wishes, AsyncEngine] = {Wishes(): engine}
        self._has_deadlines = False
        if settings.statement_timeout_ms or (settings.answer_timeout and engine.dialect.name not in EMBEDDED):
            self._listen_for_deadlines()

    @classmethod
    def create(cls, resolved: ResolvedUrl, settings: DatabaseSettings, *, echo: bool) -> EngineFamily:
        """Make the engine of a URL; nothing connects yet."""
        engine = create_engine(resolved, settings, echo=echo)
        return cls(engine, settings, runs_alone=runs_directly(engine.dialect) and not resolved.pooler)

    def get(self, wishes: Wishes) -> AsyncEngine:
        """Return the engine whose transactions are as wished."""
        engine = self._variants.get(wishes)
        if engine is None:
            if wishes.statement_timeout_ms:
                self._listen_for_deadlines()
            engine = self.engine.execution_options(**wishes.execution_options(self.engine.dialect.name))
            if len(self._variants) < MOST_VARIANTS:
                self._variants[wishes] = engine
        return engine

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections that the pool may open are in use."""
        pool = self.engine.pool
        # SQLAlchemy 2.1 has no public name for the largest overflow.
        return isinstance(pool, QueuePool) and pool.checkedout() >= pool.size() + max(pool._max_overflow, 0)  # noqa: SLF001

    def _listen_for_deadlines(self) -> None:
        """Listen to each statement, from the moment that one of them has a limit."""
        if not self._has_deadlines:
            self._has_deadlines = True
            settings = self._settings
            listen_for_deadlines(self.engine.sync_engine, settings.statement_timeout_ms, settings.answer_timeout)


def is_memory(url: URL) -> bool:
    """Whether a SQLite or DuckDB URL means a database in memory."""
    name = url.database or ""
    return name in ("", ":memory:") or "mode=memory" in name or url.query.get("mode") == "memory"
