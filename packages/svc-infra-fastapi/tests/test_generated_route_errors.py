"""Every way in which a generated route can fail has a status, a stable problem type, and a body that tells nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import add_sql_db, get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep
from svc_infra.api.fastapi.problems import add_problem_details
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.mixins import Versioned

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
TYPE = "urn:svc-infra:problem:"


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    """A note."""

    __tablename__ = "failing_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50), unique=True)


async def limited(x_calls: Annotated[int, Header()] = 0) -> None:
    """Stand for a rate limiter that an application has."""
    if x_calls > 3:
        raise HTTPException(429, "Three calls a minute.", headers={"Retry-After": "17"})


async def second_locked(session: SqlSessionDep, x_lock: Annotated[int | None, Header()] = None) -> None:
    """Lock a row in the transaction of the request, as a guard may that reads what it decides on."""
    if x_lock is not None:
        await session.execute(text("SELECT 1 FROM failing_notes WHERE id = :id FOR UPDATE"), {"id": x_lock})


def make_app(url: str, **options: Any) -> FastAPI:
    """Return an application that serves notes with and without dependencies, which are two ways through the code."""
    app = FastAPI()
    add_sql_db(app, url=url, **options)
    guards = [Depends(limited), Depends(second_locked)]
    plain = ApiResource(model=Note, prefix="/notes", actions=ALL_ACTIONS - {"restore"}, search_fields=["title"])
    guarded = ApiResource(
        model=Note, prefix="/guarded", actions=ALL_ACTIONS - {"restore"}, dependencies=guards, max_body_bytes=1000
    )
    strict = ApiResource(model=Note, prefix="/strict", require_if_match=True)
    setup_sql(app, [plain, guarded, strict])
    return app


@asynccontextmanager
async def filled(running: ClientOf, url: str, **options: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Run the application over two notes."""
    app = make_app(url, **options)
    client = await running(app)
    async with get_database(app).engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    for title in ("one", "two"):
        (await client.post("/notes", json={"title": title})).raise_for_status()
    yield app, client


REQUESTS = [("GET", "", None), ("GET", "?cursor=", None), ("GET", "/1", None), ("GET", "/export", None)]
WRITES = [("POST", "", {"title": "new"}), ("PATCH", "/1", {"title": "x"}), ("DELETE", "/1", None)]


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Check that *answer* is this problem and holds nothing of the database's."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    assert (body["type"], body["status"]) == (TYPE + slug, status)
    assert body["title"]
    lowered = answer.text.lower()
    for word in ("select", "insert", "asyncpg", "sqlalchemy", "failing_notes", "127.0.0.1", "postgres", "queuepool"):
        assert word not in lowered
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return body


@pytest.mark.parametrize("prefix", ["/notes", "/guarded"])
async def test_an_exhausted_pool_is_503(postgres_url: str, running: ClientOf, prefix: str) -> None:
    """Every route answers 503 with Retry-After once the pool's time is up, and works again when it is free."""
    async with filled(running, postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.1) as (app, client):
        async with get_database(app).session() as session:
            await session.execute(text("SELECT 1"))
            for method, path, body in REQUESTS + WRITES:
                assert_problem(await client.request(method, prefix + path, json=body), 503, "pool-exhausted")
        assert (await client.get(prefix)).json()["total"] == 2


@pytest.mark.parametrize("prefix", ["/notes", "/guarded"])
async def test_a_database_that_is_away_is_503_until_it_is_back(
    postgres_url: str, faulty_proxy: Callable[[str], Any], running: ClientOf, prefix: str
) -> None:
    """Every route answers 503 with Retry-After, without restart it works again, and nothing was written."""
    proxy = faulty_proxy(postgres_url)
    async with filled(running, proxy.url) as (_, client):
        proxy.drop()
        for method, path, body in REQUESTS + WRITES:
            assert_problem(await client.request(method, prefix + path, json=body), 503, "database-unavailable")
        proxy.forward()
        found = (await client.get(prefix)).json()
        assert [item["title"] for item in found["items"]] == ["one", "two"]


@pytest.mark.parametrize("prefix", ["/notes", "/guarded"])
async def test_a_read_only_database_is_503_for_writes(
    postgres_url: str, postgres_admin_url: str, running: ClientOf, prefix: str
) -> None:
    """During a failover the database takes reads alone."""
    async with filled(running, postgres_url) as (app, client):
        await configured(postgres_admin_url, "default_transaction_read_only = on")
        await get_database(app).engine.dispose()
        for method, path, body in WRITES:
            assert_problem(await client.request(method, prefix + path, json=body), 503, "read-only")
        assert (await client.get(f"{prefix}/1")).status_code == 200


@pytest.mark.parametrize("prefix", ["/notes", "/guarded"])
async def test_a_statement_that_takes_too_long_is_503(postgres_url: str, running: ClientOf, prefix: str) -> None:
    """The limit of DB_STATEMENT_TIMEOUT_MS ends it."""
    async with filled(running, postgres_url, statement_timeout_ms=150) as (_, client), locked(postgres_url, 1):
        for method, path, body in WRITES[1:]:
            assert_problem(await client.request(method, prefix + path, json=body), 503, "statement-timeout")


