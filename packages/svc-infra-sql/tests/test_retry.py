"""`run_in_transaction`: whole transactions, retried when they lose against concurrent ones."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import DeadlockDetected, LockTimeout, SerializationFailure, UniqueViolation
from svc_infra.db.sql.retry import RetryPolicy

TASKS = 50


async def make_counters(database: Database, rows: int = 1) -> None:
    async with database.session() as session:
        await session.execute(text("CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER)"))
        for number in range(rows):
            await session.execute(text("INSERT INTO counters VALUES (:id, 0)"), {"id": number})


async def read(session: AsyncSession, number: int = 0) -> int:
    statement = text("SELECT value FROM counters WHERE id = :id")
    return int((await session.execute(statement, {"id": number})).scalar_one())


async def increment(session: AsyncSession, number: int = 0) -> int:
    """Read, think, write: the race in which updates get lost."""
    value = await read(session, number) + 1
    await asyncio.sleep(0.001)
    statement = text("UPDATE counters SET value = :value WHERE id = :id")
    await session.execute(statement, {"value": value, "id": number})
    return value


async def test_a_race_of_counter_increments_ends_exact(database_url: str) -> None:
    """50 tasks that each read, think and write lose no update, and each sees a value of its own."""
    async with Database(database_url) as database:
        await make_counters(database)
        retries = RetryPolicy(attempts=200, longest_wait=0.3)
        values = await asyncio.gather(*(database.run_in_transaction(increment, retries=retries) for _ in range(TASKS)))
        assert sorted(values) == list(range(1, TASKS + 1))
        async with database.session() as session:
            assert await read(session) == TASKS


async def test_attempts_are_bounded(postgres_url: str) -> None:
    """When the last attempt loses too, its error is raised, and the work ran as often as allowed."""
    async with Database(postgres_url) as database:
        await make_counters(database)
        runs = 0

        async def lose(session: AsyncSession) -> None:
            nonlocal runs
            runs += 1
            await read(session)
            async with database.session() as other:
                await other.execute(text("UPDATE counters SET value = value + 1"))
            await session.execute(text("UPDATE counters SET value = value + 1"))

        with pytest.raises(SerializationFailure):
            await database.run_in_transaction(lose, retries=RetryPolicy(attempts=3, first_wait=0))
        assert runs == 3


async def test_other_errors_are_not_retried(sqlite_url: str) -> None:
    """An error that a second run would meet again is raised at once."""
    async with Database(sqlite_url) as database:
        await make_counters(database)
        runs = 0

        async def collide(session: AsyncSession) -> None:
            nonlocal runs
            runs += 1
            await session.execute(text("INSERT INTO counters VALUES (0, 0)"))

        with pytest.raises(UniqueViolation):
            await database.run_in_transaction(collide)
        assert runs == 1


async def deadlock(database: Database, deadlocked: list[BaseException]) -> None:
    """Two transactions take two rows in opposite order and meet in the middle."""
    meeting = asyncio.Barrier(2)

    async def cross(first: int, second: int) -> None:
        try:
            async with database.session() as session:
                await session.execute(text("UPDATE counters SET value = 1 WHERE id = :id"), {"id": first})
                await meeting.wait()
                await session.execute(text("UPDATE counters SET value = 1 WHERE id = :id"), {"id": second})
        except DeadlockDetected as error:
            deadlocked.append(error)

    async with asyncio.timeout(60):
        await asyncio.gather(cross(0, 1), cross(1, 0))


async def test_a_deadlock_is_typed(postgres_url: str) -> None:
    """PostgreSQL ends one of two transactions that wait for each other, with `DeadlockDetected`."""
    async with Database(postgres_url) as database:
        await make_counters(database, rows=2)
        deadlocked: list[BaseException] = []
        await deadlock(database, deadlocked)
        assert len(deadlocked) == 1


async def test_a_deadlock_of_mysql_is_typed(mysql_url: str) -> None:
    """MySQL and MariaDB end one of two transactions that wait for each other, with `DeadlockDetected`."""
    async with Database(mysql_url) as database:
        await make_counters(database, rows=2)
        deadlocked: list[BaseException] = []
        await deadlock(database, deadlocked)
        assert len(deadlocked) == 1


LOCK_LIMIT = {
    "postgresql": "SET LOCAL lock_timeout = 100",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
    "sqlite": "PRAGMA busy_timeout = 100",
}


async def test_a_lock_that_is_not_obtained_is_typed(database_url: str) -> None:
    """Waiting for another transaction's lock ends with `LockTimeout`."""
    backend = database_url.partition(":")[0]
    if backend not in LOCK_LIMIT:
        pytest.skip("DuckDB has no locks: the second writer fails at once, with SerializationFailure")
    async with Database(database_url) as database:
        await make_counters(database)
        async with database.session() as holder:
            await holder.execute(text("UPDATE counters SET value = 1"))
            with pytest.raises(LockTimeout):  # noqa: PT012 (the whole block is the subject)
                async with database.session() as session:
                    await session.execute(text(LOCK_LIMIT[backend]))
                    await session.execute(text("UPDATE counters SET value = 2"))


async def test_a_write_after_a_stale_read_is_a_serialization_failure(sqlite_url: str) -> None:
    """SQLite refuses a write in a transaction whose snapshot another one has overtaken; that is retryable."""
    async with Database(sqlite_url) as database:
        await make_counters(database)
        with pytest.raises(SerializationFailure):  # noqa: PT012 (the whole block is the subject)
            async with database.session() as session:
                await read(session)
                async with database.session() as other:
                    await increment(other)
                await session.execute(text("UPDATE counters SET value = 9"))


async def test_concurrent_writes_of_duckdb_are_a_serialization_failure(duckdb_url: str) -> None:
    """DuckDB's optimistic transactions end the second writer of a row; that is retryable."""
    async with Database(duckdb_url) as database:
        await make_counters(database)
        with pytest.raises(SerializationFailure):  # noqa: PT012 (the whole block is the subject)
            async with database.session() as session:
                await read(session)
                async with database.session() as other:
                    await increment(other)
                await session.execute(text("UPDATE counters SET value = 9"))
