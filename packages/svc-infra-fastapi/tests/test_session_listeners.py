"""What an application hangs on the class of sessions (an audit log, a tenant's confines) hears of generated routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import String, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, with_loader_criteria

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.api.fastapi.db.sql.state import get_database

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]


class Base(DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "listened_papers"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))


class Trace(Base):
    __tablename__ = "listened_traces"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(50))


class Plain(Base):
    __tablename__ = "listened_plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    papers = ApiResource(model=Paper, prefix="/papers", actions=ALL_ACTIONS - {"restore"})
    setup_sql(app, [papers, ApiResource(model=Plain, prefix="/plain")], url=sql_url)
    return app


@contextmanager
def listening(target: Any, name: str, listener: Callable[..., Any]) -> Iterator[None]:
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


def trace(session: Session, *_: object) -> None:
    """Write down what the session is about to write."""
    for words, entities in (("created", session.new), ("changed", session.dirty), ("deleted", session.deleted)):
        session.add_all([Trace(text=f"{words} {each.title}") for each in entities if isinstance(each, Paper)])


async def traces(app: FastAPI) -> list[str]:
    async with get_database(app).session() as session:
        return list(await session.scalars(select(Trace.text).order_by(Trace.id)))


async def test_an_audit_log_has_every_write(app: FastAPI, client: httpx.AsyncClient) -> None:
    """A listener that came after the first requests writes its row in the transaction of the write."""
    for number in range(3):  # a statement goes the driver's way from its second run
        await client.post("/papers", json={"title": f"quiet {number}"})
        await client.patch("/papers/1", json={"title": "quiet"})
    with listening(Session, "before_flush", trace):
        path = (await client.post("/papers", json={"title": "a"})).headers["location"]
        assert (await client.patch(path, json={"title": "b"})).json()["title"] == "b"
        assert (await client.put(path, json={"title": "c"})).json()["title"] == "c"
        assert (await client.delete(path)).status_code == 204
        assert (await client.post("/papers/bulk", json=[{"title": "d"}, {"title": "e"}])).status_code == 200
    await client.post("/papers", json={"title": "quiet again"})
    assert await traces(app) == ["created a", "changed b", "changed c", "deleted c", "created d", "created e"]


async def test_what_a_listener_refuses_is_not_written(client: httpx.AsyncClient) -> None:
    """Its HTTPException is the answer, and nothing of the request is left."""
    path = (await client.post("/papers", json={"title": "a"})).headers["location"]

    def refuse(_session: Session, *_: object) -> None:
        raise HTTPException(403, "Closed for the night")

    with listening(Session, "before_flush", refuse):
        for answer in (
            await client.post("/papers", json={"title": "b"}),
            await client.patch(path, json={"title": "b"}),
            await client.delete(path),
        ):
            assert (answer.status_code, answer.json()["detail"]) == (403, "Closed for the night")
    assert [each["title"] for each in (await client.get("/papers")).json()["items"]] == ["a"]


async def test_reads_are_confined_by_a_listener(client: httpx.AsyncClient) -> None:
    """Criteria that it adds to every SELECT hold for a record, a page, its total and an export; writes find no more."""
    await client.post("/papers/bulk", json=[{"title": "mine"}, {"title": "theirs"}])

    def confine(state: Any) -> None:
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(Paper, Paper.title == "mine"))

    with listening(Session, "do_orm_execute", confine):
        assert (await client.get("/papers/1")).json()["title"] == "mine"
        assert (await client.get("/papers/2")).status_code == 404
        page = (await client.get("/papers")).json()
        assert ([each["title"] for each in page["items"]], page["total"]) == (["mine"], 1)
        assert (await client.get("/papers/export")).text.count("\n") == 1
        assert (await client.patch("/papers/2", json={"title": "x"})).status_code == 404
        assert (await client.delete("/papers/2")).status_code == 404
    assert (await client.get("/papers/2")).json()["title"] == "theirs"


@pytest.mark.parametrize(
    ("name", "of_reads"),
    [
        ("after_begin", True),
        ("before_commit", True),
        ("after_commit", True),
        ("after_transaction_end", True),
        ("after_attach", False),
        ("pending_to_persistent", False),
    ],
)
async def test_an_event_of_a_session_is_heard(client: httpx.AsyncClient, name: str, of_reads: bool) -> None:
    """Whatever a session would say of a create, a get and a list, the routes say."""
    heard: list[str] = []
    with listening(Session, name, lambda *_: heard.append(name)):
        await client.post("/papers", json={"title": "a"})
        assert heard
        heard.clear()
        for path in ("/papers/1", "/papers"):
            await client.get(path)
            assert bool(heard) is of_reads
            heard.clear()


async def test_a_late_listener_of_a_model_is_heard(client: httpx.AsyncClient) -> None:
    """Also when it came after the first request."""
    for number in range(3):
        assert (await client.post("/plain", json={"title": f"{number}"})).status_code == 201
    heard: list[str] = []
    with listening(Plain, "before_insert", lambda *_: heard.append("insert")):
        assert (await client.post("/plain", json={"title": "a"})).status_code == 201
    assert heard == ["insert"]
