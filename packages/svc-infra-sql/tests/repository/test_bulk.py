"""Writes of many rows: all or nothing, with the index of what was refused, by few statements."""

from __future__ import annotations

import datetime as dt
import tracemalloc
import uuid
from collections.abc import Iterator
from resource import RUSAGE_SELF, getrusage

import pytest
from sqlalchemy import JSON, DateTime, String, UniqueConstraint, Uuid, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, UniqueViolation, UnknownField
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.rls import bind_tenant, tenant_policy


class Gadget(ModelBase):
    __tablename__ = "bulk_gadgets"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    code: Mapped[str] = mapped_column(String(30), unique=True)
    name: Mapped[str | None] = mapped_column(String(30), default="unnamed")
    price: Mapped[int] = mapped_column(server_default="7")
    extra: Mapped[object | None] = mapped_column(JSON(none_as_null=True))
    version: Mapped[int] = mapped_column(default=1)
    touched: Mapped[str | None] = mapped_column(String(10), onupdate="yes")
    tenant: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime, server_default=func.now())
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)


class Counter(ModelBase):
    __tablename__ = "bulk_counters"
    tenant: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(30), primary_key=True)
    value: Mapped[int] = mapped_column(default=0)


class Alias(ModelBase):
    __tablename__ = "bulk_aliases"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[int]
    name: Mapped[str] = mapped_column(String(30))
    note: Mapped[str | None] = mapped_column(String(30))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    __table_args__ = (UniqueConstraint("tenant", "name"),)


class Counted(ModelBase):
    __tablename__ = "bulk_counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))


TABLES = [Counted.__table__, Gadget.__table__, Counter.__table__, Alias.__table__]
gadgets = SqlRepository(Gadget, soft_delete=True, version_field="version")
hard = SqlRepository(Gadget)
counters = SqlRepository(Counter)
aliases = SqlRepository(Alias, soft_delete=True)


def rows(number: int, start: int = 0) -> Iterator[dict[str, object]]:
    """Rows with a code each."""
    return ({"code": f"c{n}", "extra": {"n": n}} for n in range(start, start + number))


async def test_many_rows_come_back_in_the_order_given(session: AsyncSession) -> None:
    """Objects and rows, whatever fields each row gives."""
    mixed = [{"code": "b"}, {"code": "a", "price": 1}, {"code": "c"}, {"code": "d", "name": None, "price": 2}]
    found = await gadgets.create_many(session, mixed)
    assert [(g.code, g.name, g.price) for g in found] == [
        ("b", "unnamed", 7), ("a", "unnamed", 1), ("c", "unnamed", 7), ("d", None, 2),
    ]  # fmt: skip
    assert found[0] is await gadgets.get(session, found[0].id)
    assert [row.code for row in await gadgets.rows.create_many(session, rows(120))] == [f"c{n}" for n in range(120)]
    assert await gadgets.create_many(session, []) == []


async def test_rows_that_are_not_returned_go_by_few_statements(session: AsyncSession, statements) -> None:
    """Their number comes back; defaults of Python and the server are filled in as ever."""
    assert await gadgets.create_many(session, rows(300), returning=False) == 300
    sent = [statement for statement in statements.taken() if "SAVEPOINT" not in statement]
    assert len(sent) <= 1
    gadget = (await gadgets.list(session, limit=1, where=field("code").eq("c250")))[0]
    assert (gadget.name, gadget.price, gadget.version, gadget.extra) == ("unnamed", 7, 1, {"n": 250})
    assert await gadgets.count(session, where=field("extra").is_null()) == 0


async def test_a_refused_row_is_named_and_nothing_is_left_of_the_others(database: Database) -> None:
    """Of unknown names, bad values and taken keys, in any batch; the session goes on."""
    cases = [
        ({"code": "x", "nothing": 1}, UnknownField),
        ({"code": 5}, InvalidValue),
        ({"code": "c3"}, UniqueViolation if database.engine.dialect.name != "duckdb" else IntegrityViolation),
    ]
    for returning, size in ((True, 30), (False, 30), (False, 60), (False, 500)):
        for bad, error in cases:
            async with database.session() as session:
                given = [*rows(70), bad, *rows(70, 1000)]
                with pytest.raises(error) as caught:
                    await gadgets.create_many(session, given, returning=returning, batch_size=size)
                if error is not IntegrityViolation:  # DuckDB, which has no savepoints to find the row by
                    assert caught.value.row == 70
                assert await gadgets.count(session) == 0


