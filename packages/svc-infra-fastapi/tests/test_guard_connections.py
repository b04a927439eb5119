"""A request takes one connection at a time, whatever its guards read: else a full pool waits for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import add_sql_db, get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.api.fastapi.db.sql.session import SqlReadSessionDep, get_session, session_of

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[..., Awaitable[None]]


class Base(DeclarativeBase):
    pass


class Caller(Base):
    __tablename__ = "guarding_callers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))


class Thing(Base):
    __tablename__ = "guarded_things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), default="thing")
    tenant_id: Mapped[int] = mapped_column(default=1)


def guard_by(session_dependency: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
    """A guard that reads its caller from the database and keeps the record for the endpoint."""
    needed = Depends(session_dependency, scope="function")

    async def guard(request: Request, session: AsyncSession = needed) -> None:
        request.state.caller = await session.scalar(select(Caller))

    return guard


def application(url: str, name: str, session_dependency: Callable[..., Any], **options: Any) -> FastAPI:
    app = FastAPI()
    add_sql_db(app, name=name, url=url, pool_size=1, max_overflow=0, pool_timeout=5)
    guard = guard_by(session_dependency)
    needed = Depends(session_dependency, scope="function")

    async def tenant(session: AsyncSession = needed) -> int:
        await session.execute(select(Caller))
        return 1

    things = ApiResource(
        model=Thing, prefix="/things", actions=ALL_ACTIONS - {"restore"}, dependencies=[Depends(guard)]
    )
    owned = ApiResource(model=Thing, prefix="/owned", tenant_field="tenant_id")
    setup_sql(app, [things, owned], name=name, tenant=tenant, **options)
    return app


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/things", {"name": "new"}),
    ("GET", "/things", None),
    ("GET", "/things?cursor=", None),
    ("GET", "/things/1", None),
    ("HEAD", "/things/1", None),
    ("GET", "/things/export", None),
    ("PATCH", "/things/1", {"name": "x"}),
    ("PUT", "/things/1", {"name": "y"}),
    ("POST", "/things/bulk", [{"name": "z"}]),
    ("DELETE", "/things/1", None),
    ("POST", "/owned", {"name": "new"}),
    ("GET", "/owned", None),
    ("PATCH", "/owned/2", {"name": "x"}),
]


@pytest.mark.parametrize("name", ["default", "audit"])
@pytest.mark.parametrize("readonly", [False, True], ids=["session", "read session"])
async def test_a_guard_and_its_route_take_one_connection_at_a_time(
    sql_url: str, running: ClientOf, make_tables: MakeTables, name: str, readonly: bool
) -> None:
    """With a pool of one, every route answers although its guard has read with either session."""
    app = application(sql_url, name, session_of(name, readonly=readonly))
    client = await running(app)
    await make_tables(app, Base, name)
    for method, path, body in REQUESTS:
        answer = await client.request(method, path, json=body)
        assert answer.is_success, (method, path, answer.text)


async def test_what_a_guard_has_read_outlives_its_transaction(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """The record that a guard has read is still loaded after the route, and its session can be used again."""
    app = FastAPI()
    add_sql_db(app, url=sql_url, pool_size=1, max_overflow=0, pool_timeout=5)
    seen: list[str] = []

    async def caller(request: Request, session: SqlReadSessionDep) -> AsyncIterator[None]:
        request.state.caller = await session.get_one(Caller, 1)
        yield
        seen.extend([request.state.caller.name, (await session.scalars(select(Thing.name))).one()])

    guards = [Depends(caller, scope="function")]
    setup_sql(app, [ApiResource(model=Thing, prefix="/things", dependencies=guards)])
    client = await running(app)
    await make_tables(app, Base)
    async with get_database(app).session() as session:
        session.add(Caller(id=1, name="ada"))
    assert (await client.post("/things", json={})).json()["name"] == "thing"
    assert seen == ["ada", "thing"]


async def test_more_requests_than_connections_do_not_wait_for_each_other(
    postgres_url: str, served: ClientOf, make_tables: MakeTables
) -> None:
    """Requests that each hold the connection of a guard and wait for a second would be answered 503 in the end."""
    app = application(postgres_url, "default", get_session)
    client = await served(app)
    await make_tables(app, Base)
    await client.post("/things", json={})
    answers = await asyncio.gather(*(client.get("/things/1") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
