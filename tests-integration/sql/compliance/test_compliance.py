"""One suite for every database and driver; see `capabilities` for what each is expected to be able to do."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import time
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, inspect, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from sql.compliance.capabilities import TARGETS, Target, missing
from sql.compliance.models import ArrayBase, Base, Colour, Sample, SampleArray, Shelf, Thing
from svc_infra.db.sql.core import downgrade, find_project, init_alembic, revision, upgrade
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import (
    CheckViolation,
    ForeignKeyViolation,
    IntegrityViolation,
    LockTimeout,
    NotNullViolation,
    ReadOnlyViolation,
    StatementTimeout,
    UniqueViolation,
)
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.retry import RetryPolicy
from svc_infra.db.sql.translate import translate

RUNAWAY = {
    "postgresql": "SELECT pg_sleep(30)",
    "mysql": "SELECT count(*) FROM information_schema.columns a, information_schema.columns b, "
    "information_schema.columns c WHERE a.column_name < b.column_name AND b.column_name < c.column_name",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "duckdb": "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE (a.range * b.range) % 7 = 3",
    "mssql": "SELECT count_big(*) FROM sys.all_columns a, sys.all_columns b, sys.all_columns c",
    "snowflake": "CALL SYSTEM$WAIT(30)",
}
#: Seconds by which a cut statement must have ended; its limit is of whole seconds on SQL Server and Snowflake.
CUT_SECONDS = 10.0


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    """Each database through each of its drivers."""
    chosen: Target = request.param
    marker = request.node.get_closest_marker("capability")
    reason = missing(chosen, marker.args[0]) if marker else None
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return chosen


@pytest.fixture
def url(target: Target, request: pytest.FixtureRequest) -> str:
    """An empty database."""
    given: str = request.getfixturevalue(target.fixture)
    return target.scheme + given[given.index("://") :]


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The database with the tables of the suite."""
    async with Database(url, pool_size=3, pool_timeout=10) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        yield database
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)


def capability(name: str) -> pytest.MarkDecorator:
    """Name the capability that a test proves."""
    return pytest.mark.capability(name)


async def names(database: Database) -> list[str]:
    async with database.session() as session:
        return list((await session.execute(select(Thing.name).order_by(Thing.name))).scalars())


@capability("connect")
async def test_connect(database: Database) -> None:
    """The database answers a ping within its bound."""
    assert await database.ping(10) < 10


@capability("repository")
async def test_the_repository_works(database: Database) -> None:
    """The guide's methods: create, get, list, update, search, count, delete."""
    repository = SqlRepository(model=Thing)
    async with database.session() as session:
        for number, name in enumerate(("Anna", "Bert", "Carl", "Annabel"), 1):
            created = await repository.create(session, {"id": number, "name": name, "size": number})
            assert (created.id, created.name) == (number, name)
    async with database.session() as session:
        found = await repository.get(session, 2)
        assert found is not None
        assert found.name == "Bert"
        assert await repository.get(session, 9) is None
        listed = await repository.list(session, limit=2, offset=1, order_by=[Thing.name.asc()])
        assert [thing.name for thing in listed] == ["Annabel", "Bert"]
        matches = await repository.search(session, q="anna", fields=["name"], limit=10, offset=0)
        assert sorted(thing.name for thing in matches) == ["Anna", "Annabel"]
        assert await repository.count(session) == 4
        updated = await repository.update(session, 3, {"name": "Karl"})
        assert updated is not None
        assert updated.name == "Karl"
        assert await repository.delete(session, 1) is True
        assert await repository.delete(session, 1) is False
    assert await names(database) == ["Annabel", "Bert", "Karl"]


@capability("upsert")
async def test_upsert(database: Database) -> None:
    """A row is inserted, and updated when its key is there."""
    repository = SqlRepository(model=Thing)
    for size in (1, 2):
        async with database.session() as session:
            await repository.upsert(session, {"id": 1, "name": "a", "size": size})
    async with database.session() as session:
        await repository.upsert_many(session, [{"id": number, "name": f"b{number}", "size": 3} for number in (1, 2)])
    async with database.session() as session:
        assert [(thing.id, thing.name, thing.size) for thing in await repository.list(session, limit=9)] == [
            (1, "b1", 3),
            (2, "b2", 3),
        ]


