"""Statement timeouts on every database, by its own means."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text

from svc_infra.db.sql import _deadline
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected, StatementTimeout

RUNAWAY = {
    "postgresql": "SELECT pg_sleep(30)",
    "mysql": "SELECT count(*) FROM information_schema.columns a, information_schema.columns b, "
    "information_schema.columns c WHERE a.column_name < b.column_name AND b.column_name < c.column_name",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "duckdb": "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE (a.range * b.range) % 7 = 3",
}


async def run_away(database: Database, backend: str, statement_timeout_ms: int | None = None) -> float:
    """Run a statement that would take very long, and return after how many seconds it was cut."""
    start = time.monotonic()
    with pytest.raises(StatementTimeout):
        async with asyncio.timeout(60), database.session(statement_timeout_ms=statement_timeout_ms) as running:
            await running.execute(text(RUNAWAY[backend]))
    return time.monotonic() - start


async def test_a_runaway_statement_is_cut(database_url: str) -> None:
    """A statement beyond DB_STATEMENT_TIMEOUT_MS ends with `StatementTimeout`, and the pool goes on."""
    backend = database_url.partition(":")[0]
    async with Database(
        database_url, environ={"DB_STATEMENT_TIMEOUT_MS": "300"}, pool_size=1, max_overflow=0
    ) as database:
        await database.ping(10)
        assert await run_away(database, backend) < 5
        async with database.session() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_session_may_have_its_own_limit(database_url: str) -> None:
    """`session(statement_timeout_ms=...)` beats the database's setting, for that session only."""
    backend = database_url.partition(":")[0]
    async with Database(database_url, statement_timeout_ms=60_000, pool_size=1, max_overflow=0) as database:
        await database.ping(10)
        assert await run_away(database, backend, statement_timeout_ms=300) < 5


async def test_a_session_may_have_a_limit_where_the_database_has_none(database_url: str) -> None:
    """A limit of one session works without any setting."""
    backend = database_url.partition(":")[0]
    async with Database(database_url, environ={}, pool_size=1, max_overflow=0) as database:
        await database.ping(10)
        assert await run_away(database, backend, statement_timeout_ms=300) < 5


async def test_a_statement_through_psycopg_is_cut(postgres_url: str) -> None:
    """Psycopg's sessions have the same limit."""
    url = postgres_url.replace("postgresql://", "postgresql+psycopg://")
    async with Database(url, statement_timeout_ms=300) as database:
        assert await run_away(database, "postgresql") < 5


async def show(database: Database, before: str | None = None, statement_timeout_ms: int | None = None) -> str:
    async with database.session(statement_timeout_ms=statement_timeout_ms) as running:
        if before:
            await running.execute(text(before))
        return str((await running.execute(text("SHOW statement_timeout"))).scalar_one())


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_the_limit_is_local_to_the_transaction(postgres_url: str, driver: str) -> None:
    """PostgreSQL's limit holds in each transaction and is gone after it; the guide's background job overrides it."""
    url = postgres_url.replace("postgresql://", f"postgresql+{driver}://")
    async with Database(url, statement_timeout_ms=30_000, pool_size=1, max_overflow=0) as database:
        assert await show(database) == "30s"
        assert await show(database, statement_timeout_ms=1500) == "1500ms"
        assert await show(database, "SET LOCAL statement_timeout = 300000") == "5min"
        assert await show(database) == "30s"
        async with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            # asyncpg's connections bring the limit with them, for statements that have no transaction.
            expected = "30s" if driver == "asyncpg" else "0"
            assert (await connection.execute(text("SHOW statement_timeout"))).scalar_one() == expected


async def test_the_limit_costs_no_round_trip_with_asyncpg(postgres_url: str) -> None:
    """SET LOCAL is sent together with BEGIN."""
    async with Database(postgres_url, statement_timeout_ms=30_000, pool_size=1, max_overflow=0) as database:
        sent: list[str] = []
        both = asyncio.Event()

        def note(query: str) -> None:
            sent.append(query)
            if len(sent) == 2:
                both.set()

        async with database.session() as session:
            raw = await (await session.connection()).get_raw_connection()
            assert raw.driver_connection is not None
            raw.driver_connection.add_query_logger(lambda record: note(record.query))
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
        await asyncio.wait_for(both.wait(), 60)  # asyncpg reports its simple queries, later than it answers them
        assert sent == ["BEGIN; SET LOCAL statement_timeout = 30000", "COMMIT;"]


async def test_a_transaction_with_its_own_set_local_has_no_deadline(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guide's background job outlives the deadline of this side as well, until its transaction ends."""
    monkeypatch.setattr(_deadline, "ANSWER_SECONDS", 0.0)
    async with Database(postgres_url, statement_timeout_ms=300) as database:
        async with database.session() as session:
            await session.execute(text("SET LOCAL statement_timeout = 300000"))
            await session.execute(text("SELECT pg_sleep(0.6)"))
        with pytest.raises((StatementTimeout, Disconnected)):
            async with database.session() as session:
                await session.execute(text("SELECT pg_sleep(30)"))
