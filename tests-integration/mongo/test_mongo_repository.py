"""MongoRepository and MongoService on a real server, with both drivers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pydantic import BaseModel, Field

from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.errors import (
    InvalidQuery,
    InvalidValue,
    NotFound,
    StaleVersion,
    UniqueViolation,
    UnknownField,
)
from svc_infra.db.nosql.mongo.filters import field
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.service import MongoService, TenantMongoService
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoDatabase


class User(BaseModel):
    id: str
    email: str
    name: str = ""
    age: int | None = Field(default=None, ge=0)
    created_at: datetime | None = None


class Order(BaseModel):
    id: uuid.UUID
    tenant_id: str = ""
    total: int
    tags: list[str] = []


USERS = MongoRepository("users", model=User)
SOFT = MongoRepository("users", model=User, soft_delete=True)
ORDERS = MongoRepository("orders", model=Order, id_type="uuid")
ANY = MongoRepository("things")


@pytest.fixture(params=["motor", "pymongo"])
async def db(request: pytest.FixtureRequest, mongo_url: str, mongo_db_name: str) -> AsyncIterator[MongoDatabase]:
    """A fresh database, through either driver."""
    async with Mongo(MongoSettings(url=mongo_url, db_name=mongo_db_name, driver=request.param)) as mongo:
        yield mongo.database()


async def some_users(db: MongoDatabase, repo: MongoRepository[User] = USERS, count: int = 5) -> list[User]:
    return await repo.create_many(db, [{"email": f"u{n}@example.com", "age": n} for n in range(count)])


async def test_a_document_is_created_read_updated_and_deleted(db: MongoDatabase) -> None:
    """The vocabulary of the SQL repository."""
    user = await USERS.create(db, {"email": "ann@example.com"})
    assert isinstance(user, User)
    assert ObjectId.is_valid(user.id)
    assert await USERS.get(db, user.id) == user
    assert await USERS.get_one(db, ObjectId(user.id)) == user
    updated = await USERS.update(db, user.id, {"name": "Ann"})
    assert updated is not None
    assert (updated.name, updated.email) == ("Ann", "ann@example.com")
    assert await USERS.delete(db, user.id) is True
    assert await USERS.delete(db, user.id) is False
    assert await USERS.get(db, user.id) is None
    with pytest.raises(NotFound):
        await USERS.get_one(db, user.id)


NO_IDS: list[Any] = ["", "zz", "0" * 23, 5, None, {"$ne": None}, ["x"], "a\0b", b"x" * 12]


async def test_what_can_not_be_an_id_is_not_found(db: MongoDatabase) -> None:
    """Never an error of the driver, and never an operator."""
    await some_users(db)
    for no_id in NO_IDS:
        assert await USERS.get(db, no_id) is None, no_id
        assert await USERS.update(db, no_id, {"name": "x"}) is None, no_id
        assert await USERS.delete(db, no_id) is False, no_id
        assert await USERS.purge(db, no_id) is False, no_id
        assert no_id is None or await USERS.exists(db, no_id) is False, no_id
    assert await USERS.count(db) == 5


async def test_data_are_checked_by_the_model(db: MongoDatabase) -> None:
    """On create as a whole, on update field by field."""
    with pytest.raises(InvalidValue, match="email"):
        await USERS.create(db, {"name": "x"})
    with pytest.raises(InvalidValue, match="age"):
        await USERS.create(db, {"email": "x", "age": -1})
    user = await USERS.create(db, {"email": "x", "age": "41"})
    assert user.age == 41
    with pytest.raises(InvalidValue, match="age"):
        await USERS.update(db, user.id, {"age": "old"})
    assert await USERS.get(db, user.id) == user


async def test_a_value_that_can_not_be_stored_is_a_typed_error(db: MongoDatabase) -> None:
    """Never an error of the driver, and the connection is usable afterwards."""
    for value in (2**64, object(), {1, 2}, 1j):
        with pytest.raises(InvalidValue):
            await ANY.create(db, {"x": value})
    await ANY.create(db, {"x": 1})
    assert await ANY.count(db) == 1


async def test_update_ignores_immutable_fields_and_unset_is_not_none(db: MongoDatabase) -> None:
    """The id and created_at stay; None is a value."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    user = await USERS.create(db, {"email": "x", "age": 3, "created_at": when})
    updated = await USERS.update(db, user.id, {"id": str(ObjectId()), "created_at": when + timedelta(1), "age": None})
    assert updated is not None
    assert (updated.id, updated.created_at, updated.age, updated.email) == (user.id, when, None, "x")


