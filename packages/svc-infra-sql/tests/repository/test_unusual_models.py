"""Models whose columns have names, types or collations that a repository could trip over."""

from __future__ import annotations

import enum
from decimal import Decimal

import pytest
from sqlalchemy import Enum, ForeignKey, Index, String, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, StaleVersion, UniqueViolation, UnknownField
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.mixins import SoftDelete
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.types import ExactDecimal


class Named(ModelBase):
    __tablename__ = "given"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id_id: Mapped[int]
    ids: Mapped[int]
    limit: Mapped[int]
    filter_0: Mapped[int]
    scope_ids: Mapped[int]
    expected_version: Mapped[int]
    version: Mapped[int] = mapped_column(default=1)


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"
    HUGE = "h"


class Sized(ModelBase):
    __tablename__ = "unusual_sized"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[Size]
    short: Mapped[Size | None] = mapped_column(
        Enum(Size, name="unusual_short", values_callable=lambda kind: [each.value for each in kind])
    )


class Mailed(ModelBase):
    __tablename__ = "unusual_mailed"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    email: Mapped[str] = mapped_column(String(40), unique=True)
    phone: Mapped[str | None] = mapped_column(String(40), unique=True)


class Renamed(ModelBase):
    __tablename__ = "Unusual Renamed"
    key: Mapped[int] = mapped_column("Primary Key", primary_key=True, autoincrement=False)
    order: Mapped[str] = mapped_column("select", String(20))


class Checked(ModelBase):
    __tablename__ = "unusual_checked"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(20))
    length: Mapped[int] = mapped_column(
        default=0, onupdate=lambda context: len(context.get_current_parameters()["name"])
    )
    revision: Mapped[int] = mapped_column(default=1)

    @validates("name")
    def upper(self, _key: str, value: str) -> str:
        return value.upper()


class Keyed(ModelBase):
    __tablename__ = "unusual_keyed"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(20))
    turn: Mapped[int]
    __table_args__ = (UniqueConstraint("turn", deferrable=True, initially="DEFERRED"),)


Index("unusual_keyed_name", func.lower(Keyed.name), unique=True)


class Owned(ModelBase):
    __tablename__ = "unusual_owned"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(20))
    length: Mapped[int] = mapped_column(
        default=0, onupdate=lambda context: len(context.get_current_parameters()["name"])
    )
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("unusual_checked.id"))
    owner: Mapped[Checked | None] = relationship()


class Priced(ModelBase):
    __tablename__ = "unusual_priced"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    price: Mapped[Decimal] = mapped_column(ExactDecimal(8, 2))


class Address(ModelBase):
    __tablename__ = "unusual_addresses"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    network: Mapped[str] = mapped_column(String(40).with_variant(INET(), "postgresql"))


class Crew(ModelBase):
    __tablename__ = "unusual_teams"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    org: Mapped[int] = mapped_column("organisation")
    name: Mapped[str | None] = mapped_column(String(20), unique=True)
    members: Mapped[list[Mate]] = relationship(lazy="selectin", order_by=lambda: Mate.id)


class Mate(SoftDelete, ModelBase):
    __tablename__ = "unusual_members"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    org: Mapped[int] = mapped_column("organisation")
    team_id: Mapped[int] = mapped_column(ForeignKey("unusual_teams.id"))
    team: Mapped[Crew] = relationship(lazy="joined", viewonly=True)


TABLES = [
    Crew.__table__,
    Mate.__table__,
    Priced.__table__,
    Address.__table__,
    Checked.__table__,
    Owned.__table__,
    Renamed.__table__,
    Named.__table__,
    Sized.__table__,
    Mailed.__table__,
]


async def test_a_column_may_be_called_as_a_parameter(session: AsyncSession) -> None:
    """No name of a table or column is taken: neither `id_id` nor `ids` nor `given`."""
    repo = SqlRepository(Named, version_field="version")
    names = ("id_id", "ids", "limit", "filter_0", "scope_ids", "expected_version")
    await repo.create_many(session, [{"id": i, **dict.fromkeys(names, i)} for i in range(4)])
    values = dict.fromkeys(names, 9)
    row = await repo.update(session, 0, values, version=1)
    assert row is not None
    assert [getattr(row, name) for name in names] == [9] * 6
    assert await repo.update_many(session, values, ids=[1]) == 1
    assert await repo.update_many(session, values, where=field("ids").eq(2)) == 1
    scoped = repo.scoped({"ids": 9})
    assert [each is not None for each in await scoped.update_each(session, [Change(i, values) for i in range(4)])] == [
        True,
        True,
        True,
        False,
    ]
    assert await scoped.delete(session, 0, version=3)