@capability("transactions")
async def test_transactions(database: Database) -> None:
    """Sessions don't see what others have not committed; an error leaves nothing."""
    async with database.session() as writer:
        await writer.execute(insert(Thing).values(id=1, name="a"))
        if database.engine.dialect.name != "mssql":  # its readers wait for writers unless the database is set otherwise
            assert await names(database) == []
    assert await names(database) == ["a"]
    with pytest.raises(LookupError):  # noqa: PT012 (the whole block is the subject)
        async with database.session() as failing:
            failing.add(Thing(id=2, name="b"))
            await failing.flush()
            raise LookupError
    assert await names(database) == ["a"]


@capability("savepoints")
async def test_savepoints(database: Database) -> None:
    """What happened since a savepoint is undone alone."""
    async with database.session() as session:
        await session.execute(insert(Thing).values(id=1, name="a"))
        inner = await session.begin_nested()
        await session.execute(insert(Thing).values(id=2, name="b"))
        await inner.rollback()
        await session.execute(insert(Thing).values(id=3, name="c"))
    assert await names(database) == ["a", "c"]


@capability("read_only")
async def test_read_only(database: Database) -> None:
    """A read-only session refuses to write."""
    with pytest.raises(ReadOnlyViolation):
        async with database.session(readonly=True) as session:
            await session.execute(insert(Thing).values(id=1, name="a"))


async def test_a_read_only_session_writes_nothing(database: Database) -> None:
    """Refused or rolled back: a read-only session changes nothing on any database."""
    try:
        async with database.session(readonly=True) as session:
            await session.execute(insert(Thing).values(id=1, name="a"))
    except ReadOnlyViolation:
        pass
    assert await names(database) == []


@capability("retries")
async def test_retries(database: Database) -> None:
    """Ten tasks that read, think and write lose no update."""
    async with database.session() as session:
        await session.execute(insert(Thing).values(id=1, name="a", size=1))

    async def increment(session: AsyncSession) -> None:
        size = (await session.execute(select(Thing.size).where(Thing.id == 1))).scalar_one() or 0
        await session.execute(update(Thing).where(Thing.id == 1).values(size=size + 1))

    retries = RetryPolicy(attempts=100, longest_wait=0.2)
    await asyncio.gather(*(database.run_in_transaction(increment, retries=retries) for _ in range(10)))
    async with database.session() as session:
        assert (await session.execute(select(Thing.size))).scalar_one() == 11


@capability("statement_limit")
async def test_statement_limit(database: Database, target: Target) -> None:
    """A statement beyond its limit is cut with a typed error."""
    start = time.monotonic()
    with pytest.raises(StatementTimeout):
        async with database.session(statement_timeout_ms=300) as session:
            await session.execute(text(RUNAWAY[target.backend]))
    assert time.monotonic() - start < CUT_SECONDS


@capability("cancellation")
async def test_cancellation(database: Database, target: Target) -> None:
    """A cancelled task ends soon, leaves nothing written, and the pool goes on."""
    start = time.monotonic()
    with pytest.raises(TimeoutError):  # noqa: PT012 (the whole block is the subject)
        async with asyncio.timeout(0.5), database.session() as session:
            await session.execute(insert(Thing).values(id=1, name="a"))
            await session.execute(text(RUNAWAY[target.backend]))
    assert time.monotonic() - start < CUT_SECONDS
    assert await names(database) == []


@capability("row_locks")
async def test_row_locks(database: Database) -> None:
    """A row that another transaction has locked is a `LockTimeout` for who does not want to wait."""
    async with database.session() as session:
        await session.execute(insert(Thing).values(id=1, name="a"))
    async with database.session() as holder:
        await holder.execute(select(Thing).where(Thing.id == 1).with_for_update())
        with pytest.raises(LockTimeout):
            async with database.session() as session:
                await session.execute(select(Thing).where(Thing.id == 1).with_for_update(nowait=True))