async def test_progress_is_told_after_each_batch(session: AsyncSession) -> None:
    """With the rows written so far; an exception of the callback undoes all."""
    told: list[int] = []
    await gadgets.create_many(session, rows(25), returning=False, batch_size=10, progress=told.append)
    assert told == [10, 20, 25]


async def test_an_iterator_is_read_a_batch_at_a_time(session: AsyncSession) -> None:
    """Memory does not grow with the number of rows."""
    number = 3_000
    await gadgets.create_many(session, rows(600, 10**6), returning=False, batch_size=200)
    tracemalloc.start()
    await gadgets.create_many(session, rows(number), returning=False, batch_size=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert await gadgets.count(session) == number + 600


async def test_many_rows_are_changed_and_deleted_by_one_statement(session: AsyncSession, statements) -> None:
    """update_many, delete_many, restore_many and purge_many, by conditions or ids; held objects follow."""
    made = await gadgets.create_many(session, rows(6))
    statements.taken()
    assert await gadgets.rows.update_many(session, {"price": 1, "version": 99}, where=field("code").le("c2")) == 3
    changed = statements.taken()
    assert (len([s for s in changed if s.startswith("UPDATE")]), made[0].price, made[0].version) == (1, 1, 2)
    assert await gadgets.update_many(session, {"price": Gadget.price + 1}, ids=[made[0].id, str(made[5].id)]) == 2
    assert [g.price for g in made] == [2, 1, 1, 7, 7, 8]
    assert await gadgets.delete_many(session, ids=[g.id for g in made[:2]]) == 2
    assert made[0].deleted_at is not None
    assert await gadgets.delete_many(session, where=[]) == 4
    assert await gadgets.update_many(session, {"price": 0}, where=[]) == 0
    assert await gadgets.count(session) == 0
    assert await gadgets.restore_many(session, where=field("code").eq("c1")) == 1
    assert made[1].deleted_at is None
    assert await gadgets.purge_many(session, where=[]) == 5
    assert made[0] not in session
    assert made[1] in session
    assert await hard.delete_many(session, where=[]) == 1
    for call in (gadgets.update_many(session, {"price": 1}), gadgets.delete_many(session), gadgets.purge_many(session)):
        with pytest.raises(InvalidQuery, match="where"):
            await call
    with pytest.raises(InvalidQuery):
        await hard.restore_many(session, where=[])


async def test_upsert_inserts_or_updates_by_any_unique_key(session: AsyncSession, statements) -> None:
    """In one statement; the key, immutable and absent fields of the row that is there stay."""
    first = await gadgets.upsert(session, {"code": "a", "price": 1}, on="code")
    assert (first.price, first.version, first.touched) == (1, 1, None)
    assert len(statements.taken()) == 1
    second = await gadgets.upsert(session, {"code": "a", "price": 2, "id": uuid.uuid4()}, on="code")
    assert second is first
    assert (first.price, first.version, first.touched, first.name) == (2, 2, "yes", "unnamed")
    third = await gadgets.upsert(session, {"code": "a", "price": 3, "name": "n"}, on="code", update=["name"])
    assert (third.price, third.name) == (2, "n")
    assert (await gadgets.upsert(session, {"code": "a", "price": 9}, on="code", update=[])).price == 2
    assert (await gadgets.upsert(session, {"id": first.id, "code": "b"})).code == "b"
    assert await gadgets.count(session) == 1
    for on in ("price", ["code", "price"], "nothing"):
        with pytest.raises(InvalidQuery):
            await gadgets.upsert(session, {"code": "a", "price": 1}, on=on)
    with pytest.raises(InvalidQuery, match="lack"):
        await gadgets.upsert(session, {"price": 1}, on="code")


async def test_upsert_many_keeps_the_order_and_is_all_or_nothing(session: AsyncSession) -> None:
    """New and known keys mixed, composite keys, and no key twice."""
    await counters.create(session, {"tenant": 1, "name": "b", "value": 1})
    given = [{"tenant": 1, "name": name, "value": 5} for name in "cba"]
    found = await counters.upsert_many(session, given)
    assert [(c.name, c.value) for c in found] == [("c", 5), ("b", 5), ("a", 5)]
    assert await counters.rows.upsert_many(session, []) == []
    with pytest.raises(InvalidQuery) as caught:
        await counters.upsert_many(session, [*given, {"tenant": 1, "name": "a", "value": 6}])
    assert caught.value.row == 3
    assert await counters.count(session) == 3


async def test_an_upsert_touches_no_row_that_is_deleted_or_out_of_scope(database: Database) -> None:
    """Its key is taken all the same, which is a UniqueViolation, and the row stays as it is."""
    async with database.session() as session:
        await aliases.create(session, {"tenant": 1, "name": "gone", "note": "old"})
        await aliases.delete(session, (await aliases.first(session)).id)
        await gadgets.create(session, {"code": "theirs", "tenant": 2, "price": 3})
        one, mine = gadgets.scoped({"tenant": 1}), aliases.scoped({"tenant": 1})
        with pytest.raises(UniqueViolation):
            await mine.upsert(session, {"name": "gone", "note": "new"}, on="name")
        with pytest.raises(UniqueViolation):
            await one.upsert_many(session, [{"code": "own"}, {"code": "theirs", "price": 4}], on="code")
        if database.engine.dialect.name != "duckdb":
            assert (await gadgets.first(session)).price == 3
            assert (await aliases.first(session, deleted="only")).note == "old"
            assert await one.count(session) == 0
        assert (await mine.upsert(session, {"name": "new", "note": "n"}, on="name")).tenant == 1
        await session.rollback()


async def test_keys_that_the_database_counts_come_back_in_order(session: AsyncSession) -> None:
    """Many rows whose key the database makes, and rows of the form without the key."""
    if session.get_bind().dialect.name == "duckdb":
        pytest.skip("DuckDB counts no key up by itself")
    counted = SqlRepository(Counted)
    found = await counted.create_many(session, ({"name": f"n{n}"} for n in range(120)))
    assert [row.name for row in found] == [f"n{n}" for n in range(120)]
    assert [row.id for row in found] == sorted(row.id for row in found)
    names = await counted.rows_of("name").create_many(session, ({"name": f"m{n}"} for n in range(60)))
    assert [tuple(row) for row in names] == [(f"m{n}",) for n in range(60)]


async def test_copy_works_with_psycopg_and_gives_way_to_row_level_security(postgres_url: str) -> None:
    """COPY is refused on a table with policies, so the rows go as arrays there."""
    for driver in ("psycopg", "asyncpg"):
        async with Database(postgres_url.replace("postgresql:", f"postgresql+{driver}:", 1)) as database:
            async with database.engine.begin() as connection:
                await connection.run_sync(ModelBase.metadata.create_all, tables=TABLES)
            async with database.session() as session:
                assert await gadgets.create_many(session, rows(200), returning=False) == 200
                assert await gadgets.count(session, where=field("price").eq(7)) == 200
                with pytest.raises(UniqueViolation) as caught:
                    await gadgets.create_many(session, [*rows(100, 500), *rows(1)], returning=False)
                assert caught.value.row == 100
                await session.rollback()
            async with database.engine.begin() as connection:
                for statement in tenant_policy(Gadget, tenant_field="tenant"):
                    await connection.execute(text(statement))
            async with database.session() as session:
                await bind_tenant(session, 3)
                scoped = gadgets.scoped({"tenant": 3})
                mixed = [*({"code": f"few {n}"} for n in range(3)), *rows(150)]  # so few that they go by INSERT
                assert await scoped.create_many(session, mixed, returning=False, batch_size=80) == 153
                assert await gadgets.count(session) == 153
                await session.rollback()
            for refused in (None, 1000):
                # A connection of its own, which has not refused COPY: the first part is under way when it does.
                await database.engine.dispose()
                async with AsyncSession(database.engine) as session:
                    await bind_tenant(session, 3)
                    given = [*rows(1000), *(rows(1) if refused else ()), *rows(100, 2000)]
                    if refused is None:
                        assert await scoped.create_many(session, given, returning=False) == 1100
                        assert await gadgets.count(session) == 1100
                    else:
                        with pytest.raises(UniqueViolation) as caught:
                            await scoped.create_many(session, given, returning=False)
                        assert caught.value.row == refused
                        assert await gadgets.count(session) == 0
            async with database.engine.begin() as connection:
                await connection.run_sync(ModelBase.metadata.drop_all, tables=TABLES)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_million_rows_go_in_in_constant_memory(postgres_url: str) -> None:
    """With progress after each batch, and no more memory at the end than after the first of them."""
    async with Database(postgres_url) as database, database.session() as session:
        connection = await session.connection()
        await connection.run_sync(ModelBase.metadata.create_all, tables=TABLES)
        peaks: list[int] = []
        counts: list[int] = []

        def told(count: int) -> None:
            counts.append(count)
            peaks.append(getrusage(RUSAGE_SELF).ru_maxrss)

        assert await gadgets.create_many(session, rows(1_000_000), returning=False, progress=told) == 1_000_000
        assert counts == list(range(5_000, 1_000_001, 5_000))
        assert peaks[-1] - peaks[4] < 20_000  # KiB
        assert await gadgets.count(session) == 1_000_000
        await session.rollback()
