"""Keyset pages and streams."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import DateTime, Float, String, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.capabilities import capabilities_of
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository


class Event(ModelBase):
    __tablename__ = "paging_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str | None] = mapped_column(String(10))
    level: Mapped[int | None]
    weight: Mapped[float] = mapped_column(Float, default=0.0)
    at: Mapped[dt.datetime] = mapped_column(DateTime)
    tenant: Mapped[int] = mapped_column(default=1)


class Stamp(ModelBase):
    __tablename__ = "paging_stamps"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


TABLES = [Event.__table__, Stamp.__table__]
events = SqlRepository(Event)
stamps = SqlRepository(Stamp)
NOON = dt.datetime(2026, 1, 1, 12)  # noqa: DTZ001
ORDERS = [
    None, "-id", "at", "-at", "kind", "-kind", "level,-kind", "-level,kind,at", "-weight,at", "kind,-id", "at,-id",
]  # fmt: skip


async def fill(session: AsyncSession, number: int = 14) -> None:
    """Rows with equal and NULL keys."""
    for n in range(number):
        kind = [None, "a", "b", "a"][n % 4]
        level = [None, 1, 2][n % 3]
        data = {"id": n, "kind": kind, "level": level, "weight": (n % 5) / 3, "at": NOON + dt.timedelta(seconds=n // 3)}
        await events.rows.create(session, data)


async def walk(session: AsyncSession, order: object, limit: int, repo=events) -> list[int]:
    """All ids by pages forwards; checks on the way that walking back gives the same pages."""
    found: list[list[int]] = []
    page = await repo.page(session, limit=limit, order_by=order)
    assert page.previous_cursor is None
    while True:
        found.append([item.id for item in page.items])
        if page.next_cursor is None:
            break
        page = await repo.page(session, limit=limit, order_by=order, cursor=page.next_cursor)
    backwards = [found[-1]]
    while page.previous_cursor is not None:
        page = await repo.page(session, limit=limit, order_by=order, cursor=page.previous_cursor)
        backwards.insert(0, [item.id for item in page.items])
    assert backwards == found
    return [key for part in found for key in part]


async def test_a_moment_of_the_database_is_found_by_what_it_shows(session: AsyncSession) -> None:
    """A default of `now()` is equal to its own value, ordered among values of Python, and paged by, also in SQLite."""
    for number in range(3):
        await stamps.rows.create(session, {"id": number})
    shown = (await stamps.rows.get_one(session, 0)).created_at
    late = shown + dt.timedelta(microseconds=1500)
    await stamps.rows.create_many(session, [{"id": 3, "created_at": late}, {"id": 4, "created_at": shown}])
    equal = await stamps.rows.list(session, limit=9, where=Stamp.created_at == shown)
    assert {0, 4} <= {row.id for row in equal}
    assert await stamps.count(session, where=Stamp.created_at >= shown) == 5
    for order in ("created_at", "-created_at"):
        expected = [row.id for row in await stamps.rows.list(session, limit=9, order_by=order)]
        assert await walk(session, order, 1, stamps) == expected


async def test_pages_give_every_row_once_in_order_forwards_and_backwards(session: AsyncSession) -> None:
    """With composite, mixed, equal and NULL keys, on every database: the same rows as one list."""
    await fill(session)
    for order in ORDERS:
        expected = [row.id for row in await events.rows.list(session, limit=100, order_by=order)]
        for limit in (1, 4, 50):
            assert await walk(session, order, limit) == expected, (order, limit)
    nulls_first = [Event.kind.desc().nulls_last(), Event.at.asc()]
    expected = [row.id for row in await events.rows.list(session, limit=100, order_by=nulls_first)]
    assert await walk(session, nulls_first, 5) == expected


async def test_null_stands_where_the_capabilities_say(session: AsyncSession) -> None:
    """First or last by the database's own order, which an index has too, and anywhere when it is asked for."""
    await fill(session, 6)
    capabilities = capabilities_of(session.get_bind().dialect.name)
    own = {"kind": capabilities.nulls_ascending, "-kind": capabilities.nulls_descending}
    told = {Event.kind.asc().nulls_last(): "last", Event.kind.desc().nulls_first(): "first"}
    for order, place in [*own.items(), *told.items()]:
        kinds = [row.kind for row in await events.rows.list(session, limit=9, order_by=order)]
        assert (kinds[0] is None, kinds[-1] is None) == (place == "first", place == "last"), order


async def test_rows_inserted_or_deleted_meanwhile_move_no_other(session: AsyncSession) -> None:
    """The rest of the pages shows every row that was there, once."""
    await fill(session)
    page = await events.page(session, limit=5, order_by="at")
    seen = [item.id for item in page.items]
    await events.create(session, {"id": 100, "at": NOON - dt.timedelta(days=1)})
    await events.delete(session, seen[-1])
    while page.next_cursor is not None:
        page = await events.page(session, limit=5, order_by="at", cursor=page.next_cursor)
        seen += [item.id for item in page.items]
    assert seen == list(range(14))