async def test_soft_deleted_documents_are_invisible_to_every_method(db: MongoDatabase) -> None:
    """Reads, counts, searches, updates and a second delete; restore and purge find them."""
    users = await some_users(db, SOFT, 3)
    gone = users[1].id
    assert await SOFT.delete(db, gone) is True
    assert await SOFT.delete(db, gone) is False
    assert await SOFT.get(db, gone) is None
    assert await SOFT.update(db, gone, {"name": "x"}) is None
    assert await SOFT.exists(db, gone) is False
    assert await SOFT.count(db) == 2
    assert len(await SOFT.list(db, limit=10)) == 2
    assert len(await SOFT.search(db, q="u1", fields=["email"], limit=10)) == 0
    assert await SOFT.get(db, gone, deleted="include") is not None
    assert [user.id for user in await SOFT.list(db, limit=10, deleted="only")] == [gone]
    restored = await SOFT.restore(db, gone)
    assert restored is not None
    assert await SOFT.restore(db, gone) is None
    assert await SOFT.count(db) == 3
    assert await SOFT.delete_many(db, where=field("age").lt(2)) == 2
    assert await SOFT.purge(db, gone) is True
    assert await SOFT.count(db, deleted="include") == 2


async def test_the_time_of_a_delete_can_not_be_set_by_data(db: MongoDatabase) -> None:
    """A client can neither hide nor show documents."""
    user = await SOFT.create(db, {"email": "x", "deleted_at": datetime.now(UTC)})
    assert await SOFT.get(db, user.id) is not None
    await SOFT.update(db, user.id, {"deleted_at": datetime.now(UTC)})
    assert await SOFT.get(db, user.id) is not None
    with pytest.raises(InvalidQuery):
        await USERS.restore(db, user.id)


