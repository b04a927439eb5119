"""Idempotency keys: the same create, sent again, gives the first answer again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header
from sqlalchemy import ForeignKeyConstraint, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.db.sql.idempotency import IdempotencyKeys, IdempotencyTableMissing
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
everywhere = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql", "duckdb"], indirect=True)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(String(50), unique=True)
    before_id: Mapped[int | None]
    __table_args__ = (
        # MariaDB knows no constraint that is looked at when the transaction ends.
        ForeignKeyConstraint(["before_id"], ["orders.id"], deferrable=True, initially="DEFERRED").ddl_if(
            callable_=lambda *_, dialect, **__: dialect.name not in {"mysql", "mariadb"}
        ),
    )


class Sale(Base):
    __tablename__ = "sales"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(50))
    item: Mapped[str] = mapped_column(String(50))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


async def caller(authorization: Annotated[str, Header()] = "nobody") -> str:
    return authorization


class Slow(SqlService[Order]):
    """Waits in its hook until the test lets it go on."""

    entered = asyncio.Event()
    release = asyncio.Event()

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        self.entered.set()
        await self.release.wait()
        return data


clock = Clock()
keys = IdempotencyKeys(Base.metadata, ttl_hours=1, clock=clock)
own_keys = IdempotencyKeys(Base.metadata, table_name="own_keys", principal=caller, is_required=True)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Hooks wait anew and the clock is right in each test."""
    Slow.entered, Slow.release = asyncio.Event(), asyncio.Event()
    clock.now = datetime.now(UTC)


