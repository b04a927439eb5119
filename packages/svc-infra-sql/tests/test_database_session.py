"""Sessions of `Database` on every database."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import (
    CheckViolation,
    ForeignKeyViolation,
    IntegrityViolation,
    InvalidValue,
    NotNullViolation,
    ReadOnlyViolation,
    SqlError,
    UniqueViolation,
)

metadata = MetaData()
notes = Table(
    "notes", metadata, Column("id", Integer, primary_key=True, autoincrement=False), Column("body", String(20))
)


async def make_notes(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)


async def count_notes(database: Database) -> int:
    async with database.session() as session:
        return len((await session.execute(select(notes.c.id))).all())


async def test_leaving_the_session_commits(database_url: str) -> None:
    """What was written in a session is there for the next one."""
    async with Database(database_url) as database:
        await make_notes(database)
        async with database.session() as session:
            await session.execute(notes.insert().values(id=1, body="a"))
        assert await count_notes(database) == 1


async def test_an_error_rolls_back_and_passes_through(database_url: str) -> None:
    """An exception of the application leaves nothing written and is not replaced."""
    async with Database(database_url) as database:
        await make_notes(database)
        with pytest.raises(LookupError):  # noqa: PT012 (the whole block is the subject)
            async with database.session() as session:
                await session.execute(notes.insert().values(id=1, body="a"))
                raise LookupError
        assert await count_notes(database) == 0


async def test_cancellation_rolls_back(database_url: str) -> None:
    """A cancelled task leaves nothing written and gives its connection back."""
    async with Database(database_url, pool_size=1, max_overflow=0, pool_timeout=5) as database:
        await make_notes(database)
        written = asyncio.Event()

        async def write_and_wait() -> None:
            async with database.session() as session:
                await session.execute(notes.insert().values(id=1, body="a"))
                written.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write_and_wait())
        await asyncio.wait_for(written.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await count_notes(database) == 0


async def test_an_unused_session_takes_no_connection(sqlite_url: str) -> None:
    """A session that runs no statement does not connect."""
    async with Database(sqlite_url) as database:
        async with database.session():
            pass
        assert database.engine.pool.status().startswith("Pool size: 5  Connections in pool: 0")


async def test_objects_stay_readable_after_the_commit(database_url: str) -> None:
    """An object of a committed session keeps its attributes without another query."""

    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        name: Mapped[str] = mapped_column(String(20))

    async with Database(database_url) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with database.session() as session:
            thing = Thing(id=1, name="a")
            session.add(thing)
        assert (thing.id, thing.name) == (1, "a")


CONSTRAINED = """
    CREATE TABLE children (
        id INTEGER NOT NULL PRIMARY KEY,
        email VARCHAR(20) NOT NULL,
        age INTEGER,
        parent_id INTEGER,
        CONSTRAINT uq_children_email UNIQUE (email),
        CONSTRAINT ck_children_age CHECK (age > 0),
        CONSTRAINT fk_children_parent FOREIGN KEY (parent_id) REFERENCES notes (id)
    )
"""
VIOLATIONS: dict[str, tuple[str, type[SqlError], tuple[str, ...] | None]] = {
    "unique": ("INSERT INTO children VALUES (2, 'a', 1, 1)", UniqueViolation, ("email",)),
    "primary key": ("INSERT INTO children VALUES (1, 'b', 1, 1)", UniqueViolation, ("id",)),
    "not null": ("INSERT INTO children VALUES (2, NULL, 1, 1)", NotNullViolation, ("email",)),
    "check": ("INSERT INTO children VALUES (2, 'b', -1, 1)", CheckViolation, None),
    "foreign key": ("INSERT INTO children VALUES (2, 'b', 1, 9)", ForeignKeyViolation, None),
    "referenced": ("DELETE FROM notes", ForeignKeyViolation, None),
}


async def test_violations_are_typed_at_the_boundary(database_url: str) -> None:
    """Every kind of violated constraint has its error, the same on every database, with the driver's as its cause."""
    async with Database(database_url) as database:
        await make_notes(database)
        async with database.session() as session:
            await session.execute(text(CONSTRAINED))
            await session.execute(notes.insert().values(id=1, body="a"))
        async with database.session() as session:
            await session.execute(text("INSERT INTO children VALUES (1, 'a', 1, 1)"))
        for statement, kind, columns in VIOLATIONS.values():
            with pytest.raises(kind) as caught:
                async with database.session() as session:
                    await session.execute(text(statement))
            # MySQL names the key and not its columns, and the table of a text is not known.
            if columns is not None and not (kind is UniqueViolation and database_url.startswith("mysql")):
                assert isinstance(caught.value, IntegrityViolation)
                assert caught.value.columns == columns
            cause = caught.value.__cause__
            assert cause is not None
            assert not type(cause).__module__.startswith("sqlalchemy")


