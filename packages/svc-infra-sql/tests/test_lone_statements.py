"""Single statements without a transaction, and statements run on the driver itself."""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Enum,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Uuid,
    bindparam,
    column,
    func,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from dbservers.postgres import PostgresReplica
from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import (
    CheckViolation,
    InvalidQuery,
    ReadOnlyViolation,
    SqlError,
    StatementTimeout,
    UniqueViolation,
)
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.observability.pool import pool_statistics
from svc_infra.db.sql.replicas import new_scope
from svc_infra.db.sql.repository import SqlRepository


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


TOKENS: list[uuid.UUID] = []


def new_token() -> uuid.UUID:
    """A default in Python that leaves a trace."""
    TOKENS.append(uuid.uuid4())
    return TOKENS[-1]


class Thing(ModelBase):
    __tablename__ = "lone_things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    count: Mapped[int] = mapped_column(default=7)
    token: Mapped[uuid.UUID] = mapped_column(Uuid, default=new_token)
    label: Mapped[str] = mapped_column(default=lambda context: f"of {context.get_current_parameters()['name']}")
    changed: Mapped[int | None] = mapped_column(onupdate=lambda: 99)
    made_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour))
    extra: Mapped[Any | None] = mapped_column(JSON)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    length: Mapped[timedelta | None] = mapped_column(Interval)
    day: Mapped[date | None]
    hour: Mapped[time | None]
    ratio: Mapped[float | None]
    is_on: Mapped[bool | None]
    __table_args__ = (CheckConstraint("count >= 0", name="natural"),)


FULL = {
    "price": Decimal("12.50"),
    "colour": Colour.BLUE,
    "extra": {"a": [1, None, "ä"]},
    "content": b"\0\xff",
    "length": timedelta(days=2, seconds=3),
    "day": date(2026, 1, 2),
    "hour": time(3, 4, 5),
    "ratio": 0.1,
    "is_on": True,
}
things = SqlRepository(Thing)
KINDS = ["postgres_url", "sqlite_url"]


@pytest.fixture(params=KINDS)
def lone_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind whose driver runs statements directly."""
    url: str = request.getfixturevalue(request.param)
    return url


async def opened(url: str, **options: Any) -> Database:
    """A database with the table, whose statements have been run, so that the next run is on the driver."""
    database = Database(url, environ={}, **options)
    async with database.engine.begin() as connection:
        await connection.run_sync(ModelBase.metadata.create_all, tables=[Thing.__table__])
    async with database.lone() as lone:
        for number in range(3):
            await things.rows.create(lone, {"name": f"warm {number}"})
            await things.rows.get(lone, number + 1)
            await things.rows.update(lone, number + 1, {"count": number})
    return database


@pytest.fixture
async def database(lone_url: str) -> AsyncIterator[Database]:
    """A warm database."""
    found = await opened(lone_url)
    yield found
    await found.close()


async def test_a_lone_write_is_committed_and_a_lone_read_sees_it(database: Database) -> None:
    """Each statement is committed when it returns, and no connection stays out."""
    async with database.lone() as lone:
        made = await things.rows.create(lone, {"name": "a"})
        assert (await things.rows.update(lone, made.id, {"count": 2})).count == 2  # type: ignore[union-attr]
    async with database.session(readonly=True) as session:
        assert (await things.get_one(session, made.id)).count == 2
    async with database.lone() as lone:
        assert await things.rows.delete(lone, made.id)
        assert not await things.rows.delete(lone, made.id)
    async with database.lone(readonly=True) as lone:
        assert await things.rows.get(lone, made.id) is None
        assert await things.rows.count(lone) == 3
        assert (await things.rows.list_and_count(lone, limit=2))[1] == 3
    assert [each.used for each in pool_statistics(database)] == [0]


async def test_values_are_those_of_sqlalchemy(database: Database) -> None:
    """Every type comes back as through SQLAlchemy's own result, and defaults in Python are filled in."""
    async with database.lone() as lone:
        by_driver = [await things.rows.create(lone, {"name": f"full {number}", **FULL}) for number in range(3)]
        read = [await things.rows.get(lone, row.id) for row in by_driver]
    async with database.engine.connect() as connection:
        usual = (await connection.execute(select(Thing.__table__).where(Thing.name.like("full%")))).all()
    assert [tuple(row) for row in by_driver] == [tuple(row) for row in usual]
    assert [tuple(row or ()) for row in read] == [tuple(row) for row in usual]
    assert [list(map(type, row)) for row in by_driver] == [list(map(type, row)) for row in usual]
    assert by_driver[2]._fields == usual[0]._fields
    assert (by_driver[2].count, by_driver[2].label, by_driver[2].changed) == (7, "of full 2", None)
    assert len({row.token for row in by_driver}) == 3
    async with database.lone() as lone:
        assert [(await things.rows.update(lone, row.id, {"count": 1})).changed for row in by_driver] == [99] * 3  # type: ignore[union-attr]


