"""Waiting for a connection: in the order of asking, and without losing a connection when somebody stops waiting."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest
from sqlalchemy import event, text
from sqlalchemy.pool import QueuePool

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import PoolTimeout

ONE = text("SELECT 1")


def pool_of(database: Database) -> QueuePool:
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    return pool


async def until_waiting(number: int) -> None:
    """Let tasks that were just started come to where they wait."""
    for _ in range(number * 20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("url", ["postgres_url", "sqlite_url"])
async def test_nobody_overtakes_who_waits(url: str, request: pytest.FixtureRequest) -> None:
    """Whoever gives a connection back and asks again at once stands behind those who wait."""
    served: list[object] = []
    overtakers: Counter[object] = Counter()
    async with Database(request.getfixturevalue(url), pool_size=2, max_overflow=0, pool_timeout=30) as database:
        async with database.session() as one, database.session() as other:  # connecting takes its time, in no order
            await one.execute(ONE)
            await other.execute(ONE)

        @event.listens_for(database.engine.sync_engine, "checkout")
        def serve(*_: object) -> None:
            served.append(asyncio.current_task())

        async def client() -> None:
            while len(served) < 200:
                async with database.session() as session:
                    asked = len(served)
                    await session.execute(ONE)
                    mine = served.index(asyncio.current_task(), asked)
                    overtakers.update(who for who, times in Counter(served[asked:mine]).items() if times > 1)

        await asyncio.gather(*(client() for _ in range(10)))
    assert len(set(served)) == 10
    assert not overtakers


async def test_a_cancelled_waiter_leaves_the_line(postgres_url: str) -> None:
    """Those behind it are served, and no connection is lost, whenever the cancellation comes."""
    async with Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout=10) as database:

        async def ask() -> int:
            async with database.session() as session:
                found: int = (await session.execute(ONE)).scalar_one()
                return found

        for turns in range(12):
            async with database.session() as session:
                await session.execute(ONE)
                waiting = [asyncio.create_task(ask()) for _ in range(3)]
                await until_waiting(3)
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting[0].cancel()
            async with asyncio.timeout(60):
                found = await asyncio.gather(*waiting, return_exceptions=True)
            assert found[1:] == [1, 1]
        assert pool_of(database).checkedout() == 0


async def test_a_connection_that_comes_with_the_cancellation_goes_to_the_next(postgres_url: str) -> None:
    """The waiter was served and cancelled in the same moment: the connection is not lost with it."""
    async with Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout=5) as database:
        first = await database.engine.connect()

        async def ask() -> None:
            async with database.engine.connect() as connection:
                await connection.execute(ONE)

        served, next_one = asyncio.create_task(ask()), asyncio.create_task(ask())
        await until_waiting(2)
        await first.close()
        served.cancel()
        async with asyncio.timeout(60):
            await asyncio.wait({served, next_one})
            await next_one
        assert served.cancelled()
        assert pool_of(database).checkedout() == 0


async def test_waiting_ends_at_the_time_limit(postgres_url: str) -> None:
    """PoolTimeout, and the line goes on without the one that left."""
    async with Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.2) as database:
        async with database.session() as session:
            await session.execute(ONE)
            with pytest.raises(PoolTimeout):
                async with database.session() as another:
                    await another.execute(ONE)
        async with database.session() as session:
            await session.execute(ONE)
        assert pool_of(database).checkedout() == 0


async def test_a_pool_may_grow_over_its_size_and_shrinks_again(postgres_url: str) -> None:
    """Overflow connections are opened for those who would wait, and closed after use."""
    async with Database(postgres_url, pool_size=1, max_overflow=2, pool_timeout=5) as database:
        connections = [await database.engine.connect() for _ in range(3)]
        assert pool_of(database).checkedout() == 3
        for connection in connections:
            await connection.close()
        assert (pool_of(database).checkedout(), pool_of(database).checkedin()) == (0, 1)


async def test_the_pool_is_as_silent_as_sqlalchemys_own(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """An application that logs at DEBUG hears of connections when it asks the logger `sqlalchemy.pool`, not before."""
    caplog.set_level(logging.DEBUG)
    for is_asked in (False, True):
        caplog.set_level(logging.DEBUG if is_asked else logging.WARNING, logger="sqlalchemy.pool")
        async with Database(postgres_url) as database, database.session() as session:
            await session.execute(ONE)
        assert any("Pool" in record.name or "Connection" in record.message for record in caplog.records) is is_asked