async def test_pages_filter_and_search(session: AsyncSession) -> None:
    """Conditions and text hold on every page."""
    await fill(session)
    page = await events.page(session, limit=2, where=field("level").eq(1), q="a", fields=["kind"])
    more = await events.page(
        session, limit=50, where=field("level").eq(1), q="a", fields=["kind"], cursor=page.next_cursor
    )
    found = [item.id for item in (*page.items, *more.items)]
    assert found == [n for n in range(14) if n % 3 == 1 and n % 2 == 1]


async def test_the_row_form_pages_by_fields_that_it_does_not_show(session: AsyncSession) -> None:
    """The keys are read beside the fields asked for and left out of the rows."""
    await fill(session)
    kinds = events.rows_of("id", "kind")
    page = await kinds.page(session, limit=2, order_by="-at")
    assert [tuple(item) for item in page.items] == [(13, "a"), (12, None)]
    assert await walk(session, "-at,level", 4, kinds) == await walk(session, "-at,level", 9)


async def test_a_cursor_that_was_altered_or_belongs_elsewhere_is_refused(memory: AsyncSession) -> None:
    """Cut, altered, of another order, of another scope, of another secret, or no cursor at all."""
    await fill(memory)
    cursor = (await events.page(memory, limit=2, order_by="at")).next_cursor
    assert cursor is not None
    keyed = SqlRepository(Event, cursor_secret="s3cret")
    scoped = events.scoped({"tenant": 1})
    foreign = (await scoped.page(memory, limit=2, order_by="at")).next_cursor
    calls = [
        (events, "at", wrong)
        for wrong in ("", "x", cursor[:-1], cursor[1:], cursor + "A", "é", "A" * 30_000, "====", foreign)
    ]
    calls += [
        (events, "-at", cursor),
        (keyed, "at", cursor),
        (scoped, "at", cursor),
        (events.scoped({"tenant": 2}), "at", foreign),
    ]
    for repo, order, wrong in calls:
        with pytest.raises(InvalidValue, match="cursor"):
            await repo.page(memory, limit=2, order_by=order, cursor=wrong)
    own = (await keyed.page(memory, limit=2)).next_cursor
    assert [item.id for item in (await keyed.page(memory, limit=2, cursor=own)).items] == [2, 3]


@given(st.text(max_size=200))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_makes_a_cursor_fail_otherwise(text: str) -> None:
    """Whatever a client sends is a cursor or an InvalidValue."""
    with pytest.raises(InvalidValue):
        events._cursors.decode(text, "context", 1)


async def test_pages_have_a_limit_and_an_order_by_fields(memory: AsyncSession) -> None:
    """An expression has no place to begin after, and a page of nothing no end."""
    with pytest.raises(InvalidQuery):
        await events.page(memory, limit=0)
    with pytest.raises(InvalidQuery):
        await events.page(memory, limit=1, order_by=Event.level + 1)
    page = await events.page(memory, limit=1)
    assert (page.items, page.next_cursor, page.previous_cursor) == ([], None, None)


async def test_a_stream_gives_every_row_and_may_be_left(session: AsyncSession) -> None:
    """Objects and rows, ordered and filtered, to the end or not."""
    await fill(session)
    assert [event.id async for event in events.stream(session, order_by="-id", batch_size=5)] == list(range(13, -1, -1))
    assert [row.id async for row in events.rows.stream(session, where=field("id").lt(3), order_by="id")] == [0, 1, 2]
    async with aclosing(events.rows_of("id").stream(session, order_by="id", batch_size=2)) as stream:
        async for row in stream:
            if row.id == 3:
                break
    assert await events.count(session) == 14


async def test_a_stream_keeps_a_batch_in_memory_not_the_result(session: AsyncSession) -> None:
    """8,192 rows cost no more memory than a few batches."""
    connection = await session.connection()
    await connection.execute(insert(Event), {"id": 0, "kind": "k" * 10, "at": NOON})
    table = Event.__table__
    for power in range(13):
        names = ["id", "kind", "at", "weight", "tenant"]
        doubled = select(table.c.id + 2**power, table.c.kind, table.c.at, table.c.weight, table.c.tenant)
        await connection.execute(insert(Event).from_select(names, doubled, include_defaults=False))
    async with aclosing(events.rows.stream(session, batch_size=100)) as warm_up:
        async for _ in warm_up:
            break
    tracemalloc.start()
    number = 0
    async for _ in events.stream(session, batch_size=200):
        number += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 2**13
    assert peak < 2_500_000
