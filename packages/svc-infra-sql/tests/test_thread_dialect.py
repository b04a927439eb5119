"""The thread-backed dialect: a synchronous driver under `create_async_engine`, shown with DuckDB."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import AsyncIterator

import duckdb
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from svc_infra.db.sql.dialects import register_dialects
from svc_infra.db.sql.dialects.adapter import ThreadConnection
from svc_infra.db.sql.dialects.worker import Worker

SLOW = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE (a.range * b.range) % 7 = 3"

metadata = MetaData()
notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("body", String))


@pytest.fixture
async def engine(duckdb_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the plain URL."""
    register_dialects()
    engine = create_async_engine(duckdb_url)
    yield engine
    await engine.dispose()


def duckdb_threads() -> int:
    return sum(thread.name.startswith("duckdb-") for thread in threading.enumerate())


async def test_the_plain_url_works_with_both_kinds_of_engine(engine: AsyncEngine, duckdb_url: str) -> None:
    """`duckdb://` serves `create_async_engine` and still serves `create_engine`."""
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(notes).values(body="a"))
    await engine.dispose()
    sync_engine = create_engine(duckdb_url)
    with sync_engine.connect() as sync_connection:
        assert sync_connection.execute(select(notes.c.body)).scalars().all() == ["a"]
    sync_engine.dispose()


async def test_the_entry_point_needs_no_registration(tmp_path: object) -> None:
    """`duckdb+thread://` is found without any import of this library."""
    engine = create_async_engine(f"duckdb+thread:///{tmp_path}/db.duckdb")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 42"))).scalar_one() == 42
    await engine.dispose()


async def test_writes_report_their_rows_and_their_count(engine: AsyncEngine) -> None:
    """RETURNING, row counts and many rows at once work as with every other driver."""
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        created = await connection.execute(insert(notes).values(body="a").returning(notes.c.id, notes.c.body))
        assert (created.all(), created.rowcount) == ([(1, "a")], 1)
        assert (await connection.execute(insert(notes), [{"body": str(i)} for i in range(10)])).rowcount == 10
        many = await connection.execute(insert(notes).returning(notes.c.id), [{"body": "x"}, {"body": "y"}])
        assert (many.scalars().all(), many.rowcount) == ([12, 13], 2)
        assert (await connection.execute(update(notes).values(body="z").where(notes.c.id > 3))).rowcount == 10
        raw = await connection.execute(text("DELETE FROM notes"))
        assert (raw.rowcount, raw.returns_rows) == (13, False)


async def test_the_event_loop_goes_on_during_a_query(engine: AsyncEngine) -> None:
    """While a query runs, the loop keeps ticking."""
    async with engine.connect() as connection:
        query = asyncio.create_task(connection.execute(text(SLOW)))
        ticks = 0
        longest = 0.0
        start = time.monotonic()
        while time.monotonic() - start < 0.7:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
            ticks += 1
        assert not query.done()
        query.cancel()
        await asyncio.wait({query})
    assert ticks > 20
    assert longest < 0.5


async def test_cancellation_interrupts_the_query_and_leaves_no_thread(engine: AsyncEngine) -> None:
    """A cancelled query ends at once, not when it would have, and the pool gives a working connection next."""
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), engine.connect() as connection:
            await connection.execute(text(SLOW))
    assert time.monotonic() - start < 3
    assert duckdb_threads() == 0
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_each_connection_has_one_thread_until_it_is_closed(engine: AsyncEngine) -> None:
    """Connections run beside one another, each in its thread; disposing of the pool ends them all."""
    async with engine.connect() as one, engine.connect() as other:
        await asyncio.gather(one.execute(text("SELECT 1")), other.execute(text("SELECT 1")))
        assert duckdb_threads() == 2
    await engine.dispose()
    assert duckdb_threads() == 0


async def test_errors_keep_their_type_and_traceback(engine: AsyncEngine) -> None:
    """The driver's error arrives as itself, with the frames of the thread that raised it."""
    async with engine.connect() as connection:
        with pytest.raises(ProgrammingError) as caught:
            await connection.execute(text("SELECT nope"))
    cause = caught.value.orig
    assert isinstance(cause, duckdb.BinderException)
    frames = [frame.name for frame in traceback.extract_tb(cause.__traceback__)]
    assert "_do" in frames
    assert "do_execute" in frames


async def test_a_failed_connect_leaves_no_thread(tmp_path: object) -> None:
    """A file that is no database is an error, and the thread that tried to open it has ended."""
    register_dialects()
    path = f"{tmp_path}/garbage.duckdb"
    with open(path, "wb") as file:  # noqa: ASYNC230, PTH123 (a few bytes)
        file.write(b"no database" * 1000)
    engine = create_async_engine(f"duckdb:///{path}")
    with pytest.raises(Exception, match="not a valid DuckDB database"):
        async with engine.connect():
            pass
    await engine.dispose()
    assert duckdb_threads() == 0


async def test_a_stream_is_read_in_parts(engine: AsyncEngine) -> None:
    """`stream` fetches rows as they are asked for, so that a result larger than memory can be read."""
    async with engine.connect() as connection:
        result = await connection.stream(text("SELECT range FROM range(1000000)"))
        total = 0
        async for partition in result.partitions(10_000):
            total += len(partition)
            if total >= 50_000:
                break
        await result.close()
        assert total == 50_000
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_connection_can_be_ended_outside_the_greenlet() -> None:
    """What the garbage collector does with a connection that nobody closed: end its thread without waiting."""
    connection = await ThreadConnection.open(duckdb.connect, "duckdb")
    assert duckdb_threads() == 1
    connection.terminate()
    async with asyncio.timeout(60):
        while duckdb_threads():  # noqa: ASYNC110 (a thread is ending)
            await asyncio.sleep(0.01)


async def test_a_call_that_has_not_begun_is_dropped_on_cancellation() -> None:
    """A queued call of a cancelled task never runs: its INSERT must not happen after all."""
    worker = Worker("test-worker")
    release = threading.Event()
    calls: list[str] = []
    first = asyncio.create_task(worker.run(release.wait))
    await asyncio.sleep(0)
    second = asyncio.create_task(worker.run(lambda: calls.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait({second})
    release.set()
    await first
    await worker.run(lambda: calls.append("third"))
    worker.stop()
    worker.join(5)
    assert calls == ["third"]