@capability("streaming")
async def test_streaming(database: Database) -> None:
    """Rows are read as they come, and a result may be left half-way."""
    async with database.session() as session:
        await session.execute(insert(Thing), [{"id": number, "name": f"n{number:04}"} for number in range(500)])
    async with database.session() as session:
        result = await session.stream(select(Thing.id).order_by(Thing.id))
        assert [row.id async for row in result] == list(range(500))
        result = await session.stream(select(Thing.id).order_by(Thing.id))
        assert (await result.fetchmany(3))[-1].id == 2
        await result.close()
        assert (await session.execute(select(func.count()).select_from(Thing))).scalar_one() == 500


@capability("returning")
async def test_returning(database: Database) -> None:
    """INSERT, UPDATE and DELETE return rows."""
    async with database.session() as session:
        created = await session.execute(insert(Thing).values(id=1, name="a").returning(Thing.name))
        assert created.scalars().all() == ["a"]
        changed = await session.execute(update(Thing).values(name="b").where(Thing.id == 1).returning(Thing.name))
        assert changed.scalars().all() == ["b"]


VIOLATIONS: dict[str, tuple[dict[str, object], type[IntegrityViolation]]] = {
    "unique": ({"id": 2, "name": "a", "size": 1}, UniqueViolation),
    "key": ({"id": 1, "name": "b", "size": 1}, UniqueViolation),
    "not null": ({"id": 2, "name": None, "size": 1}, NotNullViolation),
    "check": ({"id": 2, "name": "b", "size": 0}, CheckViolation),
    "foreign key": ({"id": 2, "name": "b", "size": 1, "shelf_id": 9}, ForeignKeyViolation),
}


@capability("constraints")
async def test_constraints(database: Database) -> None:
    """Each kind of constraint has its error."""
    async with database.session() as session:
        await session.execute(insert(Shelf).values(id=1))
        await session.execute(insert(Thing).values(id=1, name="a", size=1, shelf_id=1))
    for values, kind in VIOLATIONS.values():
        with pytest.raises(kind):
            async with database.session() as session:
                await session.execute(insert(Thing).values(values))


@capability("error_codes")
async def test_error_codes(database: Database) -> None:
    """The kind of a violation is known without a word of the driver's message."""
    async with database.session() as session:
        await session.execute(insert(Shelf).values(id=1))
        await session.execute(insert(Thing).values(id=1, name="a", size=1, shelf_id=1))
    for values, kind in VIOLATIONS.values():
        with pytest.raises(IntegrityViolation) as caught:
            async with database.session() as session:
                await session.execute(insert(Thing).values(values))
        cause = caught.value.__cause__
        assert cause is not None
        cause.args = tuple(part if is_code(part) else "" for part in cause.args)
        if hasattr(cause, "ddbc_error"):
            cause.ddbc_error = ""  # mssql-python's copy of the message
        assert type(translate(cause)) is kind


def is_code(part: object) -> bool:
    return isinstance(part, int) or re.fullmatch("[0-9A-Z]{5}", str(part)) is not None


@capability("transactional_ddl")
async def test_transactional_ddl(database: Database) -> None:
    """A table that was made in a transaction that failed is not there."""
    with pytest.raises(LookupError):  # noqa: PT012 (the whole block is the subject)
        async with database.session() as session:
            await session.execute(text("CREATE TABLE gone (id INTEGER)"))
            raise LookupError
    async with database.engine.connect() as connection:
        assert not await connection.run_sync(lambda sync: inspect(sync).has_table("gone"))


@capability("reflection")
async def test_reflection(database: Database) -> None:
    """Columns, keys and unique constraints are found as they were made."""

    def reflect(connection: Any) -> tuple[Any, ...]:
        inspector = inspect(connection)
        unique = {tuple(item["column_names"]) for item in inspector.get_unique_constraints("things")}
        unique |= {tuple(item["column_names"]) for item in inspector.get_indexes("things") if item["unique"]}
        return (
            {"shelves", "things", "samples"} <= set(inspector.get_table_names()),
            {column["name"]: column["nullable"] for column in inspector.get_columns("things")},
            inspector.get_pk_constraint("things")["constrained_columns"],
            [(key["constrained_columns"], key["referred_table"]) for key in inspector.get_foreign_keys("things")],
            ("name",) in unique,
        )

    async with database.engine.connect() as connection:
        assert await connection.run_sync(reflect) == (
            True,
            {"id": False, "name": False, "size": True, "shelf_id": True},
            ["id"],
            [(["shelf_id"], "shelves")],
            True,
        )


