"""Names of tables and columns that mean something to a driver, to SQL or to SQLAlchemy's own templates."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import DateTime, Integer, MetaData, String, UniqueConstraint
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository

DRIVERS = {
    "postgresql+asyncpg": "postgres",
    "postgresql+psycopg": "postgres",
    "mysql+asyncmy": "mysql",
    "mysql+aiomysql": "mysql",
    "sqlite+aiosqlite": "sqlite",
    "duckdb": "duckdb",
}
MOMENT = DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")
RESERVED = {
    "key": "select",
    "code": "order",
    "text": "group",
    "version": "table",
    "deleted": "where",
    "tenant": "from",
    "taken": "user",
}
TEMPLATES = {
    "percent": "50% {}",
    "format": "%({})s %d %%",
    "quotes": "\"'{}`",
    "colon": ":{}::x",
    "question mark": "{}? $1",
    "backslash": "\\{}",
    "dot": "a.{}",
    "brackets": "[{}](x){{y}} --/*",
    "letters": "Größe_я_{}",
    "longest": "{:x<63}",
}


def _model(name: Callable[[str], str]) -> type[Any]:
    class Base(DeclarativeBase):
        metadata = MetaData()

    class Odd(Base):
        __tablename__ = name("rows")
        id: Mapped[int] = mapped_column(name("key"), Integer, primary_key=True, autoincrement=False)
        code: Mapped[str] = mapped_column(name("code"), String(20))
        text: Mapped[str | None] = mapped_column(name("text"), String(20), default="d")
        version: Mapped[int] = mapped_column(name("version"), default=1)
        deleted_at: Mapped[dt.datetime | None] = mapped_column(name("deleted"), MOMENT)
        tenant: Mapped[int] = mapped_column(name("tenant"), default=0)
        __table_args__ = (UniqueConstraint(name("code"), name=name("taken")),)

    return Odd


MODELS = {kind: _model(template.format) for kind, template in TEMPLATES.items()}
MODELS["reserved"] = _model(lambda role: RESERVED.get(role, "values"))


@pytest.fixture(params=DRIVERS)
async def database(request: pytest.FixtureRequest, module_database: Callable[[str], str]) -> AsyncIterator[Database]:
    """The database by each driver in turn."""
    url = module_database(DRIVERS[request.param])
    async with Database(request.param + url[url.index("://") :]) as database:
        yield database


@pytest.mark.parametrize("kind", MODELS)
async def test_every_method_takes_columns_of_any_name(database: Database, kind: str) -> None:
    """No statement of the repository breaks on a name, sent the first time or again, by one row or many."""
    if kind == "format" and sqlalchemy.__version__.startswith("2.0."):
        pytest.skip("SQLAlchemy 2.0 takes such a name for a place in its own texts")
    model = MODELS[kind]
    repo = SqlRepository(model, soft_delete=True, version_field="version")
    async with database.engine.begin() as connection:
        await connection.run_sync(model.metadata.drop_all)
        await connection.run_sync(model.metadata.create_all)
    rows = repo.scoped({"tenant": 7}).rows
    for form in (repo, rows, rows):  # the last one by statements that are kept
        async with database.session() as session:
            await _use(session, form)


async def _use(session: AsyncSession, repo: Any) -> None:
    """Every method, on an empty table, which it leaves empty."""

    def rows(first: int, number: int) -> list[dict[str, object]]:
        return [{"id": i, "code": f"c{i}", "text": f"t%{i}"} for i in range(first, first + number)]

    def text_of(found: Any) -> str | None:
        return None if found is None else str(found.text)

    assert (await repo.create(session, rows(1, 1)[0])).text == "t%1"
    assert [row.id for row in await repo.create_many(session, rows(2, 60))] == list(range(2, 62))
    assert await repo.create_many(session, rows(62, 60), returning=False) == 60
    assert len(await repo.create_many(session, rows(200, 300))) == 300
    assert await repo.create_many(session, rows(500, 300), returning=False) == 300
    assert text_of(await repo.get(session, 1, lock="update")) == "t%1"
    assert [row.id for row in await repo.get_many(session, [3, 2])] == [3, 2]
    assert text_of(await repo.update(session, 1, {"text": "u"}, version=1)) == "u"
    changed = await repo.update_each(session, [Change(1, {"text": "v"}, version=2), Change(2, {"text": "w"})])
    assert list(map(text_of, changed)) == ["v", "w"]
    many = await repo.update_each(session, [Change(i, {"text": f"x{i}"}) for i in range(200, 300)])
    assert list(map(text_of, many)) == [f"x{i}" for i in range(200, 300)]
    assert await repo.update_many(session, {"text": "y"}, ids=[3, 4]) == 2
    assert await repo.update_many(session, {"text": "z"}, where=field("text").eq("y")) == 2
    assert (await repo.upsert(session, {"id": 1, "code": "c1", "text": "a"})).text == "a"
    assert (await repo.upsert(session, {"id": 1, "code": "c1", "text": "b"}, on="code", update=[])).text == "a"
    found = await repo.upsert_many(session, [{**row, "text": "m"} for row in rows(60, 3)] + rows(130, 2), on="code")
    assert list(map(text_of, found)) == ["m", "m", "m", "t%130", "t%131"]
    where = [field("text").eq("m") | field("code").contains("%"), field("id").between(0, 999)]
    assert [row.id for row in await repo.list(session, limit=9, where=where, order_by="-code")] == [
        62,
        61,
        60,
    ]
    assert len((await repo.list_and_count(session, limit=2, where=field("text").eq("m")))[0]) == 2
    assert await repo.count(session, q="M", fields=["text", "code"]) == 3
    assert [row.id for row in await repo.search(session, q="%9", fields=["text"], limit=1)] == [9]
    page = await repo.page(session, limit=2, order_by="text", where=field("text").eq("m"))
    page = await repo.page(session, limit=2, order_by="text", where=field("text").eq("m"), cursor=page.next_cursor)
    assert [row.id for row in page.items] == [62]
    page = await repo.page(session, limit=2, order_by="text", where=field("text").eq("m"), cursor=page.previous_cursor)
    assert [row.id for row in page.items] == [60, 61]
    assert await repo.exists(session, 1, where=field("version").ge(1))
    if session.get_bind().dialect.supports_server_side_cursors:
        assert [row.id async for row in repo.stream(session, where=field("text").eq("m"))] == [
            60,
            61,
            62,
        ]
    assert await repo.delete(session, 1)
    assert await repo.get(session, 1) is None
    assert text_of(await repo.restore(session, 1)) == "a"
    assert await repo.delete_many(session, ids=[1, 2]) == 2
    assert await repo.restore_many(session, ids=[1]) == 1
    assert await repo.purge(session, 1)
    assert await repo.purge_many(session, where=[]) == 1
    assert await repo.delete_many(session, where=field("id").lt(500)) == 421
    assert await repo.purge_many(session, where=[]) == 421
    assert await repo.purge_many(session, where=[], deleted="include") == 300
