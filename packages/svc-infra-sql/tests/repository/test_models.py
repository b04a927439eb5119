"""Models that the ORM must handle itself, and sessions that listen: nothing of theirs is skipped."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import ForeignKey, String, event, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    relationship,
    validates,
    with_loader_criteria,
)

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.errors import StaleVersion
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.mixins import SoftDelete, Tenant, Timestamps, UuidKey, Versioned
from svc_infra.db.sql.repository import SqlRepository


class Validated(ModelBase):
    __tablename__ = "models_validated"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    email: Mapped[str] = mapped_column(String(40))

    @validates("email")
    def lower(self, _key: str, value: str) -> str:
        return value.lower()


class Constructed(ModelBase):
    __tablename__ = "models_constructed"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(40))

    def __init__(self, **values: object) -> None:
        super().__init__(**{"name": "made", **values})


class Data(MappedAsDataclass, ModelBase):
    __tablename__ = "models_data"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tag: Mapped[str] = mapped_column(String(20), default="tagged")


class Animal(ModelBase):
    __tablename__ = "models_animals"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(10))
    name: Mapped[str | None] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    __tablename__ = "models_dogs"
    id: Mapped[int] = mapped_column(ForeignKey("models_animals.id"), primary_key=True)
    trick: Mapped[str | None] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Parent(ModelBase):
    __tablename__ = "models_parents"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    children: Mapped[list[Child]] = relationship(cascade="all, delete-orphan", lazy="selectin", order_by="Child.id")


class Child(ModelBase):
    __tablename__ = "models_children"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    parent_id: Mapped[int] = mapped_column(ForeignKey("models_parents.id"))


class Mixed(UuidKey, Timestamps, SoftDelete, Tenant, Versioned, ModelBase):
    __tablename__ = "models_mixed"
    name: Mapped[str | None] = mapped_column(String(20))


TABLES = [m.__table__ for m in (Validated, Constructed, Data, Animal, Dog, Parent, Child, Mixed)]


async def test_validators_and_constructors_run(memory: AsyncSession) -> None:
    """@validates, __init__ and dataclass defaults see every write, single or of many."""
    validated, constructed, data = SqlRepository(Validated), SqlRepository(Constructed), SqlRepository(Data)
    assert (await validated.create(memory, {"id": 1, "email": "A@B"})).email == "a@b"
    assert (await validated.update(memory, 1, {"email": "C@D"})).email == "c@d"
    assert [v.email for v in await validated.create_many(memory, [{"id": 2, "email": "E"}])] == ["e"]
    assert await validated.update_many(memory, {"email": "F"}, where=[]) == 2
    assert await memory.scalar(select(Validated.email).where(Validated.id == 2)) == "f"
    assert (await validated.rows.create(memory, {"id": 3, "email": "G"})).email == "g"
    assert (await constructed.create(memory, {"id": 1})).name == "made"
    assert (await data.create(memory, {"id": 1})).tag == "tagged"
    assert await validated.delete(memory, 1)
    assert await validated.delete_many(memory, ids=[2, 3]) == 2


async def test_inherited_models_are_read_and_written_whole(memory: AsyncSession) -> None:
    """Joined tables: objects have the class of their row, rows both tables' fields."""
    animals, dogs = SqlRepository(Animal), SqlRepository(Dog)
    await animals.create(memory, {"id": 1, "name": "cat"})
    await dogs.create(memory, {"id": 2, "name": "rex", "trick": "sit"})
    assert [type(animal).__name__ for animal in await animals.list(memory, limit=9)] == ["Animal", "Dog"]
    assert (await dogs.update(memory, 2, {"name": "max", "trick": "roll"})).name == "max"
    memory.expunge_all()
    (dog,) = await dogs.list(memory, limit=9, where=field("trick").eq("roll"))
    assert (dog.name, dog.trick) == ("max", "roll")
    assert await dogs.count(memory) == 1
    assert await dogs.delete(memory, 2)
    assert await animals.count(memory) == 1


async def test_eager_relationships_and_cascades_are_the_orm_s(memory: AsyncSession) -> None:
    """lazy="selectin" loads with every read; deleting a parent deletes its children."""
    parents = SqlRepository(Parent)
    await parents.create(memory, {"id": 1})
    await SqlRepository(Child).create_many(memory, [{"id": 1, "parent_id": 1}, {"id": 2, "parent_id": 1}])
    memory.expunge_all()
    assert [child.id for child in (await parents.get_one(memory, 1)).children] == [1, 2]
    assert await parents.delete(memory, 1)
    assert await SqlRepository(Child).count(memory) == 0