async def test_rows_have_the_fields_names(session: AsyncSession) -> None:
    """Rows are read by the attributes' names, also where the columns have others, and of however many rows."""
    rows = SqlRepository(Renamed).rows
    assert (await rows.create(session, {"key": 0, "order": "a"})).order == "a"
    many = await rows.create_many(session, [{"key": i, "order": f"o{i}"} for i in range(1, 70)])
    assert [row.order for row in many[:2]] == ["o1", "o2"]
    assert (await rows.upsert(session, {"key": 1, "order": "b"})).order == "b"
    assert [row.key for row in await rows.list(session, limit=2)] == [0, 1]


@pytest.mark.parametrize("order", ["size", "-size", "short", "-short"])
async def test_pages_follow_the_order_of_an_enumeration(session: AsyncSession, order: str) -> None:
    """By cursor come the rows of the list, also where the database compares members otherwise than it orders them."""
    repo = SqlRepository(Sized)
    rows = [{"id": i, "size": [*Size][i % 3], "short": [*Size, None][i % 4]} for i in range(12)]
    await repo.create_many(session, rows)
    wanted = [row.id for row in await repo.list(session, limit=99, order_by=order)]
    found: list[int] = []
    page = await repo.page(session, limit=5, order_by=order)
    while True:
        found += [row.id for row in page.items]
        if page.next_cursor is None:
            break
        page = await repo.page(session, limit=5, order_by=order, cursor=page.next_cursor)
    assert found == wanted
    assert page.previous_cursor is not None
    before = await repo.page(session, limit=5, order_by=order, cursor=page.previous_cursor)
    assert [row.id for row in before.items] == wanted[5:10]


async def test_an_upsert_knows_its_row_as_the_database_does(session: AsyncSession, kept_url: str) -> None:
    """Where the collation takes "A" for "a", an upsert of either is of the same row, and no conflict."""
    if not kept_url.startswith("mysql"):
        pytest.skip("the collation tells letters' case apart")
    repo = SqlRepository(Mailed)
    await repo.create_many(session, [{"id": 1, "email": "a@x", "phone": "1"}, {"id": 2, "email": "b@x", "phone": "2"}])
    row = await repo.upsert(session, {"id": 7, "email": "A@x", "phone": "3"}, on="email")
    assert (row.id, row.phone) == (1, "3")
    with pytest.raises(UniqueViolation):
        await repo.upsert(session, {"id": 8, "email": "c@x", "phone": "2"}, on="email")


async def test_every_write_of_a_validated_model_counts_its_version(session: AsyncSession) -> None:
    """A version field that the mapper does not know is counted where the ORM writes, too, one row or many."""
    repo = SqlRepository(Checked, version_field="revision")
    await repo.create_many(session, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    assert await repo.update_many(session, {"name": "c"}, ids=[1, 2]) == 2
    row = await repo.upsert(session, {"id": 1, "name": "d"})
    assert (row.name, row.revision) == ("D", 3)
    assert (await repo.get_one(session, 2)).revision == 2


async def test_a_validated_model_loses_no_update(database: Database) -> None:
    """The version is compared with that in the database, not with that of an object read before another's update."""
    repo = SqlRepository(Checked, version_field="revision")
    async with database.session() as session:
        await repo.create_many(session, [{"id": 11, "name": "a"}, {"id": 12, "name": "b"}])
    mine = AsyncSession(database.engine, expire_on_commit=False)
    kept = [await repo.get_one(mine, 11), await repo.get_one(mine, 12)]
    await mine.commit()
    async with database.session() as session:
        await repo.update_many(session, {"name": "other"}, ids=[11, 12])
    with pytest.raises(StaleVersion):
        await repo.update(mine, 11, {"name": "mine"}, version=1)
    with pytest.raises(StaleVersion):
        await repo.delete(mine, 12, version=1)
    assert await repo.delete(mine, 12, version=2)
    assert kept[0].name == "OTHER"
    await mine.close()


async def test_what_an_upsert_or_an_order_cannot_do_is_an_error_of_the_query(session: AsyncSession) -> None:
    """Neither an onupdate that asks for its statement nor a relationship in an order or a condition fails elsewhere."""
    repo = SqlRepository(Owned)
    await repo.create(session, {"id": 1, "name": "a"})
    assert (row := await repo.update(session, 1, {"name": "abc"})) is not None
    assert row.length == 3
    for key in ("name", "turn"):  # an index of an expression, a constraint checked at the end of the transaction
        with pytest.raises(InvalidQuery, match="no unique key"):
            await SqlRepository(Keyed).upsert(session, {"id": 1, "name": "a", "turn": 4}, on=key)
    with pytest.raises(UnknownField, match="Integer"):
        SqlRepository(Keyed, version_field="name")
    with pytest.raises(InvalidQuery, match="onupdate of"):
        await repo.upsert(session, {"id": 1, "name": "abcd"})
    for kind in (repo, repo.rows):
        with pytest.raises(InvalidQuery):
            await kind.list(session, limit=1, order_by=[Owned.owner])
        with pytest.raises(InvalidQuery):
            await kind.list(session, limit=1, where=[Owned.owner])
    assert await repo.count(session) == 1


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), "1.5", b"1", [], Decimal("999999.995")])
async def test_an_exact_decimal_takes_numbers_that_it_can_hold(session: AsyncSession, value: object) -> None:
    """Anything else is refused before it is sent, in a write and in a filter, and the session goes on."""
    repo = SqlRepository(Priced)
    with pytest.raises(InvalidValue):
        await repo.create(session, {"id": 1, "price": value})
    with pytest.raises(InvalidValue):
        await repo.count(session, where=field("price").gt(value))
    assert (await repo.create(session, {"id": 1, "price": Decimal("1.5")})).price == Decimal("1.50")