async def failure_of(target: Any, data: dict[str, object]) -> SqlError:
    with pytest.raises(SqlError) as caught:
        await things.rows.create(target, data)
    return caught.value


@pytest.mark.parametrize(
    ("data", "kind"), [({"name": "warm 1"}, UniqueViolation), ({"name": "x", "count": -1}, CheckViolation)]
)
async def test_errors_are_those_of_a_session(database: Database, data: dict[str, object], kind: type[SqlError]) -> None:
    """A refused lone write raises the same typed error, with the same columns and the driver's error as its cause."""
    async with database.lone() as lone:
        alone = await failure_of(lone, data)
    with pytest.raises(kind) as caught:
        async with database.session() as session:
            await things.create(session, data)
    usual = caught.value
    assert type(alone) is type(usual) is kind
    assert (alone.args, vars(alone)) == (usual.args, vars(usual))
    assert type(alone.__cause__) is type(usual.__cause__)


async def test_a_failed_write_was_sent_once(postgres_url: str) -> None:
    """A refused INSERT is not sent again: it takes one number of the sequence."""
    database = await opened(postgres_url)
    async with database, database.lone() as lone:
        before = (await things.rows.create(lone, {"name": "before"})).id
        await failure_of(lone, {"name": "before"})
        assert (await things.rows.create(lone, {"name": "after"})).id == before + 2


async def test_a_cancelled_write_gives_its_connection_back(postgres_url: str) -> None:
    """A lone write that waits for a lock can be cancelled: nothing is written, and the pool of one goes on."""
    database = await opened(postgres_url, pool_size=2, max_overflow=0)
    async with database:
        async with database.session() as holder:
            await things.get(holder, 1, lock="update")
            async with database.lone() as lone:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await things.rows.update(lone, 1, {"count": 1000})
                assert (await things.rows.get_one(lone, 2)).id == 2
        async with database.lone() as lone:
            assert (await things.rows.get_one(lone, 1)).count != 1000
        assert [each.used for each in pool_statistics(database)] == [0]


async def test_a_lone_write_that_waits_too_long_is_cut(postgres_url: str) -> None:
    """The statement limit holds for lone statements, the server ends them, and SET LOCAL still beats it in sessions."""
    database = await opened(postgres_url, statement_timeout_ms=400)
    async with database, database.session(statement_timeout_ms=0) as holder, database.lone() as lone:
        await things.get(holder, 1, lock="update")
        with pytest.raises(StatementTimeout) as caught:
            async with asyncio.timeout(60):
                await things.rows.update(lone, 1, {"count": 1000})
        assert type(caught.value.__cause__).__name__ == "QueryCanceledError"
        await holder.execute(text("SELECT pg_sleep(0.6)"))
        assert (await things.rows.get_one(lone, 2)).id == 2


async def test_a_lone_runaway_is_interrupted(sqlite_url: str) -> None:
    """The limit interrupts a statement on SQLite's driver, and the connection goes on."""
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
    numbers = endless.columns(column("i")).subquery("numbers")
    statement = select(func.count().label("number")).select_from(numbers).where(numbers.c.i > bindparam("least"))
    database = await opened(sqlite_url, statement_timeout_ms=200, pool_size=1, max_overflow=0)
    async with database, database.lone() as lone:
        assert isinstance(lone, LoneStatements)
        for _ in range(2):  # as SQLAlchemy runs it, and on the driver
            with pytest.raises(Exception, match="interrupted"):
                async with asyncio.timeout(60):
                    await lone.run_sync(lambda connection: connection.fetch(statement, {"least": 1}))
        assert (await things.rows.get_one(lone, 1)).id == 1


