"""Make the `AsyncEngine` of a `Database`: pool, bounded connecting, and what each database needs per connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Dialect, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import await_only, greenlet_spawn

from svc_infra.db.sql._wait import bounded
from svc_infra.db.sql.settings import DatabaseSettings

if TYPE_CHECKING:
    from svc_infra.dburl import ResolvedUrl

#: Seconds to connect when neither the URL nor the environment says; the guide's DB_CONNECT_TIMEOUT.
CONNECT_SECONDS = 10.0
#: The driver's own limit should come first, as it tells more; this many seconds later ours does.
_GRACE_SECONDS = 1.0

_TIMEOUT_ARGUMENTS = ("timeout", "connect_timeout", "login_timeout")


def create_engine(url: URL, resolved: ResolvedUrl, settings: DatabaseSettings, *, echo: bool) -> AsyncEngine:
    """Make the engine; nothing connects yet."""
    sqlite = url.get_backend_name() == "sqlite"
    memory = sqlite and is_memory(url)
    pool: dict[str, Any] = {
        "poolclass": AsyncAdaptedQueuePool,
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout,
        "pool_recycle": settings.pool_recycle,
        "pool_pre_ping": settings.pool_pre_ping and not sqlite,  # a file has no server that could have gone
    }
    if memory:
        # The database is its one connection: sessions take turns on it, as sharing it would mix their transactions.
        pool |= {"pool_size": 1, "max_overflow": 0, "pool_recycle": -1}
    engine = create_async_engine(
        url, connect_args=dict(resolved.connect_args), echo=echo, hide_parameters=not echo, **pool
    )
    sync_engine = engine.sync_engine
    event.listen(sync_engine, "do_connect", _connector(resolved))
    if sqlite:
        from svc_infra.db.sql._sqlite import prepare_sqlite

        prepare_sqlite(sync_engine, memory=memory)
    elif url.get_backend_name() == "postgresql":
        _limit_statements_on_postgresql(sync_engine, settings.statement_timeout_ms)
    return engine


def is_memory(url: URL) -> bool:
    """Whether a SQLite URL means a database in memory."""
    name = url.database or ""
    return name in ("", ":memory:") or "mode=memory" in name or url.query.get("mode") == "memory"


def is_autocommit(connection: Connection) -> bool:
    """Whether the connection has no transactions, so that what is local to one has no effect."""
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")


def _connector(resolved: ResolvedUrl) -> Callable[..., Any]:
    """Make the listener that opens each connection: current password, bounded wait, one kind of error."""

    def connect(
        dialect: Dialect, _record: ConnectionPoolEntry | None, cargs: list[Any], cparams: dict[str, Any]
    ) -> Any:
        if resolved.password is not None:
            cparams["password"] = resolved.password()
        limits = [float(cparams[name]) for name in _TIMEOUT_ARGUMENTS if isinstance(cparams.get(name), (int, float))]
        limit = (limits[0] if limits else CONNECT_SECONDS) + _GRACE_SECONDS
        try:
            return await_only(bounded(greenlet_spawn(dialect.connect, *cargs, **cparams), limit))
        except OSError as error:  # asyncpg's: refused, unknown host, TLS, no answer (TimeoutError is an OSError)
            reason = str(error) or f"no answer within {limit - _GRACE_SECONDS:g} s"
            raise dialect.loaded_dbapi.OperationalError(f"can't connect to {_place(resolved.url)}: {reason}") from error

    return connect


def _place(url: URL) -> str:
    """Name the server of a URL without user, password and parameters."""
    return f"{url.host or 'the local socket'}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _limit_statements_on_postgresql(engine: Engine, default_ms: int | None) -> None:
    def begin(connection: Connection) -> None:
        limit = connection.get_execution_options().get("svc_infra_statement_timeout_ms", default_ms)
        if limit is None or is_autocommit(connection):
            return
        # SET takes no bind parameter; the value is an int of our own making.
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(limit)}")

    event.listen(engine, "begin", begin)
