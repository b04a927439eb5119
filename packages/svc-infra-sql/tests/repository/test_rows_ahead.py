"""Rows that are checked while the database writes those before, in parts that nobody should notice."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import JSON, Row, String, Text, func, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected, InvalidValue, UniqueViolation
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.service import SqlService


class Leaf(ModelBase):
    __tablename__ = "ahead_leaves"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(30), unique=True)
    price: Mapped[int] = mapped_column(server_default="7")


class AheadPage(ModelBase):
    __tablename__ = "ahead_pages"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str | None] = mapped_column(Text)
    number: Mapped[int | None]
    extra: Mapped[object | None] = mapped_column(JSON)


class Nowhere(ModelBase):
    """Has no table."""

    __tablename__ = "ahead_nowhere"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


TABLES = [Leaf.__table__, AheadPage.__table__]
leaves = SqlRepository(Leaf)
pages = SqlRepository(AheadPage)


def rows(number: int, start: int = 0) -> Iterator[dict[str, object]]:
    """Rows with a code each."""
    return ({"code": f"c{n}"} for n in range(start, start + number))


@pytest.fixture(autouse=True)
async def known_statements(database: Database) -> None:
    """The statements were run before, so that they go on the driver."""
    for number in (60, 61):
        async with AsyncSession(database.engine) as session:
            await leaves.create_many(session, rows(number))
            await leaves.rows.create_many(session, rows(number, 10**6))
            await session.rollback()


@pytest.mark.parametrize("number", [124, 125, 126, 249, 250, 251, 500, 750, 2001])
async def test_all_rows_are_written_and_come_back_in_their_order(session: AsyncSession, number: int) -> None:
    """As objects, as rows, and not at all, whatever parts they go in."""
    wanted = [f"c{n}" for n in range(number)]
    found = await leaves.create_many(session, rows(number))
    assert [leaf.code for leaf in found] == wanted
    assert [leaf.id for leaf in found] == sorted(leaf.id for leaf in found)
    assert {leaf.price for leaf in found} == {7}
    assert found[-1] is await leaves.get(session, found[-1].id)
    listed = await leaves.rows.create_many(session, rows(number, 10_000))
    assert [row.code for row in listed] == [f"c{n}" for n in range(10_000, 10_000 + number)]
    assert await leaves.create_many(session, rows(number, 20_000), returning=False) == number
    assert await leaves.count(session) == 3 * number


@pytest.mark.parametrize("returning", [True, False])
@pytest.mark.parametrize(("taken", "wrong"), [(3, 4), (3, 1900), (130, 140), (260, 1900), (610, 1900)])
async def test_the_first_row_that_is_refused_is_named(
    session: AsyncSession, returning: bool, taken: int, wrong: int
) -> None:
    """Though a later one was found wrong first, as rows are checked before they are sent."""
    if session.get_bind().dialect.name == "duckdb":
        pytest.skip("DuckDB has no savepoints to find the row by")
    await leaves.create(session, {"code": "taken"})
    given: list[dict[str, object]] = [*rows(wrong), {"code": 5}]
    given[taken] = {"code": "taken"}
    with pytest.raises((UniqueViolation, InvalidValue)) as caught:
        await leaves.create_many(session, given, returning=returning)
    assert (type(caught.value), caught.value.row) == (UniqueViolation, taken)
    assert await leaves.count(session) == 1


@pytest.mark.parametrize("returning", [True, False])
async def test_a_row_that_an_earlier_part_took_is_named(session: AsyncSession, returning: bool) -> None:
    """And nothing is left of the parts that were written."""
    if session.get_bind().dialect.name == "duckdb":
        pytest.skip("DuckDB has no savepoints to find the row by")
    with pytest.raises(UniqueViolation) as caught:
        await leaves.create_many(session, [*rows(800), *rows(1, 5), *rows(50, 900)], returning=returning)
    assert caught.value.row == 800
    assert await leaves.count(session) == 0


@pytest.mark.parametrize("returning", [True, False])
async def test_an_exception_of_the_iterator_undoes_all(session: AsyncSession, returning: bool) -> None:
    """Wherever it is raised; the session goes on, where the database has savepoints."""

    def failing(number: int) -> Iterator[dict[str, object]]:
        yield from rows(number)
        raise OSError("the file is gone")

    for number in (100, 300, 700):
        with pytest.raises(OSError, match="the file is gone"):
            await leaves.create_many(session, failing(number), returning=returning)
        assert await leaves.count(session) == 0
    assert await leaves.create_many(session, rows(10), returning=False) == 10


async def test_a_hook_may_ask_the_database_while_rows_go_by(session: AsyncSession) -> None:
    """As it is not busy with the rows before, then."""

    class Asking(SqlService[Leaf]):
        async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
            number = (await session.execute(select(func.count()).select_from(Leaf))).scalar_one()
            return {**data, "price": number}

    service = Asking(leaves)
    created = await service.create_many(session, rows(600), batch_size=300)
    assert [leaf.price for leaf in created] == [0] * 300 + [300] * 300


@pytest.mark.parametrize("returning", [True, False])
async def test_a_killed_server_connection_is_a_typed_error(database: Database, returning: bool) -> None:
    """Whatever was being written then."""
    if database.engine.dialect.name != "postgresql":
        pytest.skip("rows go ahead on PostgreSQL")

    async def kill_while_it_writes(other: AsyncSession, session: AsyncSession) -> None:
        number = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        kill = asyncio.Event()

        def killing() -> Iterator[Mapping[str, object]]:
            yield from rows(400)
            kill.set()
            yield from rows(200_000, 400)

        async def killer() -> None:
            await kill.wait()
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": number})

        task = asyncio.create_task(killer())
        with pytest.raises(Disconnected), contextlib.closing(killing()) as given:
            await leaves.create_many(session, given, returning=returning)
        await task

    async with database.session() as other:
        for _ in range(15):  # the end is met at another moment each time
            async with AsyncSession(database.engine) as session:
                await kill_while_it_writes(other, session)
    async with database.session() as session:
        assert await leaves.count(session) == 0


@pytest.mark.parametrize("few", [1, 3, 60])
async def test_rows_of_different_fields_come_back_as_rows(session: AsyncSession, few: int) -> None:
    """Some go by another statement than the others; none comes back as what the driver has for a row."""
    for _ in range(3):
        given: list[dict[str, object]] = [{"id": n, "text": "few"} for n in range(few)]
        given += [{"id": n, "text": "many", "number": n} for n in range(few, few + 100)]
        found = await pages.rows.create_many(session, [*given[::2], *given[1::2]])
        assert {type(row) for row in found} == {Row}
        assert [row.id for row in found] == [*range(0, few + 100, 2), *range(1, few + 100, 2)]
        again = pickle.loads(pickle.dumps(found[0]))
        assert (again, hash(again), dict(again._mapping)) == (found[0], hash(found[0]), found[0]._asdict())
        await pages.delete_many(session, where=[])


@pytest.mark.fault
async def test_a_value_that_fails_after_a_refused_row_is_not_waited_for(session: AsyncSession) -> None:
    """More data than the connection buffers are on their way when the database refuses a row."""
    if session.get_bind().dialect.driver != "asyncpg":
        pytest.skip("rows go ahead on asyncpg")
    given: list[dict[str, object]] = [{"id": n, "extra": ["x" * 100_000]} for n in range(1700)]
    given[510]["id"] = -1
    given[1600]["extra"] = {"a set, which JSON has not": {1}}
    await pages.create(session, {"id": -1})
    with pytest.raises(UniqueViolation) as caught:
        async with asyncio.timeout(30):
            await pages.create_many(session, given, returning=False)
    assert caught.value.row == 510
    assert await pages.count(session) == 1


@pytest.mark.parametrize("returning", [True, False])
@pytest.mark.parametrize("number", [60, 2000])
async def test_what_is_no_matter_of_the_rows_is_sqlalchemys_error(
    database: Database, number: int, returning: bool
) -> None:
    """A table that is not there, by COPY as by any statement; the session can go on."""
    nowhere = SqlRepository(Nowhere)
    async with AsyncSession(database.engine) as session:
        for _ in range(3):
            with pytest.raises(
                ProgrammingError if database.engine.dialect.name == "postgresql" else DBAPIError
            ) as caught:
                await nowhere.create_many(session, [{"number": 1}] * number, returning=returning)
            assert "ahead_nowhere" in str(caught.value)
        assert await leaves.count(session) == 0
