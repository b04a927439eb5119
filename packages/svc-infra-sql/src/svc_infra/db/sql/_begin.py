"""What each database is told when a transaction begins: how long a statement may run and whether it may write.

Where this is a state of the connection and not of the transaction (MySQL's and Snowflake's session variables, SQLite's
pragma), the state is kept in `connection.info`, which lives as long as the connection, and set only when it changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import PoolProxiedConnection, PoolResetState
from sqlalchemy.util import await_only

from svc_infra.db.sql._options import READONLY, STATEMENT_TIMEOUT_MS, WILL_WRITE, is_autocommit

_SQLITE_BEGIN = "svc_infra_begin"

_Begin = Callable[[Connection, bool, "int | None"], None]

#: Milliseconds that a SQLite connection waits for another one's lock before SQLITE_BUSY; sqlite3's own default.
SQLITE_BUSY_TIMEOUT_MS = 5000


def listen_for_begin(engine: Engine, default_limit_ms: int | None) -> None:
    """Tell the database of `engine` at the beginning of each transaction."""
    tell = _TELL.get(engine.dialect.name)
    if tell is None:
        return

    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        tell(connection, bool(options.get(READONLY)), options.get(STATEMENT_TIMEOUT_MS, default_limit_ms))

    event.listen(engine, "begin", begin)


def _postgresql(connection: Connection, _readonly: bool, limit_ms: int | None) -> None:
    # READ ONLY is part of the BEGIN that SQLAlchemy's dialect sends (postgresql_readonly).
    if is_autocommit(connection):
        return
    # SET takes no bind parameter; the value is an int of our own making.
    command = "" if limit_ms is None else f"SET LOCAL statement_timeout = {int(limit_ms)}"
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "prologue"):
        driver.prologue = command  # sent along with the BEGIN, see _asyncpg
    elif command:
        connection.exec_driver_sql(command)


def limit_lone_statements(engine: Engine, limit_ms: int) -> None:
    """Give every new asyncpg connection the limit of statements outside of transactions, which no `SET LOCAL` reaches.

    Not to be used with a pooler in transaction mode, where it would stay on a server that others use next.
    """

    def connect(dbapi_connection: Any, _record: object) -> None:
        # On the driver, as SQLAlchemy's adapter would send it in a transaction, which is rolled back.
        await_only(dbapi_connection.driver_connection.execute(f"SET statement_timeout = {int(limit_ms)}"))

    event.listen(engine, "connect", connect)


def _mysql(connection: Connection, readonly: bool, limit_ms: int | None) -> None:
    limit_ms = limit_ms or 0
    if connection.info.get(STATEMENT_TIMEOUT_MS, 0) != limit_ms:
        if getattr(connection.dialect, "is_mariadb", False):
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {limit_ms / 1000:.3f}")
        else:
            connection.exec_driver_sql(f"SET SESSION max_execution_time = {limit_ms}")
        connection.info[STATEMENT_TIMEOUT_MS] = limit_ms
    if readonly and not is_autocommit(connection):
        connection.exec_driver_sql("START TRANSACTION READ ONLY")


def _sqlite(connection: Connection, readonly: bool, _limit_ms: int | None) -> None:
    if connection.info.get(READONLY, False) is not readonly:
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if readonly else 'OFF'}")
        connection.info[READONLY] = readonly
    will_write = connection.get_execution_options().get(WILL_WRITE)
    statement = "BEGIN IMMEDIATE" if will_write else "BEGIN"
    connection.info[_SQLITE_BEGIN] = None if is_autocommit(connection) else statement


def _duckdb(connection: Connection, readonly: bool, _limit_ms: int | None) -> None:
    dbapi_connection: Any = connection.connection.dbapi_connection
    dbapi_connection.readonly = readonly  # its begin() comes next


def _mssql(connection: Connection, _readonly: bool, limit_ms: int | None) -> None:
    driver: Any = connection.connection.driver_connection
    driver.timeout = _whole_seconds(limit_ms)


def _snowflake(connection: Connection, _readonly: bool, limit_ms: int | None) -> None:
    seconds = _whole_seconds(limit_ms)
    if connection.info.get(STATEMENT_TIMEOUT_MS, 0) != seconds:
        connection.exec_driver_sql(f"ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {seconds}")
        connection.info[STATEMENT_TIMEOUT_MS] = seconds


def _whole_seconds(limit_ms: int | None) -> int:
    """Round up, as 0 means no limit."""
    return -(-(limit_ms or 0) // 1000)


_TELL: dict[str, _Begin] = {
    "duckdb": _duckdb,
    "mariadb": _mysql,
    "mssql": _mssql,
    "mysql": _mysql,
    "postgresql": _postgresql,
    "snowflake": _snowflake,
    "sqlite": _sqlite,
}


def prepare_sqlite_connections(engine: Engine, *, memory: bool) -> None:
    """Give every new SQLite connection a busy timeout, foreign keys and, in a file, write-ahead logging.

    Transactions begin explicitly. The driver itself begins before a write only, so reads would not be repeatable,
    SAVEPOINT would stand alone and DDL would commit: "Serializable isolation / Savepoints / Transactional DDL" in
    SQLAlchemy's SQLite manual.
    """

    def connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None  # no BEGIN of the driver's own
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not memory:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()

    def reset(dbapi_connection: Any, _record: object, state: PoolResetState) -> None:
        # A COMMIT that fails (a deferred constraint) leaves the transaction open, and SQLAlchemy takes it for ended.
        if state.asyncio_safe and dbapi_connection.driver_connection.in_transaction:
            dbapi_connection.rollback()

    def do_begin(connection: PoolProxiedConnection) -> None:
        statement = connection.info.get(_SQLITE_BEGIN)
        if statement is not None:
            # One hop to the connection's thread, where a cursor of SQLAlchemy's would take three.
            driver: Any = connection.driver_connection
            await_only(driver.execute(statement))

    send_rollback = engine.dialect.do_rollback

    def do_rollback(connection: PoolProxiedConnection) -> None:
        # A connection that comes back without a transaction is spared the hop to its thread.
        driver: Any = connection.driver_connection
        try:
            is_open = driver.in_transaction
        except (
            ValueError,
            sqlite3.ProgrammingError,
        ):  # it is closed, of which SQLAlchemy's adapter makes an error of the driver
            is_open = True
        if is_open:
            send_rollback(connection)

    set_level = engine.dialect.set_isolation_level

    def set_isolation_level(dbapi_connection: Any, level: Any) -> None:
        # SQLAlchemy would leave AUTOCOMMIT by letting the driver begin again, and nobody would commit that.
        set_level(dbapi_connection, level)
        dbapi_connection.isolation_level = None

    event.listen(engine, "connect", connect)
    event.listen(engine, "reset", reset)
    engine.dialect.set_isolation_level = set_isolation_level  # type: ignore[method-assign]
    engine.dialect.do_rollback = do_rollback  # type: ignore[method-assign,assignment]
    # SQLAlchemy calls it where it begins a transaction, and wraps its errors as those of any statement.
    engine.dialect.do_begin = do_begin  # type: ignore[method-assign,assignment]
