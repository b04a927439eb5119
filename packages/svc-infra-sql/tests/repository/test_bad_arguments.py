"""Arguments that mean nothing: a typed error before anything is sent, and never every row instead of some."""

from __future__ import annotations

import enum
import uuid

import pytest
from sqlalchemy import Computed, Enum, String, Uuid, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import FailedTransaction, InvalidQuery, InvalidValue, UniqueViolation, UnknownField
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.service import SqlService


class Hue(enum.Enum):
    RED = "red"


class Counted(ModelBase):
    __tablename__ = "bad_counted"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    text: Mapped[str] = mapped_column(String(5))
    number: Mapped[int | None]
    version: Mapped[int] = mapped_column(default=1)
    double: Mapped[int | None] = mapped_column(Computed("version * 2"))
    colour: Mapped[Hue | None] = mapped_column(Enum(Hue, name="bad_colour"))


TABLES = [Counted.__table__]
counted = SqlRepository(Counted, version_field="version")
ONE = uuid.UUID(int=1)


async def test_a_word_that_means_nothing_is_refused(session, statements) -> None:
    """A misspelt `deleted` or `lock` is not taken for another one; a version is an int of its column's size."""
    for call in (
        counted.list(session, limit=1, deleted="included"),
        counted.get(session, uuid.uuid4(), deleted="yes"),
        counted.purge(session, uuid.uuid4(), deleted=""),
        counted.get(session, uuid.uuid4(), lock="exclusive"),
        counted.update(session, uuid.uuid4(), {"text": "a"}, version=2**70),
        counted.delete(session, uuid.uuid4(), version=True),
    ):
        with pytest.raises(InvalidQuery):
            await call
    assert statements.taken() == []


async def test_what_is_no_list_of_conditions_never_means_every_row(session, statements) -> None:
    """An empty text or mapping, or an iterator that is at its end, would choose everything."""
    for where in ("", b"", {}, set(), iter([]), (each for each in ())):
        for call in (
            counted.delete_many(session, where=where),
            counted.update_many(session, {"text": "a"}, where=where),
            counted.list(session, limit=1, where=where),
        ):
            with pytest.raises(InvalidQuery, match="where"):
                await call
    for ids in ("abc", b"abc", {"id": 1}, 5, Counted.id):
        with pytest.raises(InvalidQuery, match="ids"):
            await counted.delete_many(session, ids=ids)
        with pytest.raises(InvalidQuery, match="ids"):
            await counted.get_many(session, ids)
    for expression in (Counted.id, select(Counted.id), func.now()):
        with pytest.raises(InvalidValue):
            await counted.get(session, expression)
        with pytest.raises(InvalidValue):
            counted.scoped({"text": expression})
    assert statements.taken() == []
    assert await counted.exists(session, None) is False


async def test_an_iterator_of_names_is_read_once(session: AsyncSession) -> None:
    """It would be at its end when it is looked at again, and nothing be searched or set."""
    await counted.create(session, {"text": "a"})
    row = await counted.create(session, {"text": "b"})
    assert len(await counted.search(session, q="b", fields=iter(["text"]), limit=5)) == 1
    data = {"id": row.id, "text": "c", "number": 5}
    written = await counted.upsert(session, data, update=iter(["text"]))
    assert (written.text, written.number) == ("c", None)


async def test_what_is_no_mapping_of_fields_is_refused(session, statements) -> None:
    """For a repository and for a service, one row or many; an empty list is not taken for no values."""
    service = SqlService(counted)
    for data in (None, 5, "", "ab", [], [("text", "a")], object()):
        for target in (counted, counted.rows, service):
            for call in (
                target.create(session, data),
                target.update(session, uuid.uuid4(), data),
                target.upsert(session, data),
                target.update_many(session, data, where=[]),
            ):
                with pytest.raises(InvalidQuery):
                    await call
    for rows in (None, 5, ["ab"], [None], [[]]):
        async with AsyncSession(session.bind) as own:
            with pytest.raises(InvalidQuery):
                await service.create_many(own, rows)
        with pytest.raises(InvalidQuery):
            await counted.upsert_many(session, rows)
    assert [each for each in statements.taken() if "SAVEPOINT" not in each] == []


async def test_a_column_that_the_database_computes_can_t_be_set(session, statements) -> None:
    """It is named before anything is sent."""
    for call in (
        counted.create(session, {"text": "a", "double": 4}),
        counted.create_many(session, [{"text": "a", "double": 4}]),
        counted.update(session, uuid.uuid4(), {"double": 4}),
    ):
        with pytest.raises(UnknownField, match="double is computed"):
            await call
    assert [each for each in statements.taken() if "SAVEPOINT" not in each] == []
    assert (await counted.create(session, {"text": "a"})).double == 2


async def test_a_failed_transaction_says_so(database: Database) -> None:
    """Whatever the repository is asked after a refused statement, until the transaction is rolled back."""
    async with AsyncSession(database.engine) as session:
        await counted.create(session, {"id": ONE, "text": "a"})
        with pytest.raises(UniqueViolation):
            await counted.create(session, {"id": ONE, "text": "a"})
        if database.engine.dialect.name in {"postgresql", "duckdb"}:
            with pytest.raises(FailedTransaction, match="roll it back"):
                await counted.count(session)
        await session.rollback()
        assert await counted.count(session) == 0


async def test_an_enum_of_the_database_s_own_is_looked_through_as_text(session: AsyncSession) -> None:
    """PostgreSQL's enums have no LIKE, which would end the transaction."""
    await counted.create(session, {"text": "a", "colour": Hue.RED})
    assert await counted.count(session, where=field("colour").contains("E")) == 1
    assert await counted.count(session, q="red", fields=["colour"]) == 1
