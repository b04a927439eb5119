"""Writes of single rows: what they change, what they refuse, and how many statements they send."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from sqlalchemy import DateTime, ForeignKey, Index, String, Uuid, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import (
    ForeignKeyViolation,
    InvalidQuery,
    InvalidValue,
    NotNullViolation,
    StaleVersion,
    UniqueViolation,
    UnknownField,
)
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository


class Member(ModelBase):
    __tablename__ = "writing_members"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    handle: Mapped[str] = mapped_column(String(30), unique=True)
    bio: Mapped[str | None] = mapped_column(String(100), default="no bio")
    logins: Mapped[int] = mapped_column(server_default="0")
    renamed: Mapped[str | None] = mapped_column("renamed_column", String(10))
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime, server_default=func.now())
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)


class Seat(ModelBase):
    __tablename__ = "writing_seats"
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    member_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("writing_members.id"))
    note: Mapped[str | None] = mapped_column(String(20))


class Flagged(ModelBase):
    __tablename__ = "writing_flagged"
    id: Mapped[str] = mapped_column(String(10), primary_key=True)
    active: Mapped[bool] = mapped_column(default=True)


class Slot(ModelBase):
    __tablename__ = "writing_slots"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    __table_args__ = (
        Index(
            "uq_writing_slots_name_live",
            "name",
            unique=True,
            postgresql_where=deleted_at.column.is_(None),
            sqlite_where=deleted_at.column.is_(None),
        ).ddl_if(dialect=("postgresql", "sqlite")),
    )


TABLES = [Member.__table__, Seat.__table__, Flagged.__table__, Slot.__table__]
members = SqlRepository(Member, soft_delete=True, version_field="version")
hard = SqlRepository(Member)
seats = SqlRepository(Seat)
by_handle = SqlRepository(Member, id_attr="handle", soft_delete=True)


def one(dialect: str, *, returning: bool) -> int:
    """How many statements a write may send: one, and a SELECT where the database can't return what it wrote."""
    return 1 if returning or dialect not in {"mysql", "mariadb"} else 2


async def test_every_write_sends_one_statement(session: AsyncSession, statements) -> None:
    """One statement each; MariaDB can't return from UPDATE and needs a SELECT after it."""
    dialect = session.get_bind().dialect.name
    for repo in (members, members.rows):
        row = await repo.create(session, {"handle": "a"})
        assert len(statements.taken()) == 1
        assert await repo.update(session, row.id, {"bio": "new"}) is not None
        assert len(statements.taken()) == one(dialect, returning=False)
        assert await repo.delete(session, row.id)
        assert len(statements.taken()) == 1
        assert await repo.restore(session, row.id) is not None
        assert len(statements.taken()) == one(dialect, returning=False)
        assert await repo.purge(session, row.id)
        assert len(statements.taken()) == 1


async def test_a_created_row_comes_with_what_the_database_filled_in(session: AsyncSession) -> None:
    """Defaults of Python and of the server, and a UUIDv7 for a key that nothing else gives."""
    member = await members.create(session, {"handle": "a", "renamed": "x"})
    assert (member.bio, member.logins, member.version, member.renamed) == ("no bio", 0, 1, "x")
    assert member.id.version == 7
    assert member.created_at is not None
    assert member in session
    assert not session.dirty
    row = await members.rows.create(session, {"handle": "b", "id": str(member.id).replace("0", "1", 1)})
    assert isinstance(row.id, uuid.UUID)
    assert row.renamed is None


async def test_none_is_told_from_absent(session: AsyncSession) -> None:
    """A field that is absent keeps its value or takes its default, None is NULL."""
    member = await members.create(session, {"handle": "a", "bio": None, "logins": None})
    assert (member.bio, member.logins) == (None, 0)
    await members.update(session, member.id, {"bio": "x", "renamed": "y"})
    await members.update(session, member.id, {"bio": None})
    assert (member.bio, member.renamed) == (None, "y")
    with pytest.raises(NotNullViolation) as caught:
        await members.update(session, member.id, {"handle": None})
    assert caught.value.columns == ("handle",)
    with pytest.raises(NotNullViolation):
        await members.create(session, {"handle": None})
    assert await members.count(session) == 1


async def test_immutable_and_managed_fields_are_not_set_by_data(session: AsyncSession) -> None:
    """Id and created_at survive an update; deleted_at and version can't be set at all."""
    then = dt.datetime(2000, 1, 1)  # noqa: DTZ001
    member = await members.create(session, {"handle": "a", "deleted_at": then, "version": 9})
    assert (member.deleted_at, member.version) == (None, 1)
    key, created = member.id, member.created_at
    data = {"id": uuid.uuid4(), "created_at": then, "deleted_at": then, "version": 77, "bio": "b"}
    updated = await members.update(session, key, data)
    assert updated is member
    assert (member.id, member.created_at, member.deleted_at, member.version) == (key, created, None, 2)
    assert await members.update(session, key, {"id": uuid.uuid4()}) is member


