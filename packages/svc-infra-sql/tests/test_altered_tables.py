"""Tables that are altered while an application runs, as by a migration before its next release."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import String, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import SchemaChanged
from svc_infra.db.sql.repository import SqlRepository


class Parcel(ModelBase):
    __tablename__ = "altered_parcels"
    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[int]
    note: Mapped[str | None] = mapped_column(String(20))


parcels = SqlRepository(Parcel)


@pytest.fixture(params=["asyncpg", "psycopg"])
async def database(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[Database]:
    """A pool of three connections, all of which have prepared the statements of the tests."""
    url = postgres_url.replace("postgresql:", f"postgresql+{request.param}:", 1)
    async with Database(url, pool_size=3, max_overflow=0) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=[Parcel.__table__])
        async with database.session() as session:
            await parcels.create(session, {"id": 1, "weight": 5})
        met = asyncio.Barrier(3)

        async def prepare() -> None:
            async with database.session() as session:
                await met.wait()
                for _ in range(8):
                    assert await parcels.rows.get(session, 1) == (1, 5, None)

        await asyncio.gather(*(prepare() for _ in range(3)))
        yield database


async def alter(url: str) -> None:
    """Give a column another type, from another process's connection."""
    async with Database(url) as other, other.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE altered_parcels ALTER COLUMN weight TYPE bigint"))


async def test_a_statement_that_was_prepared_before_is_a_retryable_error(database: Database, postgres_url: str) -> None:
    """Typed, so that a service answers 503 and not 500; the next transaction on the connection succeeds."""
    await alter(postgres_url)
    refused: list[str] = []
    for _ in range(6):
        try:
            async with database.session() as session:
                assert await parcels.rows.get(session, 1) == (1, 5, None)
        except SchemaChanged as error:
            refused.append(str(error))
    assert 1 <= len(refused) <= 3
    assert all("a table was altered" in message for message in refused)


async def test_one_connection_warns_the_others(database: Database, postgres_url: str) -> None:
    """With asyncpg the pool needs one refusal, and not one of each connection."""
    if database.engine.dialect.driver != "asyncpg":
        pytest.skip("psycopg keeps no note that its connections share")
    await alter(postgres_url)
    async with database.session() as one, database.session() as two, AsyncSession(database.engine) as three:
        await three.execute(text("SELECT 1"))
        with pytest.raises(SchemaChanged):
            await parcels.rows.get(three, 1)
        await three.rollback()
        for session in (one, two, three):
            for _ in range(3):
                assert await parcels.rows.get(session, 1) == (1, 5, None)


async def test_a_transaction_that_is_run_again_does_not_notice(database: Database, postgres_url: str) -> None:
    """`run_in_transaction` tries it again, whichever connection it gets; what is written is written once."""
    await alter(postgres_url)

    async def weigh(session: AsyncSession) -> int:
        parcel = await parcels.get_one(session, 1)
        parcel.weight += 1
        await session.flush()
        return parcel.weight

    assert [await database.run_in_transaction(weigh) for _ in range(4)] == [6, 7, 8, 9]
    async with database.session() as session:
        assert (await parcels.get_one(session, 1)).weight == 9


async def test_a_statement_alone_does_not_notice(database: Database, postgres_url: str) -> None:
    """Nothing of a single statement that is refused was done, so it runs again; what it writes is written once."""
    if database.engine.dialect.driver != "asyncpg":
        pytest.skip("single statements run in a session on psycopg")

    async def weigh() -> None:
        async with database.lone() as lone:
            assert (await parcels.rows.get(lone, 1))[0] == 1
            assert (await parcels.rows.list(lone, limit=1, where=Parcel.weight < 1000))[0][0] == 1
            await parcels.rows.update(lone, 1, {"weight": (await parcels.rows.get(lone, 1))[1] + 1})

    for _ in range(8):
        await weigh()
    await alter(postgres_url)
    for _ in range(4):
        await weigh()
    async with database.session() as session:
        assert (await parcels.get_one(session, 1)).weight == 17
