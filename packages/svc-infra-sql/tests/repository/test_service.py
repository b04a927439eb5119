"""Hooks: around single writes and writes of many, with and without a tenant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import DateTime, String
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidValue, UniqueViolation
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.service import SqlService
from svc_infra.db.sql.tenant import TenantSqlService


class Order(ModelBase):
    __tablename__ = "service_orders"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str | None] = mapped_column(String(10))
    note: Mapped[str | None] = mapped_column(String(20))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)


TABLES = [Order.__table__]
orders = SqlRepository(Order, soft_delete=True)


class Hooks(SqlService[Order]):
    """Notes what it hears, and forbids what is noted "forbidden"."""

    heard: list[str]

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        self.heard.append(f"pre_create {data['id']}")
        return {**data, "note": "hooked"}

    async def post_create(self, session: AsyncSession, entity: Order) -> None:
        assert entity in session
        self.heard.append(f"post_create {entity.id}")
        if entity.id == 13:
            raise LookupError("unlucky")

    async def pre_update(self, data: dict[str, Any]) -> dict[str, Any]:
        self.heard.append("pre_update")
        return {**data, "note": data["note"] + "!"}

    async def post_update(self, session: AsyncSession, entity: Order) -> None:
        self.heard.append(f"post_update {entity.id}")

    async def post_upsert(self, session: AsyncSession, entity: Order) -> None:
        self.heard.append(f"post_upsert {entity.id}")

    async def pre_delete(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        self.heard.append(f"pre_delete {id}")

    async def post_delete(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        self.heard.append(f"post_delete {id}")

    async def pre_restore(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        self.heard.append(f"pre_restore {id}")

    async def post_restore(self, session: AsyncSession, entity: Order) -> None:
        self.heard.append(f"post_restore {entity.id}")


class TenantHooks(Hooks, TenantSqlService[Order]):
    """The same for one tenant."""


def services() -> list[Hooks]:
    """One for all rows, one by a scoped repository, one for a tenant."""
    return [Hooks(orders), Hooks(orders.scoped({"tenant_id": "a"})), TenantHooks(orders, tenant_id="a")]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_hooks_run_around_each_write(memory: AsyncSession, place: int) -> None:
    """Each hook once per row, bulk included, and none for a row that is not there."""
    service = services()[place]
    service.heard = heard = []
    order = await service.create(memory, {"id": 1})
    assert order.note == "hooked"
    assert (await service.update(memory, 1, {"note": "n"})).note == "n!"
    assert await service.update(memory, 99, {"note": "n"}) is None
    assert await service.delete(memory, 1)
    assert not await service.delete(memory, 1)
    assert await service.restore(memory, 1) is order
    assert (await service.upsert(memory, {"id": 1, "note": "x"})).note == "hooked"
    assert heard == [
        "pre_create 1", "post_create 1", "pre_update", "post_update 1", "pre_update", "pre_delete 1", "post_delete 1",
        "pre_delete 1", "pre_restore 1", "post_restore 1", "pre_create 1", "post_upsert 1",
    ]  # fmt: skip
    heard.clear()
    assert len(await service.create_many(memory, [{"id": 2}, {"id": 3}])) == 2
    assert await service.create_many(memory, [{"id": 4}], returning=False) == 1
    assert await service.update_many(memory, {"note": "m"}, ids=[2, 3]) == 2
    assert await service.delete_many(memory, ids=[2]) == 1
    assert await service.restore_many(memory, where=[]) == 1
    assert await service.purge_many(memory, ids=[3], deleted="include") == 1
    assert [o.id for o in await service.upsert_many(memory, [{"id": 2, "note": "x"}])] == [2]
    assert heard == [
        "pre_create 2", "pre_create 3", "post_create 2", "post_create 3", "pre_create 4", "post_create 4",
        "pre_update", "post_update 2", "post_update 3", "pre_delete 2", "post_delete 2", "pre_restore 2",
        "post_restore 2", "pre_delete 3", "post_delete 3", "pre_create 2", "post_upsert 2",
    ]  # fmt: skip


async def test_a_hook_s_exception_rolls_the_write_back(database: Database) -> None:
    """It leaves the method and, with it, the session's transaction."""
    service = Hooks(orders)
    service.heard = []

    async def work() -> None:
        async with database.session() as session:
            await service.create_many(session, [{"id": 12}, {"id": 13}])

    with pytest.raises(LookupError):
        await work()
    async with database.session() as session:
        assert await orders.count(session) == 0