@pytest.fixture(scope="module")
def service(sql_url: str) -> FastAPI:
    app = FastAPI()
    resources: list[ApiResource[Any]] = [
        ApiResource(
            model=Order, prefix="/orders", idempotency=keys, actions={"create", "bulk_create", "list", "update", "get"}
        ),
        ApiResource(model=Order, prefix="/slow", idempotency=keys, service_factory=Slow, read_name="SlowRead"),
        ApiResource(model=Sale, prefix="/sales", idempotency=own_keys, tenant_field="shop"),
    ]
    setup_sql(app, resources, url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


@pytest.fixture
async def app(service: FastAPI, sql_url: str) -> FastAPI:
    """The service, which starts only where the table of its keys is."""
    database = Database(sql_url)
    async with database, database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    return service


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


async def total(client: httpx.AsyncClient, path: str = "/orders") -> int:
    found: int = (await client.get(path)).json()["total"]
    return found


@everywhere
async def test_the_same_request_gets_the_first_answer_again(client: httpx.AsyncClient) -> None:
    """Status, headers and body, also when the record has changed since; and with both forms of the key."""
    first = await client.post("/orders", json={"item": "a"}, headers=key("k1"))
    assert first.status_code == 201, first.text
    assert "idempotent-replayed" not in first.headers
    await client.patch(first.headers["location"], json={"item": "changed"})
    for form in ("k1", '"k1"'):
        again = await client.post("/orders", json={"item": "a"}, headers=key(form))
        assert (again.status_code, again.content) == (201, first.content)
        assert dict(again.headers) == {**first.headers, "idempotent-replayed": "true"}
    assert await total(client) == 1


async def test_another_request_with_the_key_is_refused(client: httpx.AsyncClient) -> None:
    """422; nothing is written."""
    await client.post("/orders", json={"item": "a"}, headers=key("k1"))
    other = await client.post("/orders", json={"item": "b"}, headers=key("k1"))
    assert (other.status_code, other.json()["type"]) == (422, "urn:svc-infra:problem:idempotency-key-reused")
    assert await total(client) == 1


@everywhere
async def test_a_failed_request_leaves_its_key_free(client: httpx.AsyncClient) -> None:
    """An invalid body, a duplicate and a body that is too large keep nothing."""
    await client.post("/orders", json={"item": "taken"})
    for body, status in (({"item": 1}, 422), ({"item": "taken"}, 409), ({"item": "x" * 2_000_000}, 413)):
        assert (await client.post("/orders", json=body, headers=key("k1"))).status_code == status
    good = await client.post("/orders", json={"item": "good"}, headers=key("k1"))
    assert good.status_code == 201


@everywhere
async def test_a_bulk_create_is_idempotent_too(client: httpx.AsyncClient) -> None:
    """Its keys are not those of the single create."""
    await client.post("/orders", json={"item": "z"}, headers=key("k1"))
    first = await client.post("/orders/bulk", json=[{"item": "a"}, {"item": "b"}], headers=key("k1"))
    again = await client.post("/orders/bulk", json=[{"item": "a"}, {"item": "b"}], headers=key("k1"))
    assert (first.status_code, again.content) == (200, first.content)
    assert await total(client) == 3


@everywhere
async def test_a_duplicate_is_refused_while_the_first_runs(app: FastAPI, sql_url: str, running: ClientOf) -> None:
    """409 with Retry-After in the same process; after the first has ended, its answer."""
    client = await running(app)
    first = asyncio.create_task(client.post("/slow", json={"item": "a"}, headers=key("k1")))
    await asyncio.wait_for(Slow.entered.wait(), 10)
    duplicate = await client.post("/slow", json={"item": "a"}, headers=key("k1"))
    assert (duplicate.status_code, duplicate.headers["retry-after"]) == (409, "1")
    assert duplicate.json()["type"].endswith("idempotency-key-in-use")
    Slow.release.set()
    assert (await first).status_code == 201
    again = await client.post("/slow", json={"item": "a"}, headers=key("k1"))
    assert (again.status_code, again.content) == (201, (await first).content)


async def test_a_duplicate_in_another_process_is_refused(postgres_url: str, running: ClientOf) -> None:
    """Two applications stand for two processes: the lock is the database's."""

    def application() -> FastAPI:
        app = FastAPI()
        resource = ApiResource(model=Order, prefix="/slow", idempotency=keys, service_factory=Slow)
        setup_sql(app, [resource], url=postgres_url)
        return app

    database = Database(postgres_url)
    async with database, database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    one, two = await running(application()), await running(application())
    first = asyncio.create_task(one.post("/slow", json={"item": "a"}, headers=key("k1")))
    await asyncio.wait_for(Slow.entered.wait(), 10)
    duplicate = await two.post("/slow", json={"item": "a"}, headers=key("k1"))
    assert (duplicate.status_code, duplicate.headers["retry-after"]) == (409, "1")
    Slow.release.set()
    assert (await first).status_code == 201
    again = await two.post("/slow", json={"item": "a"}, headers=key("k1"))
    assert (again.status_code, again.content) == (201, (await first).content)


@everywhere
async def test_twenty_duplicates_at_once_write_one_record(client: httpx.AsyncClient) -> None:
    """Each gets the first answer or is told to try again."""
    sent = [client.post("/orders", json={"item": "a"}, headers=key("k1")) for _ in range(20)]
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["type"] for answer in answers if answer.status_code == 409} <= {
        "urn:svc-infra:problem:idempotency-key-in-use"
    }
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert await total(client) == 1


