"""Quick Start, MongoDB: the client lives with the application."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pymongo
import pytest
from fastapi import FastAPI
from serving import served

from svc_infra.db.nosql.mongo.client import acquire_db, close_mongo, init_mongo
from svc_infra.dburl.errors import DatabaseUrlError


def make_app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI):
        await init_mongo()  # Reads MONGO_URL and MONGO_DB from env
        yield
        await close_mongo()

    app = FastAPI(lifespan=lifespan)

    @app.get("/items")
    async def list_items():
        db = await acquire_db()
        items = await db.items.find({}).to_list(100)
        return items  # noqa: RET504 - as the guide has it

    return app


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
def test_a_route_lists_what_the_database_holds(
    mongo_url: str, mongo_db_name: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick start's application, with either driver, started twice in one process."""
    monkeypatch.setenv("MONGO_URL", mongo_url)
    monkeypatch.setenv("MONGO_DB", mongo_db_name)
    monkeypatch.setenv("MONGO_DRIVER", driver)
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(mongo_url)
    with client:
        client[mongo_db_name].items.insert_many([{"_id": "1", "name": "lamp"}, {"_id": "2", "name": "chair"}])
    for _ in range(2):
        with served(make_app()) as http:
            assert http.get("/items").json() == [{"_id": "1", "name": "lamp"}, {"_id": "2", "name": "chair"}]


def test_documents_with_ids_of_the_database_are_listed_too(
    mongo_url: str, mongo_db_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MongoDB's own ids, which every document has that was inserted without one, are text in the answer."""
    monkeypatch.setenv("MONGO_URL", mongo_url)
    monkeypatch.setenv("MONGO_DB", mongo_db_name)
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(mongo_url)
    with client:
        added = client[mongo_db_name].items.insert_one({"name": "lamp"})
    with served(make_app()) as http:
        assert http.get("/items").json() == [{"_id": str(added.inserted_id), "name": "lamp"}]


async def test_an_application_without_its_database_name_does_not_start(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONGO_DB is required: the start fails and names the variable."""
    monkeypatch.setenv("MONGO_URL", mongo_url)
    app = make_app()
    with pytest.raises(DatabaseUrlError, match="MONGO_DB"):
        async with app.router.lifespan_context(app):
            pass