async def test_inside_the_block_errors_are_those_of_sqlalchemy(database_url: str) -> None:
    """Code inside a session may catch SQLAlchemy's errors and go on after a savepoint."""
    if database_url.startswith("duckdb"):
        pytest.skip("DuckDB has no savepoints")
    async with Database(database_url) as database:
        await make_notes(database)
        async with database.session() as session:
            await session.execute(notes.insert().values(id=1, body="a"))
            with pytest.raises(IntegrityError):
                async with session.begin_nested():
                    await session.execute(notes.insert().values(id=1, body="b"))
            await session.execute(notes.insert().values(id=2, body="c"))
        assert await count_notes(database) == 2


async def test_a_value_that_does_not_fit_is_typed(postgres_url: str) -> None:
    """A value of the wrong type or size is an `InvalidValue`."""
    async with Database(postgres_url) as database:
        await make_notes(database)
        for value in ("x" * 21, 5):
            with pytest.raises(InvalidValue):
                async with database.session() as session:
                    await session.execute(notes.insert().values(id=1, body=value))


async def test_a_read_only_session_refuses_writes(database_url: str) -> None:
    """`session(readonly=True)` reads, refuses to write, and the same connection writes again afterwards."""
    async with Database(database_url, pool_size=1, max_overflow=0, pool_timeout=5) as database:
        await make_notes(database)
        for number in (1, 2):
            with pytest.raises(ReadOnlyViolation):  # noqa: PT012 (the whole block is the subject)
                async with database.session(readonly=True) as session:
                    assert len((await session.execute(select(notes.c.id))).all()) == number - 1
                    await session.execute(notes.insert().values(id=9, body="a"))
            async with database.session() as session:
                await session.execute(notes.insert().values(id=number, body="a"))
        assert await count_notes(database) == 2


async def test_several_databases_live_in_one_process(sqlite_url: str, duckdb_url: str) -> None:
    """Two databases don't know of one another."""
    async with Database(sqlite_url) as one, Database(duckdb_url) as other:
        await make_notes(one)
        await make_notes(other)
        async with one.session() as first, other.session() as second:
            await first.execute(notes.insert().values(id=1, body="a"))
            assert (await second.execute(select(notes.c.id))).all() == []
        assert (await count_notes(one), await count_notes(other)) == (1, 0)


async def test_streaming_reads_rows_as_they_come(database_url: str) -> None:
    """`session.stream` gives every row, also when a result is left half-way."""
    async with Database(database_url) as database:
        await make_notes(database)
        async with database.session() as session:
            await session.execute(notes.insert(), [{"id": number, "body": "a"} for number in range(200)])
        async with database.session() as session:
            result = await session.stream(select(notes.c.id).order_by(notes.c.id))
            assert [row.id async for row in result] == list(range(200))
            result = await session.stream(select(notes.c.id).order_by(notes.c.id))
            assert (await result.fetchmany(3))[2].id == 2
            await result.close()
            assert (await session.execute(select(notes.c.id).where(notes.c.id == 7))).scalar_one() == 7
