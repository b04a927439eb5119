"""The execution options by which a session's wishes reach the connection that it gets."""

from __future__ import annotations

from sqlalchemy import Connection

#: bool: the transaction refuses writes.
READONLY = "svc_infra_readonly"
#: int: milliseconds that one statement may run, in place of the database's setting.
STATEMENT_TIMEOUT_MS = "svc_infra_statement_timeout_ms"
#: bool: the transaction takes its write lock at the start (SQLite's BEGIN IMMEDIATE).
WILL_WRITE = "svc_infra_will_write"


def is_autocommit(connection: Connection) -> bool:
    """Whether the connection has no transactions, so that what is local to one has no effect."""
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")
