"""What a tenant's row refers to is the tenant's own: another tenant's row is refused as one that never was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import DateTime, ForeignKey, ForeignKeyConstraint, String, UniqueConstraint, event, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.errors import ForeignKeyViolation
from svc_infra.db.sql.repository import SqlRepository


class Rack(ModelBase):
    __tablename__ = "references_shelves"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(String(5))
    code: Mapped[str] = mapped_column(String(5))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    __table_args__ = (UniqueConstraint("tenant_id", "id"), UniqueConstraint("code"))


class Dye(ModelBase):
    __tablename__ = "references_colours"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Volume(ModelBase):
    __tablename__ = "references_books"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(String(5))
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("references_shelves.id"))
    code: Mapped[str | None] = mapped_column("shelf_code", ForeignKey("references_shelves.code"))
    colour_id: Mapped[int | None] = mapped_column(ForeignKey("references_colours.id"))
    sequel_id: Mapped[int | None] = mapped_column(ForeignKey("references_books.id"))
    title: Mapped[str | None] = mapped_column(String(10))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)


class Crate(ModelBase):
    """Its foreign key includes the tenant."""

    __tablename__ = "references_boxes"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(String(5))
    shelf_id: Mapped[int | None]
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "shelf_id"], ["references_shelves.tenant_id", "references_shelves.id"], name="fk_box_shelf"
        ),
    )


class Machine(ModelBase):
    __tablename__ = "references_machines"
    key: Mapped[int] = mapped_column("machine_key", primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column("tenant", String(5))
    kind: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "machine"}  # noqa: RUF012


class Robot(Machine):
    """Has a table of its own, whose key refers to the other one."""

    __tablename__ = "references_robots"
    key: Mapped[int] = mapped_column("robot_key", ForeignKey("references_machines.machine_key"), primary_key=True)
    maker_key: Mapped[int | None] = mapped_column(ForeignKey("references_robots.robot_key"))
    __mapper_args__ = {"polymorphic_identity": "robot"}  # noqa: RUF012


TABLES = [Rack.__table__, Dye.__table__, Volume.__table__, Crate.__table__, Machine.__table__, Robot.__table__]
shelves, books = SqlRepository(Rack, soft_delete=True), SqlRepository(Volume, soft_delete=True)
ours, theirs = books.scoped({"tenant_id": "a"}), books.scoped({"tenant_id": "b"})

OURS, THEIRS, DELETED, MISSING = 1, 2, 3, 99


@pytest.fixture
async def shelved(session: AsyncSession) -> AsyncSession:
    """A session with a shelf of ours, one of theirs and a deleted one of ours."""
    for key, tenant in [(OURS, "a"), (THEIRS, "b"), (DELETED, "a")]:
        await shelves.create(session, {"id": key, "tenant_id": tenant, "code": f"c{key}"})
    await shelves.delete(session, DELETED)
    return session


WRITES: dict[str, Callable[[AsyncSession, int], Awaitable[Any]]] = {
    "create": lambda session, shelf: ours.create(session, {"id": 5, "shelf_id": shelf}),
    "create rows": lambda session, shelf: ours.rows.create(session, {"id": 5, "shelf_id": shelf}),
    "create by code": lambda session, shelf: ours.create(session, {"id": 5, "shelf_id": 1, "code": f"c{shelf}"}),
    "create many": lambda session, shelf: ours.create_many(
        session, [{"id": 5, "shelf_id": OURS}, {"id": 6, "shelf_id": shelf}]
    ),
    "send many": lambda session, shelf: ours.create_many(
        session, [{"id": 100 + n, "shelf_id": OURS if n != 77 else shelf} for n in range(100)], returning=False
    ),
    "upsert": lambda session, shelf: ours.upsert(session, {"id": 5, "shelf_id": shelf}),
    "upsert one that is there": lambda session, shelf: ours.upsert(session, {"id": 10, "shelf_id": shelf}),
    "upsert many": lambda session, shelf: ours.upsert_many(
        session, [{"id": 10, "shelf_id": OURS}, {"id": 6, "shelf_id": shelf}]
    ),
    "update": lambda session, shelf: ours.update(session, 10, {"shelf_id": shelf}),
    "update rows": lambda session, shelf: ours.rows.update(session, 10, {"shelf_id": shelf}),
    "update by expression": lambda session, shelf: ours.update(session, 10, {"shelf_id": Volume.id - 10 + shelf}),
    "update many": lambda session, shelf: ours.update_many(session, {"shelf_id": shelf}, where=[]),
    "update many by id": lambda session, shelf: ours.update_many(session, {"shelf_id": shelf}, ids=[10]),
    "scoped further": lambda session, shelf: ours.scoped({"shelf_id": shelf}).create(session, {"id": 5}),
}


@pytest.mark.parametrize("name", WRITES)
async def test_another_tenant_s_row_is_refused_as_one_that_never_was(shelved: AsyncSession, name: str) -> None:
    """The same error in every part for another's, a deleted and a missing row; one's own goes through."""
    write = WRITES[name]
    if name.endswith("many") and "update" not in name and shelved.get_bind().dialect.name == "duckdb":
        pytest.skip("DuckDB has no savepoints, so a refused write of many undoes the whole transaction")
    await ours.create(shelved, {"id": 10, "shelf_id": OURS})
    told = []
    for shelf in (MISSING, THEIRS, DELETED):
        with pytest.raises(ForeignKeyViolation) as caught:
            await write(shelved, shelf)
        error = caught.value
        told.append((str(error), error.constraint, error.columns, error.table, error.row))
        assert [(b.id, b.shelf_id) for b in await ours.rows.list(shelved, limit=5)] == [(10, OURS)]
    assert told[0] == told[1] == told[2]
    assert told[0][2:4] == (("shelf_code",) if "code" in name else ("shelf_id",), "references_books")
    await write(shelved, OURS)


async def test_what_a_row_refers_to_already_may_stay(shelved: AsyncSession) -> None:
    """A write that repeats the value of a foreign key to a row that is invisible by now changes nothing of it."""
    if shelved.get_bind().dialect.name == "duckdb":
        pytest.skip("DuckDB refuses to update a row that refers to one of the same transaction")
    await books.create(shelved, {"id": 10, "tenant_id": "a", "shelf_id": THEIRS, "code": "c3"})
    same = {"shelf_id": THEIRS, "code": "c3", "title": "x"}
    assert (await ours.update(shelved, 10, same)).title == "x"
    assert (await ours.rows.update(shelved, 10, {**same, "title": "y"})).title == "y"
    assert await ours.update_many(shelved, same, where=[]) == 1
    assert (await ours.upsert(shelved, {"id": 10, **same})).title == "x"
    assert [b.id for b in await ours.upsert_many(shelved, [{"id": 11}, {"id": 10, **same}])] == [11, 10]
    assert (await ours.upsert(shelved, {"id": 10, "shelf_id": DELETED}, update=["title"])).shelf_id == THEIRS
    for write in (
        ours.update(shelved, 10, {"shelf_id": DELETED, "code": "c3"}),
        ours.update_many(shelved, same, where=[]),
        ours.upsert(shelved, {"id": 10, "shelf_id": DELETED}),
    ):
        with pytest.raises(ForeignKeyViolation):
            await write
    assert (await ours.update(shelved, 10, {"shelf_id": None, "code": None})).shelf_id is None
    assert await ours.update(shelved, 99, {"shelf_id": THEIRS}) is None


async def test_rows_of_a_batch_may_refer_to_each_other(shelved: AsyncSession) -> None:
    """And a row to itself; but not by a key that the write does not bring about."""
    if shelved.get_bind().dialect.name == "duckdb":
        pytest.skip("DuckDB looks for what a row refers to among those of earlier statements")
    rows = [{"id": 1, "sequel_id": 2}, {"id": 2, "sequel_id": None}, {"id": 3, "sequel_id": 3}]
    if shelved.get_bind().dialect.name in {"postgresql", "sqlite"}:
        assert [b.sequel_id for b in await ours.create_many(shelved, rows)] == [2, None, 3]
    else:  # MariaDB checks row by row
        assert len(await ours.create_many(shelved, [rows[1], rows[0], rows[2]])) == 3
    assert (await ours.create(shelved, {"id": 4, "sequel_id": 4})).sequel_id == 4
    assert len(await ours.upsert_many(shelved, [{"id": 5, "sequel_id": 4}, {"id": 6, "sequel_id": 5}])) == 2
    await theirs.create(shelved, {"id": 7})
    by_title = SqlRepository(Volume, soft_delete=True).scoped({"tenant_id": "a"})
    with pytest.raises(ForeignKeyViolation):
        await by_title.upsert_many(shelved, [{"id": 8, "sequel_id": 7}, {"id": 9}])


async def test_only_what_could_lead_out_costs_a_statement(shelved: AsyncSession, statements) -> None:
    """None for other fields, NULL, keys to global rows, keys with the tenant in them and repositories of all rows."""
    boxes = SqlRepository(Crate).scoped({"tenant_id": "a"})
    await books.create(shelved, {"id": 10, "tenant_id": "a", "shelf_id": THEIRS})
    await SqlRepository(Dye).create(shelved, {"id": 1})
    statements.taken()
    rows = ours.rows
    returns_updated = shelved.get_bind().dialect.update_returning
    cases = [
        (1, lambda: rows.create(shelved, {"id": 20, "colour_id": 1, "shelf_id": None})),
        (1, lambda: rows.create_many(shelved, [{"id": n, "title": "x"} for n in range(21, 25)])),
        (1, lambda: boxes.rows.create(shelved, {"id": 1, "shelf_id": OURS})),
        (2 - returns_updated, lambda: rows.update(shelved, 20, {"title": "x", "shelf_id": None})),
        (2, lambda: rows.create(shelved, {"id": 30, "shelf_id": OURS, "code": "c1", "sequel_id": 20})),
        (2, lambda: rows.create_many(shelved, [{"id": n, "shelf_id": OURS, "code": "c1"} for n in range(31, 35)])),
    ]
    if shelved.get_bind().dialect.name != "duckdb":  # it can't change a foreign key of a row whose key is referred to
        cases += [
            (3 - returns_updated, lambda: rows.update(shelved, 20, {"shelf_id": OURS, "code": "c1"})),
            (2, lambda: rows.update_many(shelved, {"shelf_id": OURS}, where=[])),
        ]
    for number, write in cases:
        await write()
        sent = [each for each in statements.taken() if "SAVEPOINT" not in each]
        assert len(sent) == number, sent
    if shelved.get_bind().dialect.name != "duckdb":
        with pytest.raises(ForeignKeyViolation):
            await boxes.create(shelved, {"id": 2, "shelf_id": THEIRS})


async def test_writes_through_the_unit_of_work_are_checked_too(shelved: AsyncSession) -> None:
    """As of a model with listeners, for which expressions can be given when rows are created."""

    def listen(*_: object) -> None: ...

    event.listen(Volume, "before_insert", listen)
    try:
        for value in (THEIRS, select(literal(THEIRS)).scalar_subquery()):
            with pytest.raises(ForeignKeyViolation):
                await ours.create(shelved, {"id": 5, "shelf_id": value})
        with pytest.raises(ForeignKeyViolation) as caught:
            await ours.upsert_many(shelved, [{"id": 5, "shelf_id": OURS}, {"id": 6, "shelf_id": THEIRS}])
        assert caught.value.row == 1
        made = await ours.create(shelved, {"id": 5, "shelf_id": select(literal(OURS)).scalar_subquery()})
        assert made.shelf_id == OURS
        with pytest.raises(ForeignKeyViolation):
            await ours.update(shelved, 5, {"shelf_id": THEIRS})
    finally:
        event.remove(Volume, "before_insert", listen)


async def test_an_object_of_two_tables_refers_to_others_only(session: AsyncSession) -> None:
    """The key that joins its tables is no reference; the scope of what it refers to stands in the other table."""
    robots = SqlRepository(Robot)
    our_robots, their_robots = robots.scoped({"tenant_id": "a"}), robots.scoped({"tenant_id": "b"})
    await our_robots.create(session, {"key": 1})
    await their_robots.create(session, {"key": 2})
    assert (await our_robots.create(session, {"key": 3, "maker_key": 1})).maker_key == 1
    for write in (
        our_robots.create(session, {"key": 4, "maker_key": 2}),
        our_robots.create_many(session, [{"key": 4, "maker_key": 4}, {"key": 5, "maker_key": 2}]),
        our_robots.upsert(session, {"key": 3, "maker_key": 2}),
        our_robots.update(session, 3, {"maker_key": 2}),
        our_robots.update_many(session, {"maker_key": 2}, where=[]),
    ):
        if session.get_bind().dialect.name == "duckdb" and "create_many" in str(write):
            write.close()  # it would undo the transaction
            continue
        with pytest.raises(ForeignKeyViolation):
            await write
    assert await our_robots.count(session) == 2