async def test_versions_prevent_lost_updates(db: MongoDatabase) -> None:
    """Of fifty writers that read the same version one wins."""
    repo = MongoRepository("counters", version_field="version", timestamps=True)
    made = await repo.create(db, {"n": 0, "version": 99})
    assert made["version"] == 1
    results = await asyncio.gather(
        *(repo.update(db, made["id"], {"n": n}, version=1) for n in range(1, 51)), return_exceptions=True
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert sum(isinstance(result, StaleVersion) for result in results) == 49
    now = await repo.get_one(db, made["id"])
    assert now["version"] == 2
    assert now["updated_at"] >= made["updated_at"]
    with pytest.raises(StaleVersion):
        await repo.delete(db, made["id"], version=1)
    assert await repo.delete(db, made["id"], version=2)
    assert await repo.update(db, made["id"], {"n": 1}, version=2) is None


async def test_a_unique_index_is_a_typed_error_with_its_fields(db: MongoDatabase) -> None:
    """On create, in a batch with the position, and on update."""
    await db.users.create_index("email", unique=True)
    await USERS.create(db, {"email": "a"})
    other = await USERS.create(db, {"email": "b"})
    with pytest.raises(UniqueViolation) as caught:
        await USERS.create(db, {"email": "a"})
    assert caught.value.fields == ("email",)
    with pytest.raises(UniqueViolation) as caught:
        await USERS.create_many(db, [{"email": "c"}, {"email": "a"}, {"email": "d"}])
    assert caught.value.index == 1
    with pytest.raises(UniqueViolation):
        await USERS.update(db, other.id, {"email": "a"})


async def test_upsert_inserts_once_and_then_updates(db: MongoDatabase) -> None:
    """Also when many come at once."""
    await db.users.create_index("email", unique=True)
    first = await USERS.upsert(db, {"email": "a", "age": 1}, by=["email"])
    second = await USERS.upsert(db, {"email": "a", "age": 2, "name": "Ann"}, by=["email"])
    assert (first.id, first.age, second.age, second.name) == (second.id, 1, 2, "Ann")
    await asyncio.gather(*(USERS.upsert(db, {"email": "b", "age": n}, by=["email"]) for n in range(20)))
    assert await USERS.count(db) == 2
    by_id = str(ObjectId())
    made = await USERS.upsert(db, {"id": by_id, "email": "c"}, by=["id"])
    assert made.id == by_id
    with pytest.raises(UnknownField):
        await USERS.upsert(db, {"age": 2}, by=["email"])


async def test_update_many_counts_what_it_matched(db: MongoDatabase) -> None:
    """And leaves the others."""
    await some_users(db)
    assert await USERS.update_many(db, {"name": "old"}, where=field("age").ge(3)) == 2
    assert await USERS.count(db, where=field("name").eq("old")) == 2


async def test_uuid_ids_are_made_and_parsed(db: MongoDatabase) -> None:
    """UUIDv7, which sorts by time of creation."""
    orders = [await ORDERS.create(db, {"total": n}) for n in range(3)]
    assert all(order.id.version == 7 for order in orders)
    assert await ORDERS.get(db, str(orders[0].id)) == orders[0]
    assert await ORDERS.get(db, "nonsense") is None


async def test_given_ids_of_text_and_numbers_work(db: MongoDatabase) -> None:
    """They come with the data."""
    texts: MongoRepository[dict[str, Any]] = MongoRepository("texts", id_attr="slug", id_type="str")
    made = await texts.create(db, {"slug": "hello", "x": 1})
    assert made == {"slug": "hello", "x": 1}
    assert await texts.get(db, "hello") == made
    with pytest.raises(InvalidValue, match="need an id"):
        await texts.create(db, {"x": 1})
    with pytest.raises(UniqueViolation):
        await texts.create(db, {"slug": "hello"})


async def test_hooks_run_around_each_write(db: MongoDatabase) -> None:
    """With tenancy, too; what a hook raises leaves the method."""
    calls: list[str] = []

    class UserService(MongoService[User]):
        async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
            calls.append("pre_create")
            return {**data, "name": data["email"].split("@")[0]}

        async def post_create(self, db: MongoDatabase, entity: User) -> None:
            calls.append(f"post_create {entity.name}")

        async def pre_update(self, data: dict[str, Any]) -> dict[str, Any]:
            calls.append("pre_update")
            return data

        async def pre_delete(self, db: MongoDatabase, id: object) -> None:  # noqa: A002
            raise PermissionError("kept")

    service = UserService(USERS)
    user = await service.create(db, {"email": "ann@example.com"})
    await service.update(db, user.id, {"age": 3})
    with pytest.raises(PermissionError):
        await service.delete(db, user.id)
    assert await service.exists(db, user.id)
    assert calls == ["pre_create", "post_create ann", "pre_update"]


async def test_a_tenant_sees_and_changes_only_its_own(db: MongoDatabase) -> None:
    """Every method; a write can neither be made for nor moved to another tenant."""
    mine = TenantMongoService(ORDERS, tenant_id="a")
    theirs = TenantMongoService(ORDERS, tenant_id="b")
    own = await mine.create(db, {"total": 1, "tenant_id": "b"})
    other = await theirs.create(db, {"total": 2})
    assert (own.tenant_id, other.tenant_id) == ("a", "b")
    repo = mine.repo
    assert await mine.get(db, other.id) is None
    assert await repo.get_many(db, [own.id, other.id]) == [own]
    assert [order.id for order in await mine.list(db, limit=10)] == [own.id]
    assert [order.id for order in (await repo.page(db, limit=10)).items] == [own.id]
    assert [order.id async for order in repo.stream(db)] == [own.id]
    assert await mine.count(db) == 1
    assert await mine.exists(db, other.id) is False
    assert await mine.exists(db, where=field("tenant_id").eq("b")) is False
    assert await mine.list(db, limit=10, where=field("total").eq(9) | field("total").eq(2)) == []
    assert await mine.update(db, other.id, {"total": 9}) is None
    assert await mine.delete(db, other.id) is False
    assert await repo.purge(db, other.id) is False
    assert await repo.update_many(db, {"total": 9}, where=field("total").ge(0)) == 1
    moved = await mine.update(db, own.id, {"tenant_id": "b", "total": 5})
    assert moved is not None
    assert moved.tenant_id == "a"
    made = await repo.upsert(db, {"total": 2, "tags": ["x"]}, by=["total"])
    assert (made.tenant_id, made.id != other.id) == ("a", True)
    assert await repo.delete_many(db, where=field("total").ge(0)) == 2
    assert await ORDERS.get(db, other.id) == other
    with pytest.raises(InvalidValue):
        TenantMongoService(ORDERS, tenant_id=None)
    with pytest.raises(UnknownField):
        TenantMongoService(ORDERS, tenant_id="a", tenant_field="tenantid")


async def test_a_transaction_is_taken_by_every_write(db: MongoDatabase) -> None:
    """`session=` makes it part of the caller's transaction: nothing of it stays when that is aborted."""
    await USERS.create(db, {"email": "before"})
    async with await _session(db) as session:
        started = session.start_transaction()
        if hasattr(started, "__await__"):
            await started
        user = await USERS.create(db, {"email": "in"}, session=session)
        await USERS.update(db, user.id, {"name": "x"}, session=session)
        assert await USERS.get(db, user.id, session=session) is not None
        await session.abort_transaction()
    assert await USERS.count(db) == 1


async def _session(db: MongoDatabase) -> Any:
    started: Any = db.client.start_session()
    return await started if hasattr(started, "__await__") else started
