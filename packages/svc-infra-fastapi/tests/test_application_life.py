"""A database in all that an application does: start and stop with others, WebSockets, background tasks, threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio.from_thread
import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import add_sql_db, get_database, setup_sql
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep, session_of
from svc_infra.api.fastapi.db.sql.state import DatabaseNotStarted, database_of
from svc_infra.api.fastapi.lifespan import wrap_lifespan
from svc_infra.api.fastapi.shutdown import add_graceful_shutdown, is_draining
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.resource import SqlResource
from svc_infra.dburl.errors import DatabaseUrlError

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "life_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


ReportsSession = Annotated[AsyncSession, Depends(session_of("reports"), scope="function")]
ORDERS = ["setup, add", "add, setup"]


@pytest.mark.parametrize("order", ORDERS)
async def test_any_order_of_declarations_opens_each_database_once(
    order: str, tmp_path: Path, running: ClientOf, make_tables: MakeTables
) -> None:
    """Several databases, an own lifespan and a wrapped one: all are there in each other, whichever came first."""
    seen: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        async with get_database(app).session() as main, get_database(app, "reports").session() as reports:
            seen.append(f"{await main.scalar(text('SELECT 1'))}{await reports.scalar(text('SELECT 2'))}")
        yield

    app = FastAPI(lifespan=own)
    urls = {name: f"sqlite:///{tmp_path / name}.db" for name in ("default", "reports")}
    steps = {
        "setup": lambda: [
            setup_sql(app, [SqlResource(model=Event, prefix=f"/{name}")], name=name) for name in reversed(urls)
        ],
        "add": lambda: [add_sql_db(app, url=url, name=name) for name, url in urls.items()],
    }
    for step in order.split(", "):
        steps[step]()
    add_graceful_shutdown(app)

    @app.get("/answer")
    async def answer(session: ReportsSession) -> int:
        return int(await session.scalar(select(func.count()).select_from(Event)) or 0)

    client = await running(app)
    for name in urls:
        async with get_database(app, name).engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
    assert (await client.post("/reports", json={"name": "a"})).status_code == 201
    assert (await client.get("/reports")).json()["total"] == 1
    assert (await client.get("/default")).json()["total"] == 0
    assert (await client.get("/answer")).json() == 1
    assert (seen, is_draining(app)) == (["12"], False)


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_start_that_fails_closes_what_was_open_and_names_the_variable(is_first: bool, tmp_path: Path) -> None:
    """One line says which variable is missing, whatever had opened is closed, and the application's start never ran."""
    opened: list[Database] = []
    started: list[str] = []

    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncIterator[None]:
        started.append("own")
        yield

    @asynccontextmanager
    async def noticing(app: FastAPI) -> AsyncIterator[None]:
        opened.append(get_database(app))
        await opened[0].ping()
        yield

    app = FastAPI(lifespan=own)
    declarations: list[Callable[[], None]] = [
        lambda: add_sql_db(app, name="reports", dsn_env="REPORTS_URL", environ={}),
        lambda: [wrap_lifespan(app, noticing), add_sql_db(app, url=f"sqlite:///{tmp_path / 'a.db'}")][-1],
    ]
    for declare in declarations if is_first else reversed(declarations):
        declare()
    with pytest.raises(DatabaseUrlError, match="REPORTS_URL") as caught:
        async with app.router.lifespan_context(app):
            pass
    assert "\n" not in str(caught.value)
    assert started == []
    assert all("closed" in repr(database) for database in opened)
    assert len(opened) == (1 if is_first else 0)
    with pytest.raises(DatabaseNotStarted):
        get_database(app)


