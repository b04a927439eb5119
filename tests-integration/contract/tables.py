"""The tables of a service under test."""

from __future__ import annotations

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database

__all__ = ["create_tables"]


async def create_tables(url: str, *models: type[ModelBase]) -> None:
    """Create the tables of *models* in the database at *url*."""
    names = {model.__tablename__ for model in models}
    tables = [table for table in ModelBase.metadata.sorted_tables if table.name in names]
    async with Database(url) as database, database.engine.begin() as connection:
        await connection.run_sync(lambda sync: ModelBase.metadata.create_all(sync, tables=tables))