async def test_a_reader_writes_nothing(database: Database) -> None:
    """`lone(readonly=True)` refuses a write before it is sent."""
    async with database.lone(readonly=True) as lone:
        with pytest.raises(ReadOnlyViolation):
            await things.rows.create(lone, {"name": "b"})


async def test_what_needs_a_transaction_is_refused(database: Database) -> None:
    """A write of several statements and a stream say that they need a session."""
    async with database.lone() as lone:
        with pytest.raises(InvalidQuery, match="session"):
            await things.rows.create_many(lone, [{"name": "c"}, {"name": "d"}])
        with pytest.raises(InvalidQuery, match="session"):
            async for _ in things.rows.stream(lone):
                pass
    async with database.lone(readonly=True) as lone:
        assert await things.rows.count(lone) == 3


async def test_a_write_after_a_read_only_session_is_kept(sqlite_url: str) -> None:
    """SQLite's one connection is writable again after a read-only session, and no driver begins a transaction."""
    database = await opened(sqlite_url, pool_size=1, max_overflow=0)
    async with database:
        async with database.session(readonly=True) as session:
            await things.get(session, 1)
        autocommit = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        async with autocommit.connect() as connection:
            await connection.execute(select(literal_column("1")))
        async with database.lone() as lone:
            made = await things.rows.create(lone, {"name": "kept"})
    async with Database(sqlite_url) as again, again.session() as session:
        assert (await things.get_one(session, made.id)).name == "kept"


async def test_a_pooler_in_transaction_mode_gets_sessions(postgres_url: str) -> None:
    """Where each statement may meet another server, single statements are transactions."""
    async with Database(f"{postgres_url}&pgbouncer=true") as database, database.lone() as lone:
        assert not isinstance(lone, LoneStatements)


async def test_other_databases_get_sessions(duckdb_url: str) -> None:
    """Where single statements gain nothing, `lone` is a session, and the methods are the same."""
    async with Database(duckdb_url) as database:
        async with database.session() as session:
            await session.execute(text("CREATE TABLE plain (id integer)"))
        async with database.lone() as lone:
            assert not isinstance(lone, LoneStatements)
            assert (await lone.execute(select(func.count()).select_from(table("plain")))).scalar_one() == 0


async def test_lone_reads_go_to_a_replica_and_see_what_was_written(postgres_replica: PostgresReplica) -> None:
    """A lone read is answered by the replica; after a lone write its scope reads from the primary until it has it."""
    primary, replica = postgres_replica.create_database()
    database = await opened(primary)
    await database.close()
    postgres_replica.wait_until_caught_up()
    async with Database(primary, environ={}, read_urls=[replica]) as database:
        recovering = select(func.pg_is_in_recovery().label("answer"))

        async def is_on_replica() -> bool:
            async with database.lone(readonly=True) as lone:
                assert isinstance(lone, LoneStatements)
                return bool((await lone.run_sync(lambda connection: connection.fetch(recovering, {})))[0][0])

        assert await is_on_replica()
        assert await is_on_replica()
        postgres_replica.pause_replay()
        with new_scope():
            async with database.lone() as lone:
                made = await things.rows.create(lone, {"name": "written"})
            async with database.lone(readonly=True) as lone:
                assert (await things.rows.get_one(lone, made.id)).name == "written"
            assert not await is_on_replica()
        assert await is_on_replica()
        postgres_replica.resume_replay()
        postgres_replica.wait_until_caught_up()


async def test_many_lone_statements_share_a_small_pool(database: Database) -> None:
    """Tasks wait for a connection of the pool as sessions do, and all are answered."""
    async with database.lone() as lone:
        rows = await asyncio.gather(*(things.rows.get_one(lone, number % 3 + 1) for number in range(100)))
    assert len(rows) == 100
    assert [each.used for each in pool_statistics(database)] == [0]
