"""Kept statements run on the driver itself: from when, and seen by whoever listens."""

from __future__ import annotations

import gc
import logging
import uuid
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import String, Uuid, bindparam, event, select
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.direct import run_directly
from svc_infra.db.sql.observability.slow_log import log_slow_statements
from svc_infra.db.sql.repository import SqlRepository

TOKENS: list[uuid.UUID] = []


def new_token() -> uuid.UUID:
    """A default in Python that leaves a trace."""
    TOKENS.append(uuid.uuid4())
    return TOKENS[-1]


class Thing(ModelBase):
    __tablename__ = "direct_things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    token: Mapped[uuid.UUID] = mapped_column(Uuid, default=new_token)


things = SqlRepository(Thing)


@pytest.fixture(params=["postgres_url", "sqlite_url"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database of each kind whose driver runs statements directly, with a limit and three rows."""
    url = request.getfixturevalue(request.param)
    async with Database(url, environ={}, statement_timeout_ms=60_000) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=[Thing.__table__])
        async with database.lone() as lone:
            for number in range(1, 4):
                await things.rows.create(lone, {"name": f"warm {number}"})
                await things.rows.get(lone, number)
        yield database


async def test_statements_run_on_the_driver_from_their_second_run(database: Database) -> None:
    """What this file tests is the driver's way: a kept statement takes it in a transaction, alone, with a limit."""
    statement = select(Thing.__table__.c.id).where(Thing.__table__.c.id == bindparam("number"))

    def rows_of(number: int, *, alone: bool = False) -> Callable[[Any], Any]:
        return lambda connection: run_directly(connection, statement, {"number": number}, alone=alone)

    async with database.engine.connect() as connection:
        assert await connection.run_sync(rows_of(1)) is None
        assert await connection.run_sync(rows_of(1)) is None  # SQLAlchemy has not begun a transaction
        assert await connection.run_sync(rows_of(1, alone=True)) == [(1,)]
        async with connection.begin():
            assert await connection.run_sync(rows_of(2)) == [(2,)]
            assert await connection.run_sync(rows_of(3)) == [(3,)]
            assert list(await connection.run_sync(rows_of(4))) == []


async def test_a_statement_that_is_dropped_is_forgotten(database: Database) -> None:
    """What is kept of a statement does not keep the statement, so that dropped ones cost no memory."""
    number = bindparam("number")
    references = []
    async with database.session() as session:
        connection = await session.connection()
        for _ in range(3):
            statement = select(Thing.__table__.c.id).where(Thing.__table__.c.id == number)
            for _ in range(2):
                await connection.run_sync(run_directly, statement, {"number": 1})
            references.append(weakref.ref(statement))
    del statement
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


async def test_a_default_is_made_once(database: Database) -> None:
    """A default in Python runs once for a row, whether the statement goes the driver's way or somebody listens."""

    def listen(*_arguments: Any) -> None:
        pass

    async def create(name: str) -> int:
        before = len(TOKENS)
        async with database.lone() as lone:
            for number in range(3):
                await things.rows.create(lone, {"name": f"{name} {number}"})
        return len(TOKENS) - before

    assert await create("unobserved") == 3
    event.listen(database.engine.sync_engine, "after_cursor_execute", listen)
    assert await create("observed") == 3
    event.remove(database.engine.sync_engine, "after_cursor_execute", listen)


async def test_observers_see_every_statement(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A listener to statements, a slow log and SQLAlchemy's own log miss nothing; without them none is told."""
    seen: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        seen.append(statement)

    async def read() -> None:
        async with database.lone(readonly=True) as lone, database.session(readonly=True) as session:
            await things.rows.get_one(lone, 1)
            await things.rows.get_one(session, 1)

    for name in ("before_cursor_execute", "after_cursor_execute"):
        event.listen(database.engine.sync_engine, name, listen)
        await read()
        event.remove(database.engine.sync_engine, name, listen)
        assert len([statement for statement in seen if "direct_things" in statement]) == 2
        seen.clear()
    caplog.set_level(logging.WARNING, "svc_infra.db.sql.slow")
    stop = log_slow_statements(database, threshold_ms=0)
    await read()
    stop()
    assert sum("direct_things" in record.getMessage() for record in caplog.records) == 2
    caplog.clear()
    with caplog.at_level(logging.INFO, "sqlalchemy.engine.Engine"):
        await read()
    assert sum("direct_things" in record.getMessage() for record in caplog.records) == 2
    await read()
    assert seen == []


async def test_a_listener_to_one_connection_sees_its_statements(database: Database) -> None:
    """Whoever listens to a connection, and not to its engine, misses no statement either."""
    seen: list[str] = []
    async with database.session() as session:
        for _ in range(2):
            await things.rows.get_one(session, 1)
        connection = (await session.connection()).sync_connection
        event.listen(connection, "before_cursor_execute", lambda _c, _k, statement, *_others: seen.append(statement))
        await things.rows.get_one(session, 1)
    assert len(seen) == 1
