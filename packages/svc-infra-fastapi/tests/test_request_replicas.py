"""Read replicas behind an application: a request reads what it wrote."""

from __future__ import annotations

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbservers.postgres import PostgresReplica
from svc_infra.api.fastapi.db.sql.add import add_sql_db
from svc_infra.api.fastapi.db.sql.session import SqlReadSessionDep, SqlSessionDep
from svc_infra.api.fastapi.db.sql.state import get_database

WHERE = "SELECT pg_is_in_recovery(), (SELECT count(*) FROM notes)"


@pytest.fixture
def urls(postgres_replica: PostgresReplica) -> tuple[str, str]:
    """The URLs of a new database with a table, on the primary and on the replica, that has it as well."""
    primary, replica = postgres_replica.create_database()
    with postgres_replica.primary.connect(primary.partition("?")[0].rpartition("/")[2]) as connection:
        connection.execute("CREATE TABLE notes (id integer); GRANT ALL ON notes TO PUBLIC")
    postgres_replica.wait_until_caught_up()
    return primary, replica


async def where(session: AsyncSession) -> list[object]:
    return list((await session.execute(text(WHERE))).one())


async def note(request: Request) -> None:
    """Write in a session of its own, as a guard or a helper does."""
    async with get_database(request.app).session() as session:
        await session.execute(text("INSERT INTO notes VALUES (1)"))


async def note_in_a_task(request: Request, _session: SqlReadSessionDep) -> None:
    """Write in a task that the request started."""
    await asyncio.create_task(note(request))


def application(urls: tuple[str, str]) -> FastAPI:
    app = FastAPI()
    add_sql_db(app, environ={"SQL_URL": urls[0], "DB_READ_URLS": urls[1]})

    @app.get("/read")
    async def read(session: SqlReadSessionDep) -> list[object]:
        return await where(session)

    @app.post("/write-then-read", dependencies=[Depends(note)])
    async def write_then_read(session: SqlReadSessionDep) -> list[object]:
        return await where(session)

    @app.post("/write-in-a-task")
    async def write_in_a_task(request: Request, _: Annotated[None, Depends(note_in_a_task)]) -> list[object]:
        async with get_database(request.app).session(readonly=True) as session:
            return await where(session)

    @app.post("/session")
    async def session_of_the_request(session: SqlSessionDep, replica: SqlReadSessionDep) -> list[object]:
        await session.execute(text("INSERT INTO notes VALUES (1)"))
        return await where(replica)

    return app


async def test_a_request_reads_what_it_wrote(urls: tuple[str, str], postgres_replica: PostgresReplica) -> None:
    """A write by a dependency, an endpoint or a task of the request sends its later reads to the primary."""
    app = application(urls)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):

        async def ask(method: str, path: str) -> object:
            """Send a request in a task of its own, as a server serves it."""
            response = await asyncio.create_task(client.request(method, path))
            return response.json()

        assert await ask("GET", "/read") == [True, 0]
        postgres_replica.pause_replay()
        assert await ask("POST", "/write-then-read") == [False, 1]
        assert await ask("GET", "/read") == [True, 0], "another request stays on the replica"
        assert await ask("POST", "/write-in-a-task") == [False, 2]
        assert await ask("GET", "/read") == [True, 0]
        # What is not committed yet is nobody's to read: the second session of the request is on the replica.
        assert await ask("POST", "/session") == [True, 0]
        postgres_replica.resume_replay()
        postgres_replica.wait_until_caught_up()
        assert await ask("GET", "/read") == [True, 3]
