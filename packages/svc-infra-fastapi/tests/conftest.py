"""Fixtures of svc-infra-fastapi: applications that run with their lifespan, in process and behind a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy.orm import DeclarativeBase

from svc_infra.api.fastapi.db.sql.state import get_database

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def sql_url(request: pytest.FixtureRequest, module_database: Callable[[str], str]) -> str:
    """A database of the module on SQLite and on PostgreSQL; a test may name others, by `indirect=True`.

    One for the module, so that its `app`, which takes longer to build than most tests to run, can be one too.
    """
    return module_database(request.param)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_sql_url(request: pytest.FixtureRequest) -> str:
    """A database without tables on SQLite and on PostgreSQL; a test may name others, by `indirect=True`."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def running() -> AsyncIterator[ClientOf]:
    """Start an application's lifespan and give a client that calls it in process; both end with the test."""
    async with AsyncExitStack() as stack:

        async def start(app: FastAPI) -> httpx.AsyncClient:
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://test"))

        yield start


@pytest.fixture
async def served() -> AsyncIterator[ClientOf]:
    """Serve an application by uvicorn on a free port and give a client for it; both end with the test."""
    async with AsyncExitStack() as stack:

        async def start(app: FastAPI) -> httpx.AsyncClient:
            port = await stack.enter_async_context(serving(app))
            return await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10))

        yield start


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[int]:
    """Serve *app* on a free port of 127.0.0.1, which is the value."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started and not task.done():  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0.01)
        assert server.started, "the application did not start"
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listener.close()


async def create_tables(app: FastAPI, base: type[DeclarativeBase], name: str = "default") -> None:
    """Create the tables of *base*, empty, in a running application's database."""
    async with get_database(app, name).engine.begin() as connection:
        await connection.run_sync(base.metadata.drop_all)
        await connection.run_sync(base.metadata.create_all)


@pytest.fixture
def make_tables() -> Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]:
    """Create the tables of a declarative base in a running application's database."""
    return create_tables


@pytest.fixture
async def client(app: FastAPI, running: ClientOf, request: pytest.FixtureRequest) -> httpx.AsyncClient:
    """A client of the module's `app`, which runs with the tables of the module's `Base`, empty."""
    found = await running(app)
    await create_tables(app, request.module.Base)
    return found
