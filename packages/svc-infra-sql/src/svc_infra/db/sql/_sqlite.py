"""What a SQLite connection needs: WAL, foreign keys, real transactions, read-only ones and a statement timeout."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event

#: Milliseconds that a connection waits for another one's lock before SQLITE_BUSY; sqlite3's own default.
BUSY_TIMEOUT_MS = 5000


def prepare_sqlite(engine: Engine, *, memory: bool) -> None:
    """Set up every new connection of `engine`, and begin each transaction explicitly.

    The driver itself begins before a write only, so reads would not be repeatable, SAVEPOINT would not be enclosed and
    DDL would commit; see "Serializable isolation / Savepoints / Transactional DDL" in SQLAlchemy's SQLite manual.
    """

    def connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not memory:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.close()

    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        readonly = bool(options.get("svc_infra_readonly"))
        # The pragma belongs to the connection, so it is switched when sessions of both kinds take turns on one.
        if readonly is not connection.info.get("svc_infra_readonly", False):
            connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if readonly else 'OFF'}")
            connection.info["svc_infra_readonly"] = readonly
        if options.get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql(f"BEGIN {options.get('svc_infra_sqlite_begin', 'DEFERRED')}")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