async def test_unknown_fields_are_refused(session: AsyncSession) -> None:
    """A misspelt field is an error, not silence."""
    for data in ({"handel": "a"}, {"handle": "a", "metadata": 1}, {"renamed_column": "a"}):
        with pytest.raises(UnknownField):
            await members.create(session, data)
    member = await members.create(session, {"handle": "a"})
    with pytest.raises(UnknownField):
        await members.update(session, member.id, {"nothing": 1})


async def test_a_missing_row_gives_none_or_false(session: AsyncSession) -> None:
    """As the predecessor: update gives None, delete False."""
    missing = uuid.uuid4()
    assert await members.update(session, missing, {"bio": "x"}) is None
    assert await members.update(session, missing, {}) is None
    assert await members.delete(session, missing) is False
    assert await members.restore(session, missing) is None
    assert await members.purge(session, missing) is False


async def test_a_soft_deleted_row_is_out_of_reach_until_restored(session: AsyncSession) -> None:
    """No update, no second delete; restore brings it back once, purge removes it."""
    member = await members.create(session, {"handle": "a"})
    assert await members.delete(session, member.id) is True
    assert member.deleted_at is not None
    assert await members.delete(session, member.id) is False
    assert await members.update(session, member.id, {"bio": "x"}) is None
    restored = await members.restore(session, member.id)
    assert restored is member
    assert member.deleted_at is None
    assert await members.restore(session, member.id) is None
    assert await members.purge(session, member.id, deleted="only") is False
    assert await members.purge(session, member.id) is True
    assert member not in session
    assert await members.count(session, deleted="include") == 0


async def test_a_hard_delete_removes_the_row_and_lets_the_object_go(session: AsyncSession) -> None:
    """The session does not write to a row that is gone."""
    member = await hard.create(session, {"handle": "a"})
    member.bio = "pending"
    assert await hard.delete(session, str(member.id)) is True
    assert member not in session
    await session.flush()
    assert await hard.count(session) == 0
    with pytest.raises(InvalidQuery):
        await hard.restore(session, member.id)


async def test_soft_delete_needs_a_nullable_field() -> None:
    """A model without the field fails when the repository is made, not when a row is deleted."""
    with pytest.raises(UnknownField, match="deleted_at"):
        SqlRepository(Seat, soft_delete=True)
    with pytest.raises(UnknownField, match="NOT NULL"):
        SqlRepository(Member, soft_delete=True, soft_delete_field="created_at")
    with pytest.raises(UnknownField):
        SqlRepository(Member, id_attr="uuid")
    with pytest.raises(UnknownField):
        SqlRepository(Member, immutable_fields={"nothing"})
    with pytest.raises(TypeError, match="mapped"):
        SqlRepository(dict)


async def test_a_flag_may_mark_deleted_rows(session: AsyncSession) -> None:
    """The predecessor's boolean flag, true in live rows, works alone too."""
    flagged = SqlRepository(Flagged, soft_delete=True, soft_delete_flag_field="active")
    row = await flagged.create(session, {"id": "a"})
    assert await flagged.delete(session, "a")
    assert row.active is False
    assert await flagged.get(session, "a") is None
    assert await flagged.restore(session, "a") is row


async def test_a_field_other_than_the_primary_key_addresses_rows_in_every_method(session: AsyncSession) -> None:
    """get, get_many, exists, update, delete, restore and purge go by id_attr."""
    await by_handle.create(session, {"handle": "ann"})
    assert await by_handle.get(session, "ann") is not None
    assert len(await by_handle.get_many(session, ["ann", "x"])) == 1
    assert await by_handle.exists(session, "ann")
    assert (await by_handle.update(session, "ann", {"bio": "new"})).bio == "new"
    renamed = await by_handle.update(session, "ann", {"handle": "anna"})
    assert renamed is not None
    assert renamed.handle == "anna"
    assert await by_handle.delete(session, "anna")
    assert await by_handle.restore(session, "anna") is not None
    assert await by_handle.purge(session, "anna")


