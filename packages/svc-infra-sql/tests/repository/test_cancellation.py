"""A task that is cancelled while it waits, wherever that is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.repository import SqlRepository


class Parcel(ModelBase):
    __tablename__ = "cancelled_parcels"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str | None] = mapped_column(String(20))


TABLES = [Parcel.__table__]
parcels = SqlRepository(Parcel)


class CancelledAt:
    """Awaits a coroutine and cancels the task when it waits for the nth time."""

    def __init__(self, work: Coroutine[Any, Any, object], number: int) -> None:
        self.work, self.number, self.waits = work, number, 0

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self.work.__await__()
        step, value = steps.send, None
        while True:
            try:
                future = step(value)
            except StopIteration:
                return
            if self.waits == self.number:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            self.waits += 1
            try:
                step, value = steps.send, (yield future)
            except BaseException as error:  # noqa: BLE001 (the coroutine shall see it)
                step, value = steps.throw, error


async def _bulk(session: AsyncSession) -> None:
    rows = [{"id": n, "note": "new"} for n in range(100, 160)]
    await parcels.create_many(session, rows, batch_size=30)
    await parcels.create_many(session, [{**row, "id": row["id"] + 100} for row in rows], returning=False)
    await parcels.upsert_many(session, [{"id": n, "note": "new"} for n in range(5)])


async def _ahead(session: AsyncSession) -> None:
    for start, returning in ((1000, True), (2000, True), (3000, False)):
        rows = ({"id": n, "note": "new"} for n in range(start, start + 600))
        await parcels.create_many(session, rows, returning=returning)
    await parcels.update(session, 4, {"note": "new"})


async def _others(session: AsyncSession) -> None:
    async with contextlib.aclosing(parcels.stream(session, order_by="id", batch_size=3)) as stream:
        async for _ in stream:
            pass
    await parcels.update_each(session, [Change(n, {"note": f"new {n}"}) for n in range(3)])
    await parcels.update(session, 4, {"note": "new"})
    await parcels.delete_many(session, ids=[1, 2])


@pytest.mark.parametrize("work", [_bulk, _ahead, _others])
async def test_a_cancelled_task_leaves_no_rows_no_locks_and_no_connection_behind(database: Database, work: Any) -> None:
    """At each of its waits in turn: all or nothing was written, and the next task can write at once."""
    if database.engine.dialect.name == "duckdb" and sqlalchemy.__version__.startswith("2.0."):
        pytest.xfail("under SQLAlchemy 2.0 a connection stays checked out until it is collected; not explained")
    async with database.session() as session:
        await parcels.purge_many(session, where=[], deleted="include")
        await parcels.create_many(session, [{"id": n, "note": "old"} for n in range(9)])

    async def run() -> None:
        async with database.session() as session:
            await work(session)

    pool: Any = database.engine.pool
    kept: list[BaseException] = []
    number = 0
    while number < 200:
        cancelled = CancelledAt(run(), number)

        async def task(cancelled: CancelledAt = cancelled) -> None:
            await cancelled

        async with asyncio.timeout(10):
            # Whoever keeps the error, as a log does, keeps the frames in which it was raised.
            kept += [error for error in await asyncio.gather(task(), return_exceptions=True) if error is not None]
        assert pool.checkedout() == 0
        if cancelled.waits <= number:
            break
        async with database.session(statement_timeout_ms=3000) as session:
            if await parcels.count(session, where=[Parcel.note == "old"]) < 9:
                break  # it waited for the answer to COMMIT
            assert await parcels.count(session) == 9
            assert await parcels.update_many(session, {"note": "old"}, where=[]) == 9
        number += 1
    assert number > 3
    assert {type(error) for error in kept} == {asyncio.CancelledError}