@pytest.fixture
def heard(memory: AsyncSession) -> Iterator[list[str]]:
    """What the session's and the model's listeners have heard."""
    found: list[str] = []
    listeners = [
        (memory.sync_session, "before_flush", lambda *_: found.append("flush")),
        (Mixed, "before_insert", lambda *_: found.append("insert")),
        (Mixed, "before_update", lambda *_: found.append("update")),
        (Mixed, "before_delete", lambda *_: found.append("delete")),
    ]
    for target, name, listener in listeners:
        event.listen(target, name, listener)
    yield found
    for target, name, listener in listeners:
        event.remove(target, name, listener)


async def test_listeners_hear_of_every_write(memory: AsyncSession, heard: list[str]) -> None:
    """A session or model with listeners is written through the unit of work."""
    mixed = SqlRepository(Mixed, soft_delete=True)
    row = await mixed.create(memory, {"tenant_id": "a"})
    await mixed.update(memory, row.id, {"name": "x"})
    await mixed.delete(memory, row.id)
    await mixed.purge(memory, row.id)
    assert [name for name in heard if name != "flush"] == ["insert", "update", "update", "delete"]
    heard.clear()
    first = await mixed.upsert(memory, {"id": row.id, "tenant_id": "a", "name": "new"})
    second = await mixed.upsert(memory, {"id": row.id, "tenant_id": "a", "name": "newer"})
    assert (second is first, second.name) == (True, "newer")
    assert [name for name in heard if name != "flush"] == ["insert", "update"]
    assert "flush" in heard


@pytest.mark.parametrize("name", ["after_attach", "pending_to_persistent", "persistent_to_deleted"])
async def test_listeners_hear_of_an_object_s_life(memory: AsyncSession, name: str) -> None:
    """A session that is asked about objects writes by them, also where rows are what comes back."""
    mixed, found = SqlRepository(Mixed), list[object]()
    event.listen(memory.sync_session, name, lambda _session, entity: found.append(type(entity)))
    row = await mixed.rows.create(memory, {"tenant_id": "a"})
    await mixed.rows.delete(memory, row.id)
    assert found == [Mixed]


async def test_criteria_that_a_session_adds_hold_for_objects_and_rows(memory: AsyncSession) -> None:
    """An application's own do_orm_execute filter is not bypassed."""
    mixed = SqlRepository(Mixed)
    await mixed.create_many(memory, [{"tenant_id": "a"}, {"tenant_id": "b"}])

    def confine(state) -> None:
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(Mixed, Mixed.tenant_id == "a"))

    event.listen(memory.sync_session, "do_orm_execute", confine)
    assert len(await mixed.list(memory, limit=9)) == 1
    assert len(await mixed.rows.list(memory, limit=9)) == 1
    assert await mixed.count(memory) == 1
    assert len((await mixed.rows.page(memory, limit=9)).items) == 1
    assert (await mixed.rows.list_and_count(memory, limit=9))[1] == 1
    assert len([row async for row in mixed.rows.stream(memory)]) == 1


async def test_the_usual_columns_fill_themselves(session: AsyncSession) -> None:
    """UUIDv7, times, tenant and version of the mixins, by the repository and by the ORM alike, on every database."""
    mixed = SqlRepository(Mixed, soft_delete=True)
    row = await mixed.create(session, {"tenant_id": "a"})
    assert (row.id.version, row.version, row.deleted_at) == (7, 1, None)
    assert isinstance(row.created_at, dt.datetime)
    before = row.updated_at
    assert (await mixed.update(session, row.id, {"name": "x"}, version=1)).version == 2
    assert row.updated_at >= before
    with pytest.raises(StaleVersion):
        await mixed.update(session, row.id, {"name": "y"}, version=1)
    row.name = "by the orm"
    await session.flush()
    assert row.version == 3
    assert (await mixed.update(session, row.id, {"name": "z"}, version=3)).version == 4
    by_orm = Mixed(tenant_id="b")
    session.add(by_orm)
    await session.flush()
    assert isinstance(by_orm.id, uuid.UUID)


async def test_a_repository_may_be_made_before_the_models_it_relates_to(memory: AsyncSession) -> None:
    """Making one configures no mapper, so that import order does not matter."""

    class Base(DeclarativeBase):  # the mappers of ModelBase would be left incomplete when these classes are gone
        pass

    class Early(Base):
        __tablename__ = "models_early"
        id: Mapped[int] = mapped_column(primary_key=True)
        late_id: Mapped[int | None] = mapped_column(ForeignKey("models_late.id"))
        late: Mapped[object] = relationship("Late")

    repository = SqlRepository(Early, soft_delete=False)

    class Late(Base):
        __tablename__ = "models_late"
        id: Mapped[int] = mapped_column(primary_key=True)

    connection = await memory.connection()
    await connection.run_sync(Base.metadata.create_all)
    assert await repository.count(memory) == 0