async def test_composite_keys_work_in_every_method(session: AsyncSession) -> None:
    """A sequence or a mapping addresses a row; a wrong number of parts is refused."""
    assert seats.id_fields == ("row", "number")
    seat = await seats.create(session, {"row": 1, "number": 2})
    await seats.create(session, {"row": 1, "number": 1})
    assert await seats.get(session, (1, 2)) is seat
    assert await seats.get(session, {"number": 2, "row": 1}) is seat
    assert await seats.get_many(session, [(1, 2), (9, 9)]) == [seat]
    assert [s.number for s in await seats.list(session, limit=5)] == [1, 2]
    assert (await seats.update(session, [1, 2], {"note": "n"})) is seat
    assert (await seats.page(session, limit=1)).next_cursor is not None
    for wrong in (1, (1,), (1, 2, 3), {"row": 1}, "12"):
        with pytest.raises(InvalidQuery):
            await seats.get(session, wrong)
    assert await seats.delete(session, (1, 2)) is True
    assert seat not in session


async def test_a_write_with_an_old_version_is_refused(session: AsyncSession) -> None:
    """Optimistic locking: the version read must be the version found, for update and delete."""
    member = await members.create(session, {"handle": "a"})
    assert (await members.update(session, member.id, {"bio": "1"}, version=1)).version == 2
    for write in (
        members.update(session, member.id, {"bio": "2"}, version=1),
        members.update(session, member.id, {}, version=1),
        members.rows.update(session, member.id, {"bio": "2"}, version=1),
        members.delete(session, member.id, version=1),
    ):
        with pytest.raises(StaleVersion):
            await write
    assert member.bio == "1"
    assert await members.update(session, uuid.uuid4(), {"bio": "2"}, version=1) is None
    assert await members.delete(session, member.id, version=2)
    with pytest.raises(InvalidQuery, match="version"):
        await seats.update(session, (1, 1), {"note": "x"}, version=1)


async def test_a_value_may_be_computed_by_the_database(session: AsyncSession) -> None:
    """An expression over columns is set in the statement, without a lost update."""
    member = await members.create(session, {"handle": "a"})
    await members.update(session, member.id, {"logins": Member.logins + 5, "bio": "b"})
    assert (member.logins, member.bio) == (5, "b")


async def test_a_new_row_may_be_computed_by_the_database(session: AsyncSession) -> None:
    """An expression is no parameter: drivers refuse it, and MySQL's would store its text."""
    shout = func.upper("ab")
    assert (await hard.create(session, {"handle": "one", "bio": shout})).bio == "AB"
    assert (await hard.rows_of("bio").create(session, {"handle": "two", "bio": shout})).bio == "AB"
    assert (await by_handle.upsert(session, {"handle": "two", "bio": func.lower("XY")}, on="handle")).bio == "xy"
    rows = [{"handle": f"h{n}", "bio": shout if n == 55 else "b"} for n in range(60)]
    assert [row.bio for row in await hard.create_many(session, rows)] == ["b"] * 55 + ["AB"] + ["b"] * 4
    more = [{**row, "handle": f"more {n}"} for n, row in enumerate(rows)]
    assert await hard.create_many(session, more, returning=False) == 60
    assert await hard.count(session, where=field("bio").eq("AB")) == 3
    with pytest.raises(InvalidValue, match="expression"):
        await by_handle.upsert(session, {"handle": shout}, on="handle")


async def test_refused_data_raises_the_constraint(database: Database) -> None:
    """Unique and foreign key violations are typed, with their columns, on every database."""
    async with database.session() as session:
        await hard.create(session, {"handle": "taken"})
    try:
        with pytest.raises(UniqueViolation) as caught:
            async with database.session() as session:
                await hard.create(session, {"handle": "taken"})
        assert caught.value.columns == ("handle",)
        with pytest.raises(ForeignKeyViolation):
            async with database.session() as session:
                await seats.create(session, {"row": 1, "number": 1, "member_id": uuid.uuid4()})
    finally:
        async with database.session() as session:
            await by_handle.purge(session, "taken")


async def test_a_unique_index_may_ignore_deleted_rows(session: AsyncSession) -> None:
    """With a partial index a deleted row's name is free again, and restoring into a taken name is refused."""
    if session.get_bind().dialect.name not in {"postgresql", "sqlite"}:
        pytest.skip("partial indexes: PostgreSQL and SQLite only")
    slots = SqlRepository(Slot, soft_delete=True)
    first = await slots.create(session, {"name": "a"})
    await slots.delete(session, first.id)
    await slots.create(session, {"name": "a"})
    with pytest.raises(UniqueViolation):
        await slots.restore(session, first.id)


async def test_pending_changes_of_the_session_are_flushed_first(session: AsyncSession) -> None:
    """The repository sees what the session was about to write."""
    session.add(Seat(row=5, number=5))
    assert await seats.get(session, (5, 5)) is not None
    seat = await seats.get(session, (5, 5))
    assert seat is not None
    seat.note = "dirty"
    assert (await seats.rows.get(session, (5, 5))).note == "dirty"