@capability("migrations")
async def test_migrations(url: str, tmp_path: Path) -> None:
    """A model becomes a table by autogenerate and upgrade, and goes by downgrade."""
    scripts = init_alembic(directory=tmp_path)
    # The models are named, because this process also holds those of other tests.
    (scripts / "env.py").write_text(
        "from sqlalchemy import Column, Integer, MetaData, String, Table\n"
        "from svc_infra.db.sql.core.environment import run_migrations\n"
        "metadata = MetaData()\n"
        "Table('planets', metadata, Column('id', Integer, primary_key=True, autoincrement=False),\n"
        "      Column('name', String(40), nullable=False))\n"
        "run_migrations(metadata=metadata)\n"
    )
    project = find_project(tmp_path)
    made = await asyncio.to_thread(revision, "planets", autogenerate=True, database_url=url, project=project)
    assert made is not None
    await asyncio.to_thread(upgrade, database_url=url, project=project)
    async with Database(url) as database, database.session() as session:
        await session.execute(text("INSERT INTO planets (id, name) VALUES (1, 'Mars')"))
    await asyncio.to_thread(downgrade, "base", database_url=url, project=project)
    async with Database(url) as database, database.engine.connect() as connection:
        assert not await connection.run_sync(lambda sync: inspect(sync).has_table("planets"))


ZONE = dt.timezone(dt.timedelta(hours=-7))
VALUES: dict[str, list[object]] = {
    "uuid": [uuid.UUID(int=0), uuid.UUID("018f2c5e-7b1a-7c3d-9e4f-0123456789ab")],
    "decimal": [Decimal("0.100000"), Decimal("-123456789012.345678")],
    "datetime": [
        dt.datetime(2026, 3, 29, 1, 30, 15, 123456, tzinfo=dt.UTC),
        dt.datetime(1999, 12, 31, 20, 0, tzinfo=ZONE),
    ],
    "date": [dt.date(1900, 2, 28), dt.date(2400, 2, 29)],
    "json": [{"a": [1, 2.5, None, True, "ü"], "b": {}}, [], "text", 7],
    "bytes": [b"", bytes(range(256))],
    "enum": [Colour.RED, Colour.GREEN],
    "text": ["", "naïve 日本語 🦆 'quoted' %s :name \\ \n"],
    "boolean": [True, False],
    "bigint": [2**63 - 1, -(2**63)],
    "float": [0.1, -1.7976931348623157e308, 5e-324],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=capability(name)) for name in VALUES])
async def test_values_come_back_as_they_went(database: Database, name: str) -> None:
    """A value of each type is read as it was written, by the repository, and NULL stays NULL."""
    repository = SqlRepository(model=Sample)
    async with database.session() as session:
        for number, value in enumerate(VALUES[name]):
            await repository.create(session, {"id": number, name: value})
        await repository.create(session, {"id": 99})
    async with database.session() as session:
        for number, value in enumerate(VALUES[name]):
            sample = await repository.get(session, number)
            stored = getattr(sample, name)
            assert stored == value
            assert isinstance(stored, type(value))
            if isinstance(stored, dt.datetime):
                assert stored.tzinfo is not None
        empty = await repository.get(session, 99)
        assert getattr(empty, name) is None


@capability("arrays")
async def test_arrays(url: str) -> None:
    """A list of numbers is a column's value."""
    async with Database(url) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ArrayBase.metadata.create_all)
        async with database.session() as session:
            await session.execute(insert(SampleArray).values(id=1, numbers=[1, 2, 3]))
        async with database.session() as session:
            assert (await session.execute(select(SampleArray.numbers))).scalar_one() == [1, 2, 3]