@pytest.mark.parametrize("prefix", ["/notes", "/guarded"])
async def test_a_lock_that_is_held_too_long_is_503(
    postgres_url: str, postgres_admin_url: str, running: ClientOf, prefix: str
) -> None:
    """The database's own lock_timeout ends the wait."""
    await configured(postgres_admin_url, "lock_timeout = '100ms'")
    async with filled(running, postgres_url) as (_, client), locked(postgres_url, 1):
        for method, path, body in WRITES[1:]:
            assert_problem(await client.request(method, prefix + path, json=body), 503, "lock-timeout")


async def test_a_deadlock_is_503_and_the_other_one_goes_on(
    postgres_url: str, postgres_admin_url: str, running: ClientOf
) -> None:
    """The request is the one that gives way; its transaction is undone as a whole."""
    # A session looks for a deadlock once, so long after it began to wait; by then the other one must wait too.
    await configured(postgres_admin_url, "deadlock_timeout = '2s'")
    async with filled(running, postgres_url) as (_, client):
        other = await connected(postgres_admin_url)
        try:
            # This one would look for a deadlock much later than the request does.
            await other.execute("SET deadlock_timeout = '60s'")
            transaction = other.transaction()
            await transaction.start()
            await other.execute("UPDATE failing_notes SET title = 'first' WHERE id = 1")
            request = asyncio.create_task(client.patch("/guarded/1", json={"title": "x"}, headers={"X-Lock": "2"}))
            await until_waiting(postgres_admin_url, 1)
            update = asyncio.create_task(other.execute("UPDATE failing_notes SET title = 'second' WHERE id = 2"))
            assert_problem(await request, 503, "deadlock")
            await update
            await transaction.commit()
        finally:
            await other.close()
        assert [item["title"] for item in (await client.get("/notes")).json()["items"]] == ["first", "second"]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_table_that_was_altered_meanwhile_is_503_at_most_once(
    postgres_url: str, running: ClientOf, driver: str
) -> None:
    """A migration under a running application: the connection's next transaction finds its statements outdated."""
    in_transaction = {"X-Lock": "1"}
    url = postgres_url.replace("postgresql:", f"postgresql+{driver}:", 1)
    async with filled(running, url, pool_size=1, max_overflow=0) as (_, client):
        for _ in range(8):
            (await client.get("/notes/1")).raise_for_status()
            (await client.get("/guarded/1", headers=in_transaction)).raise_for_status()
        async with Database(postgres_url) as other, other.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE failing_notes ALTER COLUMN title TYPE text"))
        assert_problem(await client.get("/guarded/1", headers=in_transaction), 503, "schema-changed")
        for prefix in ("/guarded", "/notes", "/guarded"):
            found = await client.get(f"{prefix}/1", headers=in_transaction)
            assert found.json()["title"] == "one"
            assert (await client.patch(f"{prefix}/1", json={"title": "one"})).status_code == 200


async def test_a_table_that_was_altered_meanwhile_is_not_noticed_by_a_statement_alone(
    postgres_url: str, running: ClientOf
) -> None:
    """Outside of a transaction asyncpg prepares the statement again by itself."""
    async with filled(running, postgres_url, pool_size=1, max_overflow=0) as (_, client):
        for path in ["/notes/1", "/notes", "/notes?q=one&total=none"] * 8:
            (await client.get(path)).raise_for_status()
        async with Database(postgres_url) as other, other.engine.begin() as connection:
            await connection.execute(text("ALTER TABLE failing_notes ALTER COLUMN title TYPE text"))
        for path in ("/notes/1", "/notes", "/notes?q=one&total=none"):
            assert (await client.get(path)).status_code == 200, path


AS_JSON = {"Content-Type": "application/json"}
STALE = {"If-Match": '"v7"'}
MISTAKES: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/9", {}, 404, "not-found"),
    ("PATCH", "/9", {"json": {"title": "x"}}, 404, "not-found"),
    ("DELETE", "/9", {}, 404, "not-found"),
    ("DELETE", "", {}, 405, "method-not-allowed"),
    ("POST", "/1", {"json": {}}, 405, "method-not-allowed"),
    ("DELETE", "/export", {}, 405, "method-not-allowed"),
    ("PATCH", "/export", {"json": {"title": "x"}}, 405, "method-not-allowed"),
    ("POST", "", {"json": {"title": "one"}}, 409, "unique-violation"),
    ("PATCH", "/2", {"json": {"title": "one"}}, 409, "unique-violation"),
    ("PATCH", "/1", {"json": {"title": "x"}, "headers": STALE}, 412, "precondition-failed"),
    ("PUT", "/1", {"json": {"title": "x"}, "headers": STALE}, 412, "precondition-failed"),
    ("DELETE", "/1", {"headers": STALE}, 412, "precondition-failed"),
    ("POST", "", {"content": b" " * 2_000_000, "headers": AS_JSON}, 413, "content-too-large"),
    ("POST", "", {"content": b"title=x"}, 415, "unsupported-media-type"),
    ("PATCH", "/1", {"content": b"<a/>", "headers": {"Content-Type": "text/xml"}}, 415, "unsupported-media-type"),
    ("GET", "/soon", {}, 422, "invalid-request"),
    ("GET", "?limit=0", {}, 422, "invalid-request"),
    ("GET", "?cursor=x", {}, 422, "invalid-request"),
    ("GET", "?colour=red", {}, 422, "invalid-request"),
    ("POST", "", {"json": {}}, 422, "invalid-request"),
    ("POST", "", {"content": b"{", "headers": AS_JSON}, 422, "invalid-request"),
    ("PATCH", "/1", {"json": {"title": "x"}, "headers": {"If-Match": "v1"}}, 422, "invalid-request"),
]


