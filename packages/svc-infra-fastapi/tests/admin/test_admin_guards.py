"""The guard of the admin page, and the ready-made ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.orm import DeclarativeBase

from svc_infra.api.fastapi.admin.add import AdminNotGuarded, add_sql_admin
from svc_infra.api.fastapi.admin.guards import basic_auth, loopback_only
from svc_infra.api.fastapi.db.sql.add import setup_sql

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]
PageOf = Callable[..., Awaitable[str]]

KEY = {"X-Key": "operator"}


def test_without_a_guard_the_application_does_not_start() -> None:
    """The error says what to do."""
    with pytest.raises(AdminNotGuarded, match=r"guard=.*loopback_only.*basic_auth"):
        add_sql_admin(FastAPI())


async def test_a_guard_that_returns_false_refuses(sqlite_url: str, running: ClientOf) -> None:
    """A guard written as a question is no open door."""
    app = FastAPI()
    setup_sql(app, url=sqlite_url)
    add_sql_admin(app, guard=lambda: False)
    client = await running(app)
    assert (await client.get("/_admin")).status_code == 403


LOOPBACK = {
    "localhost": ("127.0.0.1", {"host": "localhost:8000"}, 200),
    "IPv6": ("::1", {"host": "[::1]:8000"}, 200),
    "another machine": ("10.0.0.5", {"host": "localhost"}, 403),
    "a proxy": ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "10.0.0.5"}, 403),
    "a rebound name": ("127.0.0.1", {"host": "evil.example"}, 403),
}


@pytest.mark.parametrize(("host", "headers", "status"), LOOPBACK.values(), ids=LOOPBACK)
async def test_the_loopback_guard_lets_nobody_else_in(host: str, headers: dict[str, str], status: int) -> None:
    """Not by way of a proxy, nor by a name of the web that points here."""
    app = FastAPI(dependencies=[Depends(loopback_only)])

    @app.get("/")
    async def root() -> str:
        return "in"

    transport = httpx.ASGITransport(app, client=(host, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/", headers=headers)).status_code == status


async def test_the_password_guard_asks_and_compares() -> None:
    """The challenge makes a browser ask; a wrong, damaged or missing answer is 401; a weak password is refused."""
    with pytest.raises(ValueError, match="12 characters"):
        basic_auth("short")
    app = FastAPI(dependencies=[Depends(basic_auth("correct horse pass"))])

    @app.get("/")
    async def root() -> str:
        return "in"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/", auth=("admin", "correct horse pass"))).status_code == 200
        for value in ("", "Basic", "Basic %%%", "Bearer x", "Basic YTpi"):
            answer = await client.get("/", headers={"Authorization": value})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