async def test_many_changes_of_a_type_that_only_the_database_knows(session: AsyncSession) -> None:
    """A column of such a type is set in many rows, each by a value of its own."""
    repo = SqlRepository(Address)
    await repo.create_many(session, [{"id": i, "network": "10.0.0.1"} for i in range(3)])
    await repo.update_each(session, [Change(i, {"network": f"10.0.0.{i + 5}"}) for i in range(3)])
    session.expunge_all()
    assert [str(row.network) for row in await repo.list(session, limit=9)] == ["10.0.0.5", "10.0.0.6", "10.0.0.7"]


async def test_what_a_model_loads_eagerly_is_the_scope_s(session: AsyncSession) -> None:
    """Another tenant's rows that refer to a row are not shown with it, whoever asked for them."""
    teams = SqlRepository(Crew).scoped({"org": 1})
    await teams.create(session, {"id": 1})
    members = [{"id": i, "org": 1 + i % 2, "team_id": 1} for i in range(4)]
    await SqlRepository(Mate).create_many(session, members)
    session.expunge_all()
    assert [each.id for each in (await teams.get_one(session, 1)).members] == [0, 2]
    session.expunge_all()
    (member, _) = await SqlRepository(Mate).scoped({"org": 1}).list(session, limit=9)
    assert member.team.id == 1
    session.expunge_all()
    other = await SqlRepository(Mate).scoped({"org": 2}).get_one(session, 1)
    assert other.team is None


async def test_a_refused_row_of_many_that_the_orm_writes(session: AsyncSession, kept_url: str) -> None:
    """It is named by its index, nothing is left of the others, and the session goes on; so for every write of many."""
    if kept_url.startswith("duckdb"):
        pytest.skip("there are no savepoints")
    teams = SqlRepository(Crew, immutable_fields=())
    await teams.create_many(session, [{"id": 1, "org": 1, "name": "a"}, {"id": 2, "org": 1, "name": "b"}])
    rows = [{"id": i, "org": 1, "name": name} for i, name in ((3, "c"), (4, "a"), (5, "e"))]
    for returning in (True, False):
        with pytest.raises(UniqueViolation) as caught:
            await teams.create_many(session, rows, returning=returning)
        assert caught.value.row == 1
    with pytest.raises(UniqueViolation) as caught:
        await teams.create_many(session, iter(rows), batch_size=1)
    assert caught.value.row == 1
    with pytest.raises(UniqueViolation) as caught:
        await teams.upsert_many(session, rows)
    assert caught.value.row == 1
    with pytest.raises(UniqueViolation):
        await teams.upsert(session, {"id": 9, "org": 1, "name": "a"})
    with pytest.raises(UniqueViolation) as caught:
        await teams.update_each(session, [Change(1, {"org": 7}), Change(2, {"name": "a"})])
    assert caught.value.row == 1
    session.expunge_all()
    assert [(row.id, row.org, row.name) for row in await teams.list(session, limit=9)] == [(1, 1, "a"), (2, 1, "b")]