async def test_mistakes_of_the_client_have_their_status_and_type(postgres_url: str, running: ClientOf) -> None:
    """404, 405, 409, 412, 413, 415, 422 and 428, with and without dependencies, and the field where one is at fault."""
    async with filled(running, postgres_url) as (_, client):
        for prefix in ("/notes", "/guarded"):
            for method, path, options, status, slug in MISTAKES:
                body = assert_problem(await client.request(method, prefix + path, **options), status, slug)
                if slug == "unique-violation":
                    assert [error["loc"] for error in body["errors"]] == [["body", "title"]]
                if slug == "invalid-request":
                    assert all({"loc", "msg", "type"} == set(error) for error in body["errors"])
        answer = await client.patch("/strict/1", json={"title": "x"})
        assert_problem(answer, 428, "precondition-required")
        assert (await client.delete("/notes/export")).headers["allow"] == "GET, HEAD"
        assert (await client.post("/notes/1", json={})).headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"


async def test_a_limiters_429_keeps_its_retry_after(postgres_url: str, running: ClientOf) -> None:
    """An HTTPException of a guard becomes a problem with the headers that the guard gave."""
    async with filled(running, postgres_url) as (_, client):
        answer = await client.get("/guarded", headers={"X-Calls": "4"})
        body = assert_problem(answer, 429, "too-many-requests")
        assert (body["detail"], answer.headers["retry-after"]) == ("Three calls a minute.", "17")


async def test_a_bug_is_500_without_its_text(postgres_url: str, running: ClientOf) -> None:
    """A table that is not there is no fault of the client, and its name none of its business."""
    app = make_app(postgres_url)
    client = await running(app)
    for method, path, body in REQUESTS + WRITES:
        answer = await client.request(method, f"/notes{path}", json=body)
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_a_bug_is_a_problem_too_where_all_errors_are(postgres_url: str, running: ClientOf) -> None:
    """`add_problem_details` answers every error of the application in one form; the server still logs the bug."""
    app = make_app(postgres_url)
    add_problem_details(app)
    client = await running(app)
    answer = await client.get("/notes")
    assert_problem(answer, 500, "internal-error")
    assert answer.headers["connection"] == "close"  # which is what the server does
    assert_problem(await client.get("/nowhere"), 404, "not-found")


async def test_a_status_code_of_the_applications_own_keeps_its_status(running: ClientOf) -> None:
    """RFC 9110 has no name for 499 or 599."""
    app = FastAPI()
    add_problem_details(app)

    @app.get("/closed/{status}")
    async def closed(status: int) -> None:
        raise HTTPException(status, "closed")

    client = await running(app)
    for status, title in ((499, "Client Error"), (599, "Server Error")):
        answer = await client.get(f"/closed/{status}")
        assert (answer.status_code, answer.json()["title"], answer.json()["detail"]) == (status, title, "closed")


@pytest.mark.fault
async def test_a_killed_server_is_503_and_its_return_is_seen(own_postgres: Any, running: ClientOf) -> None:
    """SIGKILL of the server, then its start on the same port."""
    async with filled(running, own_postgres.create_database()) as (_, client):
        own_postgres.kill()
        for method, path, body in REQUESTS + WRITES:
            assert_problem(await client.request(method, f"/notes{path}", json=body), 503, "database-unavailable")
        own_postgres.start()
        assert (await client.get("/notes")).json()["total"] == 2


async def connected(url: str) -> asyncpg.Connection:
    """Connect past the application."""
    return await asyncpg.connect(url.partition("?")[0], ssl=False, timeout=10)


async def configured(admin_url: str, setting: str) -> None:
    """Change a setting of the database for every connection from now on."""
    connection = await connected(admin_url)
    try:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
    finally:
        await connection.close()


@asynccontextmanager
async def locked(url: str, key: int) -> AsyncIterator[None]:
    """Hold the lock of a note."""
    connection = await connected(url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM failing_notes WHERE id = $1 FOR UPDATE", key)
            yield
    finally:
        await connection.close()


async def until_waiting(admin_url: str, count: int) -> None:
    """Return when *count* transactions of the database wait for a lock."""
    connection = await connected(admin_url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    try:
        async with asyncio.timeout(10):
            while await connection.fetchval(waiting) < count:  # noqa: ASYNC110 (another server has no event for it)
                await asyncio.sleep(0.01)
    finally:
        await connection.close()
