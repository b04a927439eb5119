"""Many documents written each by itself: one command for all of them, and a result for each that is right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from svc_infra.db.nosql.mongo.errors import InvalidValue, MongoUnreachable, UniqueViolation, UnknownField
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.prepare import prepare_mongo
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.service import MongoService
from svc_infra.db.nosql.mongo.types import MongoDatabase


class Item(BaseModel):
    id: str
    shop: str = ""
    sku: str
    stock: Any = Field(default=0)
    version: int = 1


REPO = MongoRepository(
    "items", model=Item, version_field="version", soft_delete=True, indexes=[MongoIndex("sku", unique=True)]
)


class Commands(CommandListener):
    """Keeps the names of the commands that were sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing is to be kept."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing is to be kept."""


@pytest.fixture
def commands() -> Commands:
    """What the test's client sent."""
    return Commands()


@pytest.fixture
async def db(commands: Commands, mongo_url: str, mongo_db_name: str) -> AsyncIterator[MongoDatabase]:
    """A fresh database with the index."""
    async with AsyncMongoClient[Any](mongo_url, event_listeners=[commands]) as client:
        await prepare_mongo(client[mongo_db_name], [REPO])
        commands.names.clear()
        yield client[mongo_db_name]


async def test_one_command_inserts_all_that_can_be(db: MongoDatabase, commands: Commands) -> None:
    """What the model, BSON or a unique index refuses is refused alone, with its own error."""
    data: list[dict[str, object]] = [
        {"sku": "a"}, {"sku": None}, {"sku": "a"}, {"nope": 1}, {"sku": "b", "stock": 2**70}, {"sku": "c"},
        {"sku": "d", "stock": "x" * 17_000_000},
    ]  # fmt: skip
    results = await REPO.create_each(db, data)
    assert commands.names == ["insert"]
    kinds: list[type] = [Item, InvalidValue, UniqueViolation, UnknownField, InvalidValue, Item, InvalidValue]
    assert [isinstance(result, kind) for result, kind in zip(results, kinds, strict=True)] == [True] * 7, results
    taken = results[2]
    assert isinstance(taken, UniqueViolation)
    assert taken.fields == ("sku",)
    assert await REPO.list(db, limit=9, order_by="sku") == [results[0], results[5]]
    assert await REPO.create_each(db, []) == []


async def test_one_write_and_one_read_change_all_that_can_be(db: MongoDatabase, commands: Commands) -> None:
    """Each gets its own values; one that is not there is None, one that conflicts keeps what it had."""
    rows = await REPO.create_many(db, [{"sku": sku} for sku in "abcd"])
    await REPO.delete(db, rows[3].id)
    commands.names.clear()
    results = await REPO.update_each(
        db,
        [
            (rows[0].id, {"stock": 5}),
            (rows[1].id, {"sku": "c"}),
            (rows[2].id, {}),
            (rows[3].id, {"stock": 6}),
            ("no id", {"stock": 7}),
            (rows[2].id, {"sku": 8}),
        ],
    )
    assert commands.names == ["update", "find"]
    changed = Item(id=rows[0].id, sku="a", stock=5, version=2)
    assert (results[0], results[2:5]) == (changed, [rows[2], None, None])
    assert isinstance(results[1], UniqueViolation)
    assert isinstance(results[5], InvalidValue)
    assert await REPO.get(db, rows[1].id) == rows[1]


async def test_one_read_and_one_write_delete_all(db: MongoDatabase, commands: Commands) -> None:
    """Softly here; what another tenant has, or was deleted before, is not there."""
    mine, theirs = REPO.scoped({"shop": "one"}), REPO.scoped({"shop": "two"})
    a, b = await mine.create_many(db, [{"sku": "a"}, {"sku": "b"}])
    other = await theirs.create(db, {"sku": "c"})
    commands.names.clear()
    assert await mine.delete_each(db, [a.id, other.id, "no id", b.id]) == [True, False, False, True]
    assert commands.names == ["find", "update"]
    assert await mine.delete_each(db, [a.id, b.id]) == [False, False]
    assert await theirs.get(db, other.id) == other
    assert await REPO.count(db, deleted="only") == 2


async def test_hooks_run_for_each_and_refuse_alone(db: MongoDatabase, commands: Commands) -> None:
    """Those before the write come before it; what one raises stands in the place of its item."""
    seen: list[str] = []

    class Hooked(MongoService[Item]):
        async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
            if data["sku"] == "bad":
                raise PermissionError(data["sku"])
            return {**data, "stock": 7}

        async def post_create(self, db: MongoDatabase, entity: Item) -> None:
            seen.append(entity.sku)

        async def pre_delete(self, db: MongoDatabase, id: object) -> None:  # noqa: A002
            if id == kept.id:
                raise PermissionError(id)

    results = await Hooked(REPO).create_each(db, [{"sku": "a"}, {"sku": "bad"}, {"sku": "b"}, {"sku": "a"}])
    assert commands.names == ["insert"]
    assert [type(each) for each in results] == [Item, PermissionError, Item, UniqueViolation]
    assert seen == ["a", "b"]
    gone, kept = (each for each in results if isinstance(each, Item))
    deleted = await Hooked(REPO).delete_each(db, [gone.id, kept.id])
    assert (deleted[0], type(deleted[1])) == (True, PermissionError)


async def test_two_batches_at_once_both_arrive(db: MongoDatabase) -> None:
    """Of the same unique values each is written by one of them, and the other is told so."""
    first, second = await asyncio.gather(*(REPO.create_each(db, [{"sku": str(n)} for n in range(100)]) for _ in "ab"))
    for one, other in zip(first, second, strict=True):
        assert {type(one), type(other)} == {Item, UniqueViolation}
    assert await REPO.count(db) == 100


async def test_a_lost_server_is_no_result_of_an_item() -> None:
    """It is raised, at once."""
    async with AsyncMongoClient[Any]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=50) as client:
        with pytest.raises(MongoUnreachable):
            await MongoService(REPO).create_each(client["any"], [{"sku": "a"}, {"sku": "b"}])
