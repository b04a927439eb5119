"""Random operations of several tenants against a model of what each may see."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.filters import field, raw
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.service import TenantMongoService
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoDatabase

TENANTS = ("a", "b", "c")
NOTES: MongoRepository[dict[str, Any]] = MongoRepository("notes", soft_delete=True, version_field="version")


@pytest.fixture
async def db(mongo_url: str, mongo_db_name: str) -> AsyncIterator[MongoDatabase]:
    """A fresh database."""
    async with Mongo(MongoSettings(url=mongo_url, db_name=mongo_db_name, driver="pymongo")) as mongo:
        yield mongo.database()


class World:
    """The documents that each tenant should have: id to (value, deleted)."""

    def __init__(self, db: MongoDatabase, seed: int) -> None:
        self.db = db
        self.random = random.Random(seed)
        self.documents: dict[str, dict[str, tuple[int, bool]]] = {tenant: {} for tenant in TENANTS}
        self.services = {tenant: TenantMongoService(NOTES, tenant_id=tenant) for tenant in TENANTS}

    def any_id(self) -> str | None:
        """An id of any tenant."""
        ids = [key for documents in self.documents.values() for key in documents]
        return self.random.choice(ids) if ids else None

    def live(self, tenant: str) -> dict[str, int]:
        return {key: value for key, (value, deleted) in self.documents[tenant].items() if not deleted}

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            await self.step()

    async def step(self) -> None:
        tenant = self.random.choice(TENANTS)
        action = self.random.choice(
            (self.create, self.create, self.read, self.update, self.delete, self.bulk, self.undo)
        )
        await action(tenant)

    async def create(self, tenant: str) -> None:
        value = self.random.randrange(10)
        data = {"value": value, "tenant_id": self.random.choice((*TENANTS, None)), "deleted_at": "x"}
        if self.random.random() < 0.3:
            made = await self.services[tenant].repo.create_many(self.db, [data, data])
        else:
            made = [await self.services[tenant].create(self.db, data)]
        for document in made:
            assert document["tenant_id"] == tenant
            self.documents[tenant][document["id"]] = (value, False)

    async def read(self, tenant: str) -> None:
        service, live = self.services[tenant], self.live(tenant)
        anything = raw({"tenant_id": {"$exists": True}}) | field("tenant_id").ne(tenant)
        for found in (
            await service.list(self.db, limit=10_000),
            await service.list(self.db, limit=10_000, where=anything),
            (await service.repo.page(self.db, limit=10_000, order_by="-value")).items,
            [document async for document in service.repo.stream(self.db)],
            await service.repo.get_many(self.db, [key for documents in self.documents.values() for key in documents]),
        ):
            assert {document["id"]: document["value"] for document in found} == live
        assert await service.count(self.db) == len(live)
        key = self.any_id()
        assert (await service.get(self.db, key) is not None) == (key in live)
        assert await service.exists(self.db, key) == (key in live) or key is None
        assert await service.exists(self.db, where=field("tenant_id").in_([t for t in TENANTS if t != tenant])) is False

    async def update(self, tenant: str) -> None:
        key, value = self.any_id(), self.random.randrange(10)
        if key is None:
            return
        data = {"value": value, "tenant_id": self.random.choice(TENANTS)}
        updated = await self.services[tenant].update(self.db, key, data)
        assert (updated is not None) == (key in self.live(tenant))
        if updated is not None:
            self.documents[tenant][key] = (value, False)

    async def delete(self, tenant: str) -> None:
        key = self.any_id()
        if key is None:
            return
        if self.random.random() < 0.3:
            gone = await self.services[tenant].repo.purge(self.db, key)
            assert gone == (key in self.documents[tenant])
            self.documents[tenant].pop(key, None)
            return
        deleted = await self.services[tenant].delete(self.db, key)
        assert deleted == (key in self.live(tenant))
        if deleted:
            self.documents[tenant][key] = (self.documents[tenant][key][0], True)

    async def bulk(self, tenant: str) -> None:
        repo, low, value = self.services[tenant].repo, self.random.randrange(10), self.random.randrange(10)
        chosen = [key for key, found in self.live(tenant).items() if found >= low]
        if self.random.random() < 0.3:
            assert await repo.delete_many(self.db, where=field("value").ge(low)) == len(chosen)
            self.documents[tenant].update({key: (self.documents[tenant][key][0], True) for key in chosen})
        else:
            data = {"value": value, "tenant_id": "b"}
            assert await repo.update_many(self.db, data, where=field("value").ge(low)) == len(chosen)
            self.documents[tenant].update(dict.fromkeys(chosen, (value, False)))

    async def undo(self, tenant: str) -> None:
        key = self.any_id()
        if key is None:
            return
        restored = await self.services[tenant].repo.restore(self.db, key)
        mine = self.documents[tenant].get(key)
        assert (restored is not None) == (mine is not None and mine[1])
        if mine is not None and mine[1]:
            self.documents[tenant][key] = (mine[0], False)


async def test_no_tenant_sees_or_changes_the_documents_of_another(db: MongoDatabase) -> None:
    """Every method, in any order, with data and filters that name other tenants."""
    await World(db, seed=20261122).run(150)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
async def test_no_tenant_leaks_in_a_long_run(db: MongoDatabase, seed: int) -> None:
    """Two thousand steps for each of three seeds."""
    await World(db, seed).run(2000)


@pytest.mark.parametrize("method", ["update_many", "purge", "restore"])
async def test_the_random_run_finds_a_method_that_forgets_the_tenant(
    db: MongoDatabase, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that can't fail proves nothing: with the scope taken from one method, the run fails."""
    scoped = getattr(MongoRepository, method)

    async def unscoped(self: Any, *arguments: Any, **options: Any) -> Any:
        return await scoped(NOTES if self.collection == "notes" else self, *arguments, **options)

    monkeypatch.setattr(MongoRepository, method, unscoped)
    with pytest.raises(AssertionError):
        await World(db, seed=1).run(600)
