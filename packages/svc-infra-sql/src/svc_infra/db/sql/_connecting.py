"""Opening connections and finding out that one has died: every wait bounded, one kind of error."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Dialect, Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only, greenlet_spawn

from svc_infra.db.sql._diagnosis import diagnose
from svc_infra.db.sql._wait import bounded

if TYPE_CHECKING:
    from svc_infra.dburl import ResolvedUrl

#: Seconds to connect when neither the URL nor the environment says; the guide's DB_CONNECT_TIMEOUT.
CONNECT_SECONDS = 10.0
#: The driver's own limit should come first, as it tells more; this many seconds later ours does.
GRACE_SECONDS = 1.0
#: A connection that was in use this many seconds ago is taken for alive, as in HikariCP (aliveBypassWindowMs).
REST_SECONDS = 0.5
#: Seconds that a resting connection may take to show that it is alive.
PROBE_SECONDS = 3.0

_TIMEOUT_ARGUMENTS = ("timeout", "connect_timeout", "login_timeout")
_LAST_USE = "svc_infra_last_use"
_WHILE_CONNECTING = "svc_infra_while_connecting"


def connect_with(engine: Engine, resolved: ResolvedUrl) -> None:
    """Open each connection of `engine` within the connect timeout, with the password and the encryption asked for."""
    from svc_infra.dburl.engine import prepare_engine

    prepare_engine(engine, resolved)  # first: what opens the connection below ends SQLAlchemy's asking of listeners
    _bound_first_questions(engine)

    def connect(
        dialect: Dialect, _record: ConnectionPoolEntry | None, cargs: list[Any], cparams: dict[str, Any]
    ) -> Any:
        limits = [float(cparams[name]) for name in _TIMEOUT_ARGUMENTS if isinstance(cparams.get(name), (int, float))]
        limit = limits[0] if limits else CONNECT_SECONDS
        try:
            opening = greenlet_spawn(dialect.connect, *cargs, **cparams)
            discard = dialect.do_terminate if dialect.has_terminate else None
            return await_only(bounded(opening, limit + GRACE_SECONDS, discard=discard))
        except OSError as error:  # asyncpg's: refused, unknown host, TLS, no answer (TimeoutError is an OSError)
            reason = str(error) or f"no answer within {limit:g} s"
            place = _place(resolved.url)
            failure = dialect.loaded_dbapi.OperationalError(f"can't connect to {place}: {reason}")
            setattr(failure, _WHILE_CONNECTING, place)
            raise failure from error
        except Exception as error:
            # Under SQLAlchemy 2.0 asyncpg's own.
            if isinstance(error, dialect.loaded_dbapi.Error) or diagnose(error) is not None:
                setattr(error, _WHILE_CONNECTING, _place(resolved.url))
            raise

    event.listen(engine, "do_connect", connect)


def _bound_first_questions(engine: Engine) -> None:
    """Bound what SQLAlchemy asks the first connection: the server's version and settings."""
    ask = engine.dialect.initialize

    def initialize(connection: Connection) -> None:
        try:
            await_only(bounded(greenlet_spawn(ask, connection), CONNECT_SECONDS))
        except TimeoutError as error:
            failure = engine.dialect.loaded_dbapi.OperationalError(
                f"connected, and got no answer to the first questions within {CONNECT_SECONDS:g} s"
            )
            setattr(failure, _WHILE_CONNECTING, _place(engine.url))
            raise failure from error

    engine.dialect.initialize = initialize  # type: ignore[method-assign]


def refused_place(error: object) -> str | None:
    """Name the server to which a driver was opening a connection when it raised the error; None when it was not.

    The codes alone don't tell: ODBC and Snowflake report a login that took too long as a statement that did (HYT00).
    """
    return getattr(error, _WHILE_CONNECTING, None)


def _place(url: URL) -> str:
    """Name the server of a URL without user, password and parameters."""
    if url.get_backend_name() in ("sqlite", "duckdb"):
        return url.database or "a database in memory"
    return f"{url.host or 'the local socket'}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def listen_for_rest(engine: Engine, *, clock: Callable[[], float] = monotonic) -> None:
    """Test a connection at its checkout when it has rested, and replace all old ones when it is dead.

    SQLAlchemy's own pre-ping tests at every checkout, which costs three round trips with asyncpg, and waits without end
    for a server that does not answer.
    """
    dialect = engine.dialect
    if dialect.driver in {"aiomysql", "asyncmy"}:
        # SQLAlchemy 2.0 asks PyMySQL's `ping` whether it needs its argument (#13306), and these two need it always.
        dialect._send_false_to_ping = True  # type: ignore[attr-defined]  # noqa: SLF001

    def checkin(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info[_LAST_USE] = clock()

    def checkout(dbapi_connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        last_use = record.info.get(_LAST_USE)  # none: it is new
        if last_use is None or clock() - last_use < REST_SECONDS:
            return
        try:
            await_only(bounded(greenlet_spawn(dialect.do_ping, dbapi_connection), PROBE_SECONDS))
        except (dialect.loaded_dbapi.Error, OSError) as error:
            raise InvalidatePoolError("the server closed the connection or does not answer") from error

    event.listen(engine, "checkin", checkin)
    event.listen(engine, "checkout", checkout)
