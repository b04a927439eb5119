"""Whether an SQL database answers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from svc_infra.health.check import ClosableCheck
from svc_infra.health.checks.connection import DatabaseConnection, DatabaseSource
from svc_infra.health.report import Outcome

__all__ = ["check_database"]

_PING = {"": "SELECT 1", "oracle": "SELECT 1 FROM DUAL"}

_READ_ONLY = {
    "": "SELECT 0",
    # https://www.postgresql.org/docs/current/functions-info.html and runtime-config-client.html
    "postgresql": "SELECT (pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on')::int",
    "mysql": "SELECT @@global.read_only",
    "mariadb": "SELECT @@global.read_only",
    "mssql": "SELECT CASE WHEN DATABASEPROPERTYEX(DB_NAME(), 'Updateability') = 'READ_ONLY' THEN 1 ELSE 0 END",
    "sqlite": "PRAGMA query_only",
}


def check_database(
    database: DatabaseSource | None = None,
    *,
    writable: bool = False,
    connect_timeout: float = 5.0,
    environ: Mapping[str, str] = os.environ,
) -> ClosableCheck:
    """Return a check that the database accepts a connection and answers a statement.

    It uses one connection of its own, kept between runs, so that an exhausted pool of the application is not mistaken
    for a database that is away. SQLite and DuckDB files are looked at without being created or locked.

    Args:
        database: An address in any form that svc-infra-dburl understands; an engine or a `Database`, whose pool is then
            used; or None (what `os.getenv("SQL_URL")` gives when it is not set): what the environment says by the rules
            of `resolve_database_url`, read when the check runs. When that finds nothing, the check is unhealthy with
            the reason "configuration", and `wait_until_healthy` does not wait for it.
        writable: Whether a standby or a read-only server counts as unhealthy.
        connect_timeout: Seconds that connecting may take. The check's own timeout bounds the whole.
        environ: The environment for None, and for defaults such as `DB_SSLMODE_DEFAULT`.
    """
    return _DatabaseCheck(DatabaseConnection(database, connect_timeout=connect_timeout, environ=environ), writable)


class _DatabaseCheck:
    def __init__(self, connection: DatabaseConnection, writable: bool) -> None:
        self._connection = connection
        self._writable = writable

    async def __call__(self) -> Outcome:
        if not self._writable:
            await self._connection.scalar(_PING)
            return Outcome()
        if await self._connection.scalar(_READ_ONLY) in (0, "0", None):
            return Outcome()
        return Outcome("unhealthy", "readonly", "the database is a standby or read-only, and a writable one is needed")

    async def aclose(self) -> None:
        await self._connection.aclose()
