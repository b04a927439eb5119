"""Whether the database's schema is at the revision that this code needs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from svc_infra.health.check import ClosableCheck
from svc_infra.health.checks.connection import DatabaseConnection, DatabaseSource
from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import Outcome

__all__ = ["check_migrations"]


def check_migrations(
    database: DatabaseSource | None = None,
    *,
    script_location: str | os.PathLike[str] = "migrations",
    expected: Collection[str] | None = None,
    version_table: str = "alembic_version",
    version_table_schema: str | None = None,
    connect_timeout: float = 5.0,
    environ: Mapping[str, str] = os.environ,
) -> ClosableCheck:
    """Return a check that the database holds exactly the heads of the migration scripts.

    For the startup probe: an instance whose schema is not there yet should wait, not serve errors.

    Args:
        database: As for `check_database`.
        script_location: The folder of the migration scripts, read with Alembic at the first run.
        expected: The revisions to find instead, for an image without the scripts.
        version_table: Name of Alembic's table.
        version_table_schema: Its schema, if not the default one.
        connect_timeout: Seconds that connecting may take.
        environ: Where the address is looked up.
    """
    connection = DatabaseConnection(database, connect_timeout=connect_timeout, environ=environ)
    return _MigrationsCheck(connection, Path(script_location), expected, version_table, version_table_schema)


class _MigrationsCheck:
    def __init__(
        self,
        connection: DatabaseConnection,
        script_location: Path,
        expected: Collection[str] | None,
        version_table: str,
        schema: str | None,
    ) -> None:
        self._connection = connection
        self._script_location = script_location
        self._expected = None if expected is None else frozenset(expected)
        self._version_table = version_table
        self._schema = schema

    async def __call__(self) -> Outcome:
        if self._expected is None:
            self._expected = await self._connection.worker.run(self._heads)
        found = frozenset(await self._connection.column(self._version_table, "version_num", self._schema))
        if found == self._expected:
            return Outcome(detail=f"at {_names(found)}")
        return Outcome(
            "unhealthy", "pending", f"the database is at {_names(found)}, the code needs {_names(self._expected)}"
        )

    async def aclose(self) -> None:
        await self._connection.aclose()

    def _heads(self) -> frozenset[str]:
        try:
            from alembic.script import ScriptDirectory
            from alembic.util.exc import CommandError
        except ImportError as error:
            raise CheckFailed(
                "driver",
                "check_migrations reads the scripts with Alembic: install svc-infra-migrate, or pass expected=",
            ) from error
        try:
            return frozenset(ScriptDirectory(str(self._script_location)).get_heads())
        except CommandError as error:
            raise CheckFailed(
                "configuration", f"no migration scripts at {self._script_location.resolve()}: {error}"
            ) from error


def _names(revisions: Collection[str]) -> str:
    return ", ".join(sorted(revisions)) or "no revision"
