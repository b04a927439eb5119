"""Tasks that share a session: refused at once, on every driver, and without harm to the pool."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest
import sqlalchemy
from sqlalchemy import String, text
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import SqlError
from svc_infra.db.sql.repository import SqlRepository


class Shared(ModelBase):
    __tablename__ = "shared_rows"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(String(20))


shared = SqlRepository(Shared)
# SQLAlchemy closes a cursor of a session's own statement without translating what the driver says of it.
REFUSALS = (SQLAlchemyError, SqlError, sqlite3.ProgrammingError)


DRIVERS = ["postgresql+asyncpg", "postgresql+psycopg", "mysql+asyncmy", "mysql+aiomysql", "sqlite+aiosqlite", "duckdb"]
FIXTURES = {"postgresql": "postgres_url", "mysql": "mysql_url", "sqlite": "sqlite_url", "duckdb": "duckdb_url"}


@pytest.fixture(params=DRIVERS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Two connections by each driver, and forty rows."""
    if request.param == "sqlite+aiosqlite" and sqlalchemy.__version__.startswith("2.0."):
        pytest.skip("SQLAlchemy 2.0's adapter of aiosqlite has no lock; see svc_infra.db.sql._turns")
    url = request.getfixturevalue(FIXTURES[request.param.partition("+")[0]])
    url = request.param + url[url.index("://") :]
    async with Database(url, pool_size=2, max_overflow=0, pool_timeout=2.0) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=[Shared.__table__])
        async with database.session() as session:
            await shared.create_many(session, [{"id": n, "note": "old"} for n in range(40)])
        yield database


async def _writes(session: AsyncSession, number: int) -> None:
    for _ in range(3):
        found = await shared.update(session, number, {"note": "new"})
        assert found is not None
        assert found.id == number
        await session.execute(text("SELECT 1"))


@pytest.mark.parametrize("ending", ["leaving", "rollback"])
async def test_tasks_that_share_a_session_leave_nothing_behind(database: Database, ending: str) -> None:
    """A task fails while others write: nobody waits for ever, no row is mixed up or written, no connection is lost."""

    async def fails(session: AsyncSession) -> None:
        await shared.get(session, 1)
        if ending == "rollback":
            await session.rollback()
        raise LookupError

    for _ in range(3):
        tasks: list[asyncio.Task[None]] = []

        async def share(tasks: list[asyncio.Task[None]] = tasks) -> None:
            async with asyncio.timeout(15), database.session() as session:
                await shared.get(session, 0)
                tasks.append(asyncio.create_task(fails(session)))
                tasks += [asyncio.create_task(_writes(session, n)) for n in range(2, 5)]
                await asyncio.gather(*tasks)

        with pytest.raises((LookupError, *REFUSALS)):
            await share()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, (LookupError, *REFUSALS)), repr(outcome)
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    async with database.session() as one, database.session() as other:
        for session in (one, other):
            assert [row.note for row in await shared.list(session, limit=50)] == ["old"] * 40


async def test_a_second_task_is_refused_while_a_kept_statement_runs(database: Database) -> None:
    """Also by the driver's own call, which repeated statements go by."""
    async with database.session() as session:
        for _ in range(3):
            await shared.get(session, 1)
        session.expunge_all()
        outcomes = await asyncio.gather(*(shared.get(session, n) for n in range(5)), return_exceptions=True)
        assert any(isinstance(outcome, Shared) for outcome in outcomes)
        assert any(isinstance(outcome, REFUSALS) for outcome in outcomes)
        await session.rollback()


async def test_a_session_can_t_be_used_after_its_block(database: Database) -> None:
    """It would take a connection that nobody gives back."""
    async with database.session() as session:
        row = await shared.get_one(session, 7)
    with pytest.raises(InvalidRequestError, match="closed"):
        await shared.get(session, 7)
    assert row.note == "old"
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_block_may_end_its_transaction_by_itself(database: Database) -> None:
    """By a commit, a rollback or by closing the session."""
    async with database.session() as session:
        await shared.update(session, 1, {"note": "new"})
        await session.commit()
        await session.close()
    async with database.session() as session:
        await shared.update(session, 2, {"note": "new"})
        await session.close()
    async with database.session() as session:
        assert [(await shared.get_one(session, n)).note for n in (1, 2)] == ["new", "old"]
