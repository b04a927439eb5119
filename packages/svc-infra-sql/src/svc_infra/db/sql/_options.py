"""What a session wishes of its transaction, and the execution options by which this reaches the connection."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

#: bool: the transaction refuses writes.
READONLY = "svc_infra_readonly"
#: int: milliseconds that one statement may run, in place of the database's setting.
STATEMENT_TIMEOUT_MS = "svc_infra_statement_timeout_ms"
#: bool: the transaction takes its write lock at the start (SQLite's BEGIN IMMEDIATE).
WILL_WRITE = "svc_infra_will_write"


class Wishes(NamedTuple):
    """What a session wishes of its transaction."""

    readonly: bool = False
    statement_timeout_ms: int | None = None
    isolation_level: str | None = None
    will_write: bool = False

    def execution_options(self, backend: str) -> dict[str, object]:
        """Return the execution options that bring these wishes about on a database of this kind."""
        options: dict[str, object] = {}
        if self.readonly:
            options[READONLY] = True
            if backend == "postgresql":
                options["postgresql_readonly"] = True
        if self.statement_timeout_ms is not None:
            options[STATEMENT_TIMEOUT_MS] = self.statement_timeout_ms
        if self.isolation_level is not None:
            options["isolation_level"] = self.isolation_level
        if self.will_write:
            options[WILL_WRITE] = True
        return options


def is_autocommit(connection: Connection) -> bool:
    """Whether the connection has no transactions, so that what is local to one has no effect."""
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")
