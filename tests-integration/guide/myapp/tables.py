"""Creates the tables without a migration, for the examples that are about something else."""

from __future__ import annotations

from myapp.models import Account, User
from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database


async def create_tables(url: str) -> None:
    """Create the tables of `myapp` in the database that *url* names."""
    async with Database(url) as database, database.engine.begin() as connection:
        await connection.run_sync(ModelBase.metadata.create_all, tables=[User.__table__, Account.__table__])