async def test_a_websocket_has_a_session_until_it_ends(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """One transaction from accept to the end of the endpoint: committed when it returns, rolled back when it raises."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)

    @app.websocket("/events")
    async def events(socket: WebSocket, session: SqlSessionDep) -> None:
        await socket.accept()
        while (name := await socket.receive_text()) != "end":
            session.add(Event(name=name))
            await session.flush()
            await socket.send_text(str(await session.scalar(select(func.count()).select_from(Event))))
            if name == "bad":
                raise RuntimeError(name)
        await socket.close()

    @app.websocket("/each")
    async def each(socket: WebSocket) -> None:
        await socket.accept()
        while (name := await socket.receive_text()) != "end":
            async with database_of(socket).session() as session:
                session.add(Event(name=name))
            await socket.send_text("stored")
        await socket.close()

    await running(app)
    await make_tables(app, Base)
    assert await talk(app, "/events", "one", "two", "end") == ["1", "2"]
    with pytest.raises(RuntimeError, match="bad"):
        await talk(app, "/events", "three", "bad")
    assert await names(app) == ["one", "two"]
    assert await talk(app, "/each", "four", "end") == ["stored"]
    assert await talk(app, "/each", "five", "one") == ["stored", "closed with 1008: Record already exists."]
    assert await names(app) == ["one", "two", "four", "five"]


async def test_a_websocket_is_told_that_the_database_is_away(
    postgres_url: str, faulty_proxy: Callable[[str], Any], running: ClientOf
) -> None:
    """Once it is accepted by a close that says so, before that by the response that a route would give."""
    proxy = faulty_proxy(postgres_url)
    app = FastAPI()
    add_sql_db(app, url=proxy.url)

    @app.websocket("/late")
    async def late(socket: WebSocket, session: SqlSessionDep) -> None:
        await socket.accept()
        await session.execute(text("SELECT 1"))

    @app.websocket("/early")
    async def early(socket: WebSocket, session: SqlSessionDep) -> None:
        await session.execute(text("SELECT 1"))
        await socket.accept()

    await running(app)
    proxy.drop()
    told = "closed with 1013: The database can't be reached. Try again."
    assert await talk(app, "/late") == [told]
    assert await talk(app, "/early") == [told]
    assert await talk(app, "/early", extensions={"websocket.http.response": {}}) == ["refused with 503"]


async def test_a_background_task_opens_a_session_of_its_own(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """It runs after the response, when the request's transaction is committed, and not after a failure."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)

    async def record(database: Database, name: str) -> None:
        async with database.session() as session:
            session.add(Event(name=f"{name} after {await session.scalar(select(func.count()).select_from(Event))}"))

    @app.post("/events/{name}")
    async def create(name: str, request: Request, session: SqlSessionDep, tasks: BackgroundTasks) -> str:
        session.add(Event(name=name))
        tasks.add_task(record, database_of(request), name)
        if name == "bad":
            raise HTTPException(400)
        return name

    client = await running(app)
    await make_tables(app, Base)
    assert (await client.post("/events/one")).status_code == 200
    assert (await client.post("/events/bad")).status_code == 400
    assert await names(app) == ["one", "one after 1"]


async def test_a_stream_opens_a_session_of_its_own(sql_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """The request's session ends before the first byte leaves."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)

    @app.get("/events")
    async def stream(request: Request) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            async with database_of(request).session(readonly=True) as session:
                async for name in await session.stream_scalars(select(Event.name).order_by(Event.id)):
                    yield f"{name}\n"

        return StreamingResponse(lines())

    client = await running(app)
    await make_tables(app, Base)
    async with get_database(app).session() as session:
        session.add_all([Event(name=str(number)) for number in range(100)])
    assert (await client.get("/events")).text.split() == [str(number) for number in range(100)]


async def test_a_sync_endpoint_uses_its_session_from_its_thread(
    sql_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A `def` endpoint runs in a thread and asks the event loop for each call; the transaction is as everywhere."""
    app = FastAPI()
    add_sql_db(app, url=sql_url)

    @app.post("/events/{name}")
    def create(name: str, session: SqlSessionDep) -> int:
        session.add(Event(name=name))
        anyio.from_thread.run(session.flush)
        count = anyio.from_thread.run(session.scalar, select(func.count()).select_from(Event))
        if name == "bad":
            raise HTTPException(400)
        return int(count)

    client = await running(app)
    await make_tables(app, Base)
    assert (await client.post("/events/one")).json() == 1
    assert (await client.post("/events/bad")).status_code == 400
    assert (await client.post("/events/one")).status_code == 409
    assert await names(app) == ["one"]


async def talk(app: FastAPI, path: str, *said: str, extensions: dict[str, Any] | None = None) -> list[str]:
    """Say something to a WebSocket as a server hands it on, and return what it answers before it closes."""
    incoming = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": each} for each in said)]
    outgoing: list[dict[str, Any]] = []

    async def receive() -> dict[str, str]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        outgoing.append(message)

    scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    scope |= {"extensions": extensions or {}}
    await app(scope, receive, send)  # type: ignore[arg-type]
    refused = [f"refused with {each['status']}" for each in outgoing if each["type"] == "websocket.http.response.start"]
    ends = refused or [
        f"closed with {last['code']}: {last['reason']}" for last in outgoing[-1:] if last.get("code", 1000) != 1000
    ]
    return [message["text"] for message in outgoing if message["type"] == "websocket.send"] + ends


async def names(app: FastAPI) -> list[str]:
    """Return what was stored, as another transaction sees it."""
    async with get_database(app).session(readonly=True) as session:
        return list(await session.scalars(select(Event.name).order_by(Event.id)))


def test_mongodb_without_its_extra_names_the_extra() -> None:
    """Who installed no svc-infra-mongo reads what to install, not which module is missing."""
    source = "import sys; sys.modules['svc_infra.db.nosql'] = None; import svc_infra.api.fastapi.db.nosql.mongo.add"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'svc-infra-fastapi[mongo]'" in done.stderr.splitlines()[-1]
