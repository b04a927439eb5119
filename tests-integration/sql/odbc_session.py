"""A session with SQL Server by aioodbc, where nobody listens; run by `test_odbc` in an environment that has aioodbc."""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True))


async def main(url: str) -> None:
    """Tell the driver, how a statement compiles, and the error that connecting gives, with its cause."""
    async with Database(url) as database:
        statement = insert(notes).returning(notes.c.id).compile(dialect=database.engine.dialect)
        told = [database.url.drivername, str(statement)]
        try:
            async with database.session() as session:
                await session.execute(select(1))
        except Disconnected as error:
            told.append(f"{type(error).__name__} {type(error.__cause__).__module__} {error!r}")
    sys.stdout.write("\n".join(told))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