class Dropping:
    """Loses the connection at the first answer, after everything was committed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.armed = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def lost(message: Message) -> None:
            if self.armed and message["type"] == "http.response.start":
                self.armed = False
                raise ConnectionResetError("the process died")
            await send(message)

        await self.app(scope, receive, lost)


@pytest.mark.parametrize("path", ["/orders", "/sales"])
async def test_a_crash_between_commit_and_answer_is_made_good_by_a_retry(app: FastAPI, path: str) -> None:
    """The replay gives the first answer, and there is one record; with and without dependencies."""
    headers = {**key("k1"), "X-Tenant-Id": "one"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(Dropping(app), raise_app_exceptions=True)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://test"))
        with pytest.raises(ConnectionResetError):
            await client.post(path, json={"item": "a"}, headers=headers)
        retried = await client.post(path, json={"item": "a"}, headers=headers)
        assert (retried.status_code, retried.headers["idempotent-replayed"]) == (201, "true")
        page = (await client.get(path, headers=headers)).json()
        assert page["items"] == [retried.json()]


async def test_a_failed_commit_keeps_neither_record_nor_key(client: httpx.AsyncClient) -> None:
    """Both are in one transaction, which a deferred constraint refuses at its end."""
    refused = await client.post("/orders", json={"item": "a", "before_id": 999}, headers=key("k1"))
    assert refused.status_code == 409, refused.text
    done = await client.post("/orders", json={"item": "a"}, headers=key("k1"))
    assert (done.status_code, done.headers.get("idempotent-replayed")) == (201, None)
    assert await total(client) == 1


@everywhere
async def test_keys_belong_to_a_tenant_and_a_caller(client: httpx.AsyncClient) -> None:
    """The same key of another is another key."""
    seen = set()
    for tenant, who in (("one", "ann"), ("two", "ann"), ("one", "bob")):
        headers = {**key("k1"), "X-Tenant-Id": tenant, "Authorization": who}
        answer = await client.post("/sales", json={"item": "a"}, headers=headers)
        assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (201, None)
        seen.add(answer.json()["id"])
    assert len(seen) == 3


async def test_a_resource_may_insist_on_a_key(client: httpx.AsyncClient) -> None:
    """400 without one."""
    answer = await client.post("/sales", json={"item": "a"}, headers={"X-Tenant-Id": "one"})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:svc-infra:problem:idempotency-key-missing")


async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    """400 with a problem."""
    for value in ("", '""', "a b", '"a', 'a"b"c', "x" * 256, "\u00e9"):
        headers = {b"Idempotency-Key": value.encode("latin-1")}
        answer = await client.post("/orders", json={"item": "a"}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:svc-infra:problem:idempotency-key-invalid")


@everywhere
async def test_a_key_expires_and_is_purged(app: FastAPI, client: httpx.AsyncClient) -> None:
    """After `ttl_hours` it may be used again; `purge` removes those that nobody asks for."""
    for name in ("k1", "k2"):
        await client.post("/orders", json={"item": name}, headers=key(name))
    clock.now += timedelta(minutes=59)
    assert (await client.post("/orders", json={"item": "k1"}, headers=key("k1"))).headers["idempotent-replayed"]
    clock.now += timedelta(minutes=2)
    fresh = await client.post("/orders", json={"item": "new"}, headers=key("k1"))
    assert (fresh.status_code, fresh.json()["item"]) == (201, "new")
    async with get_database(app).session() as session:
        assert await keys.purge(session) == 1
    async with get_database(app).session() as session:
        assert await keys.purge(session) == 0


@pytest.mark.parametrize("empty_sql_url", ["sqlite", "postgres", "mysql", "duckdb"], indirect=True)
async def test_an_application_without_the_table_does_not_start(empty_sql_url: str) -> None:
    """The error names the table and the remedy."""
    app = FastAPI()
    setup_sql(app, [ApiResource(model=Order, prefix="/orders", idempotency=keys)], url=empty_sql_url)
    with pytest.raises(IdempotencyTableMissing, match=r"idempotency_keys.*svc-infra sql"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_database_that_is_away_does_not_stop_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """It may come back; the first request tells."""
    app = FastAPI()
    url = "postgresql://u:secret@127.0.0.1:9/x?sslmode=disable&connect_timeout=1"
    setup_sql(app, [ApiResource(model=Order, prefix="/orders", idempotency=keys)], url=url)
    async with app.router.lifespan_context(app):
        assert "idempotency_keys" in caplog.text
        assert "secret" not in caplog.text


def test_mistakes_show_at_once() -> None:
    """Two stores of one name, and a time that is none."""
    with pytest.raises(ValueError, match="share it"):
        IdempotencyKeys(Base.metadata)
    with pytest.raises(ValueError, match="positive"):
        IdempotencyKeys(MetaData(), ttl_hours=0)


def test_the_document_shows_the_header(app: FastAPI) -> None:
    """Where it works and nowhere else."""
    paths = app.openapi()["paths"]

    def headers_of(path: str, method: str) -> dict[str, bool]:
        parameters = paths[path][method].get("parameters", [])
        return {each["name"]: each["required"] for each in parameters if each["in"] == "header"}

    assert headers_of("/orders", "post")["Idempotency-Key"] is False
    assert headers_of("/sales", "post")["Idempotency-Key"] is True
    assert "Idempotency-Key" in headers_of("/orders/bulk", "post")
    assert "Idempotency-Key" not in headers_of("/orders/{id}", "patch")
    assert {"400", "409", "422"} <= set(paths["/orders"]["post"]["responses"])