class Numbering(SqlService[Order]):
    """Counts the rows between its source and the database, and refuses one on demand."""

    def __init__(self, refused: int = -1) -> None:
        super().__init__(orders)
        self.refused = refused
        self.taken = self.written = self.most = 0

    def source(self, number: int) -> Iterator[dict[str, object]]:
        """Rows, one at a time."""
        for n in range(number):
            self.taken += 1
            self.most = max(self.most, self.taken - self.written)
            yield {"id": n}

    def progress(self, written: int) -> None:
        """Called after each batch."""
        self.written = written

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["id"] == self.refused:
            raise LookupError("refused")
        return {**data, "note": "hooked" if data["id"] != 17 else 17}


class Telling(Numbering):
    """Also looks at each row, in the session, after it was created."""

    async def post_create(self, session: AsyncSession, entity: Order) -> None:
        assert await orders.exists(session, entity.id)
        assert entity.note == "hooked"


@pytest.mark.parametrize("kind", [Numbering, Telling])
async def test_many_rows_go_through_hooks_batch_by_batch(kind: type[Numbering], session: AsyncSession) -> None:
    """No more rows than a batch are in memory; what a row is refused for says which one, and undoes all of them."""
    service = kind()
    assert (
        await service.create_many(session, service.source(16), returning=False, batch_size=5, progress=service.progress)
        == 16
    )
    assert service.most <= 5
    assert await orders.count(session, where=field("note").eq("hooked")) == 16
    await session.rollback()
    service = kind()
    with pytest.raises(InvalidValue) as caught:
        await service.create_many(session, service.source(99), returning=False, batch_size=5)
    assert (caught.value.row, service.taken) == (17, 20)
    service = kind(refused=12)
    with pytest.raises(LookupError):
        await service.create_many(session, service.source(99), returning=False, batch_size=5)
    assert await orders.count(session) == 0


class Copying(SqlService[Order]):
    """Writes two rows for each new one, and of one of them a row that is there."""

    async def post_create(self, session: AsyncSession, entity: Order) -> None:
        copies = [{"id": entity.id + 100}, {"id": entity.id + 200}]
        await orders.create_many(session, copies, returning=False)
        if entity.id == 2 and session.get_bind().dialect.name != "duckdb":
            with pytest.raises(UniqueViolation, match="row 1"):
                await orders.create_many(session, [{"id": 300}, {"id": 1}], returning=False)


@pytest.mark.parametrize("returning", [True, False])
async def test_a_hook_of_a_bulk_may_write_in_bulk(session: AsyncSession, returning: bool) -> None:
    """Each has a savepoint of its own, so that a refusal of the inner one undoes that one only."""
    rows = [{"id": n} for n in range(5)]
    await Copying(orders).create_many(session, rows, returning=returning, batch_size=2)  # type: ignore[call-overload]
    assert await orders.count(session) == 15


async def test_many_rows_can_be_handed_over_batch_by_batch(session: AsyncSession) -> None:
    """The repository gives what came back to a function instead of keeping it, as objects and as rows."""
    found: list[list[object]] = []
    rows = [{"id": n} for n in range(7)]
    assert await orders.create_many(session, rows, batch_size=3, each=found.append) == 7
    more = [{"id": n} for n in range(7, 9)]
    assert await orders.rows_of("id").create_many(session, more, each=found.append) == 2
    assert [[row.id for row in batch] for batch in found] == [[0, 1, 2], [3, 4, 5], [6], [7, 8]]  # type: ignore[attr-defined]


async def test_a_service_reads_as_its_repository_does(memory: AsyncSession) -> None:
    """Every read is there, with the same result."""
    service = SqlService(orders)
    await service.create_many(memory, [{"id": n, "note": f"n{n}"} for n in range(5)])
    assert (await service.first(memory, order_by="-id")).id == 4
    assert [o.id for o in await service.get_many(memory, [3, 1])] == [3, 1]
    assert (await service.get_one(memory, 2)).note == "n2"
    assert (await service.list_and_count(memory, limit=1))[1] == 5
    assert (await service.page(memory, limit=2)).next_cursor is not None
    assert [o.id async for o in service.stream(memory, order_by="id")] == [0, 1, 2, 3, 4]
    assert len(await service.search(memory, q="n", fields=["note"], limit=9)) == 5
    assert await service.exists(memory, 1)
