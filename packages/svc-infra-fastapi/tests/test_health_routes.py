"""Health routes answer 200 or 503 in bounded time and tell nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from svc_infra.api.fastapi.db.nosql.mongo.add import add_mongo_db, add_mongo_health, get_mongo
from svc_infra.api.fastapi.db.nosql.mongo.session import MongoDatabaseDep
from svc_infra.api.fastapi.db.sql.add import add_sql_db, add_sql_health, get_database, setup_sql
from svc_infra.api.fastapi.health import add_health_route
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.health import HealthRegistry, check_database

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]


async def test_a_database_that_answers_is_healthy(sql_url: str, running: ClientOf) -> None:
    """200 and a status."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)
    add_sql_health(app, prefix="/_sql/health")
    add_sql_health(app, prefix="/_sql/health")
    client = await running(app)
    answer = await client.get("/_sql/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert answer.headers["cache-control"] == "no-store"
    assert (await client.head("/_sql/health")).content == b""


async def test_a_database_that_is_away_is_503_and_tells_nothing(running: ClientOf) -> None:
    """The body names neither host nor user; generated routes answer 503 with Retry-After."""
    app = FastAPI()
    setup_sql(app, url="postgresql://someone:s3cret@127.0.0.1:1/nothing?sslmode=disable")
    client = await running(app)
    answer = await client.get("/_sql/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert not any(word in answer.text for word in ("127.0.0.1", "someone", "s3cret", "nothing"))


async def test_the_checks_of_a_registry_are_served_by_probe(
    postgres_url: str, running: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    """A readiness probe fails while something critical is away, a liveness probe doesn't, and the log has one line."""
    caplog.set_level(logging.INFO)
    registry = HealthRegistry()
    registry.add("database", check_database(postgres_url))
    registry.add("away", check_database("postgresql://u:s3cret@127.0.0.1:1/d?sslmode=disable"), cache_seconds=0)
    app = FastAPI()
    add_health_route(app, "/_health/ready", registry, group="ready")
    add_health_route(app, "/_health/live", lambda: registry, group="live", include_in_schema=True)
    client = await running(app)
    async with registry:
        answers = [await client.get("/_health/ready") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503] * 3
        checks = answers[0].json()["checks"]
        assert {name: check["status"] for name, check in checks.items()} == {"database": "healthy", "away": "unhealthy"}
        assert (await client.get("/_health/live")).status_code == 200
    assert len([record for record in caplog.records if "away" in record.message]) == 1
    assert app.openapi()["paths"]["/_health/live"]["get"]["operationId"] == "health_live"


async def test_a_server_that_never_answers_is_503_in_time(running: ClientOf) -> None:
    """A connection that is accepted and then ignored must not hang the probe."""
    # The kernel accepts into the backlog, and nobody reads.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = FastAPI()
        add_sql_db(app, url=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/d?sslmode=disable")
        add_sql_health(app, timeout=0.3)
        client = await running(app)
        start = time.monotonic()
        answers = await asyncio.gather(*(client.get("/_sql/health") for _ in range(5)))
        assert [answer.status_code for answer in answers] == [503] * 5
        assert time.monotonic() - start < 1.5


async def test_a_database_that_freezes_is_503_in_time_and_200_again_when_it_thaws(
    postgres_url: str, faulty_proxy: Callable[[str], Any], running: ClientOf
) -> None:
    """Connections that were good go silent: every probe is answered in its time, whatever hangs behind it."""
    proxy = faulty_proxy(postgres_url)
    app = FastAPI()
    add_sql_db(app, url=proxy.url, pool_size=2, max_overflow=0)
    add_sql_health(app, timeout=0.3)
    client = await running(app)
    assert (await client.get("/_sql/health")).status_code == 200
    proxy.freeze()
    await asyncio.sleep(1)  # the healthy result is remembered for a second
    for _ in range(4):
        start = time.monotonic()
        answers = await asyncio.gather(*(client.get("/_sql/health") for _ in range(5)))
        assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(503, "unhealthy")] * 5
        assert time.monotonic() - start < 1.5
    proxy.forward()
    async with asyncio.timeout(10):
        while (await client.get("/_sql/health")).status_code != 200:  # noqa: ASYNC110 (the database has no event for it)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_a_service_that_uses_its_whole_pool_is_healthy_while_the_database_answers(
    kind: str, request: pytest.FixtureRequest, faulty_proxy: Callable[[str], Any], running: ClientOf
) -> None:
    """A busy service is not taken out of rotation; one whose connections all hang on a frozen database is."""
    proxy = faulty_proxy(request.getfixturevalue(f"{kind}_url"))
    app = FastAPI()
    add_sql_db(app, url=proxy.url, pool_size=2, max_overflow=0)
    add_sql_health(app, timeout=0.5)
    client = await running(app)
    database = get_database(app)
    async with database.session() as first, database.session() as second:
        for session in (first, second):
            await session.execute(text("SELECT 1"))
        assert (await client.get("/_sql/health")).status_code == 200
        await until(lambda: proxy.connections == 2)  # the question's own connection is closed
        proxy.freeze()
        await asyncio.sleep(1)  # the healthy result is remembered for a second
        assert (await client.get("/_sql/health")).status_code == 503
        proxy.forward()


async def test_mongo_opens_and_closes_with_the_application(
    mongo_url: str, mongo_db_name: str, running: ClientOf
) -> None:
    """A route gets the database; the health route says that it answers."""
    app = FastAPI()
    add_mongo_db(app, MongoSettings(url=mongo_url, db_name=mongo_db_name))
    add_mongo_health(app)

    @app.get("/items")
    async def items(db: MongoDatabaseDep) -> list[int]:
        await db.items.insert_one({"n": 1})
        return [item["n"] for item in await db.items.find({}).to_list(100)]

    client = await running(app)
    assert (await client.get("/items")).json() == [1]
    answer = await client.get("/_mongo/health")
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    assert not get_mongo(app).closed


async def test_mongo_that_is_away_is_503(running: ClientOf) -> None:
    """An application that may start without its server says so in its health route."""
    app = FastAPI()
    settings = MongoSettings(url="mongodb://127.0.0.1:1", db_name="d", server_selection_timeout_seconds=0.2)
    add_mongo_db(app, settings, require_server=False)
    add_mongo_health(app, timeout=0.3)
    answer = await (await running(app)).get("/_mongo/health")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (another thread has no event for it)
            await asyncio.sleep(0.01)
