"""Generated routes that are one statement run it without a transaction, unless a dependency shares one with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import String, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep, get_session
from svc_infra.api.fastapi.db.sql.state import get_database
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]
HEADERS = {"X-Tenant-Id": "one"}


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "single_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    title: Mapped[str] = mapped_column(String(50), unique=True)


class Visit(Base):
    __tablename__ = "single_visits"
    id: Mapped[int] = mapped_column(primary_key=True)


async def note_visit(session: SqlSessionDep) -> None:
    """Write in the session that the operation uses."""
    session.add(Visit())
    await session.flush()


async def look() -> None:
    """Guard without a session."""


def application(sql_url: str) -> FastAPI:
    app = FastAPI()
    resources = [
        ApiResource(model=Note, prefix="/notes", tenant_field="tenant_id", dependencies=[look]),
        ApiResource(model=Note, prefix="/watched", tenant_field="tenant_id", dependencies=[note_visit]),
    ]
    setup_sql(app, resources, url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


@contextmanager
def transactions(app: FastAPI) -> Iterator[list[str]]:
    """The transactions that begin meanwhile."""
    engine, begun = get_database(app).engine.sync_engine, list[str]()

    def begin(_connection: Any) -> None:
        begun.append("BEGIN")

    event.listen(engine, "begin", begin)
    yield begun
    event.remove(engine, "begin", begin)


async def test_tenants_and_guards_leave_one_statement_one_statement(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """Get, list, create, change and delete need no transaction, also with a tenant and a guard."""
    app = application(sql_url)
    client = await running(app)
    await make_tables(app, Base)

    async def use(number: int) -> None:
        made = await client.post("/notes", json={"title": f"a{number}"}, headers=HEADERS)
        path = made.headers["location"]
        assert (await client.get(path, headers=HEADERS)).json()["tenant_id"] == "one"
        assert (await client.get(path, headers={"X-Tenant-Id": "two"})).status_code == 404
        assert (await client.get("/notes", headers=HEADERS)).json()["total"] == 1
        assert (await client.patch(path, json={"title": f"b{number}"}, headers=HEADERS)).status_code == 200
        assert (await client.delete(path, headers=HEADERS)).status_code == 204

    for number in range(3):  # a statement goes the driver's way from its second run
        await use(number)
    with transactions(app) as begun:
        await use(3)
    assert begun == []


async def test_a_dependency_shares_the_operations_transaction(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """What a dependency wrote in the request's session is rolled back with an operation that fails."""
    app = application(sql_url)
    client = await running(app)
    await make_tables(app, Base)
    with transactions(app) as begun:
        assert (await client.post("/watched", json={"title": "a"}, headers=HEADERS)).status_code == 201
    assert begun == ["BEGIN"]
    assert (await client.post("/watched", json={"title": "a"}, headers=HEADERS)).status_code == 409
    async with get_database(app).session() as session:
        assert await session.scalar(select(func.count()).select_from(Visit)) == 1


async def test_an_overridden_session_is_used(sql_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """A test that overrides the session gets every statement of generated writes in it, and can roll them back."""
    app = FastAPI()
    setup_sql(app, [ApiResource(model=Visit, prefix="/visits"), ApiResource(model=Note, prefix="/notes")], url=sql_url)
    client = await running(app)
    await make_tables(app, Base)
    async with get_database(app).session() as session:
        app.dependency_overrides[get_session] = lambda: session
        assert (await client.post("/visits", json={})).status_code == 201
        assert await session.scalar(select(func.count()).select_from(Visit)) == 1
        assert (await client.get("/visits")).json()["total"] == 1
        await session.rollback()
    app.dependency_overrides.clear()
    assert (await client.get("/visits")).json()["total"] == 0


async def test_a_route_without_guards_answers_errors_as_any(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """Past FastAPI's handler, known errors are problems and the application's own handlers are asked."""
    app = FastAPI()
    setup_sql(app, [ApiResource(model=Note, prefix="/notes")], url=sql_url)
    client = await running(app)
    await make_tables(app, Base)
    body = {"title": "a", "tenant_id": "one"}
    assert (await client.post("/notes", json=body)).status_code == 201
    answer = await client.post("/notes", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert answer.json()["errors"][0]["loc"] == ["body", "title"]
    assert (await client.get("/notes/99")).status_code == 404
    assert (await client.put("/notes", json=body)).status_code == 405


async def test_a_slow_client_holds_no_connection(sql_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """Also where a guard queries: it runs when the body has arrived."""
    app = application(sql_url)
    client = await running(app)
    await make_tables(app, Base)
    waits, more = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"title":'
        waits.set()
        await more.wait()
        yield b'"slow"}'

    headers = {**HEADERS, "Content-Type": "application/json"}
    pool: Any = get_database(app).engine.pool
    writing = asyncio.create_task(client.post("/watched", content=slow(), headers=headers))
    async with asyncio.timeout(10):
        await waits.wait()
    assert pool.checkedout() == 0
    more.set()
    assert (await writing).json()["title"] == "slow"
