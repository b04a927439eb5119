"""create_many of whatever rows does what create does of one after another."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, String, Uuid, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, validates

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import SqlError
from svc_infra.db.sql.repository import SqlRepository


class ManyCounted(ModelBase):
    __tablename__ = "as_one_counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(12), unique=True)
    size: Mapped[int | None]
    note: Mapped[str] = mapped_column(String(12), default="none")
    extra: Mapped[object | None] = mapped_column(JSON(none_as_null=True))


class ManyNamed(ModelBase):
    __tablename__ = "as_one_named"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    code: Mapped[str] = mapped_column(String(12), unique=True)
    size: Mapped[int | None]
    note: Mapped[str] = mapped_column(String(12), server_default="none")
    extra: Mapped[object | None] = mapped_column(JSON(none_as_null=True))


class ManyPaired(ModelBase):
    __tablename__ = "as_one_paired"
    code: Mapped[str] = mapped_column(String(12), primary_key=True)
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=3)
    note: Mapped[str | None] = mapped_column(String(12))
    extra: Mapped[object | None] = mapped_column(JSON(none_as_null=True))


class ManyChecked(ModelBase):
    __tablename__ = "as_one_checked"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(12), unique=True)
    size: Mapped[int | None]
    note: Mapped[str | None] = mapped_column(String(12))
    extra: Mapped[object | None] = mapped_column(JSON(none_as_null=True))

    @validates("note")
    def _as_it_is(self, _name: str, value: object) -> object:
        return value


MODELS: dict[str, type[ModelBase]] = {each.__name__: each for each in (ManyCounted, ManyNamed, ManyPaired, ManyChecked)}
TABLES = [each.__table__ for each in MODELS.values()]

FIELDS: dict[str, st.SearchStrategy[object]] = {
    "size": st.sampled_from([None, 1, 2, 2**31 - 1]),
    "note": st.sampled_from(["a", "b", None, "\u00e9", func.upper("c"), func.lower("D")]),
    "extra": st.sampled_from([None, [1], {"a": [None]}, "text"]),
}
KINDS: list[Any] = [dict, lambda row: defaultdict(list, row), MappingProxyType]
WRONG: list[dict[str, object]] = [{"code": 5}, {"code": "c0"}, {"nothing": 1}, {"size": "x"}, {"code": None}]


@st.composite
def batches(draw: st.DrawFn) -> list[Mapping[str, object]]:
    """Up to 700 rows of a few shapes, some of which may be refused."""
    shapes = draw(st.lists(st.fixed_dictionaries({}, optional=FIELDS), min_size=1, max_size=4))
    number = draw(st.sampled_from([0, 1, 2, 49, 50, 124, 125, 126, 250, 251, 700]))
    kind = draw(st.sampled_from(KINDS))
    step = draw(st.integers(1, 60))
    rows: list[dict[str, object]] = [
        {"code": f"c{place}", **shapes[place // step % len(shapes)]} for place in range(number)
    ]
    for _ in range(draw(st.integers(0, 2)) if rows else 0):
        rows[draw(st.integers(0, number - 1))].update(draw(st.sampled_from(WRONG)))
    return [kind(row) for row in rows]


async def _one_by_one(session: AsyncSession, repo: Any, rows: list[Mapping[str, object]]) -> Any:
    found = []
    for index, row in enumerate(rows):
        try:
            async with session.begin_nested():
                found.append(await repo.create(session, row))
        except SqlError as error:
            return type(error), index
    return _plain(found)


async def _together(session: AsyncSession, repo: Any, rows: list[Mapping[str, object]], **options: Any) -> Any:
    try:
        found = await repo.create_many(session, iter(rows), **options)
    except SqlError as error:
        assert await repo.count(session) == 0
        return type(error), error.row
    return _plain(found if isinstance(found, list) else await repo.list(session, limit=1000))


def _plain(found: list[Any]) -> list[tuple[object, ...]]:
    return [(row.code, row.size, row.note, row.extra) for row in found]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=batches(), size=st.sampled_from([1, 60, 130, 5000]))
async def test_many_rows_become_what_each_becomes(
    database: Database, name: str, rows: list[Mapping[str, object]], size: int
) -> None:
    """The same rows in the same order, or the same refusal of the same row, with nothing left and a session in use."""
    if database.engine.dialect.name == "duckdb":
        pytest.skip("DuckDB has no savepoints")
    objects: SqlRepository[Any] = SqlRepository(MODELS[name])
    if name == "ManyChecked":
        rows = rows[:60]  # its rows are written by the ORM, one after another when one is refused
    size = max(size, len(rows) // 20)
    async with AsyncSession(database.engine, expire_on_commit=False) as session:
        wanted = await _one_by_one(session, objects.rows, rows)
        await session.rollback()
    for repo in (objects, objects.rows):
        async with AsyncSession(database.engine, expire_on_commit=False) as session:
            assert await _together(session, repo, rows, batch_size=size) == wanted
            assert await objects.count(session) == (len(wanted) if isinstance(wanted, list) else 0)
    async with AsyncSession(database.engine) as session:
        found = await _together(session, objects.rows, rows, batch_size=size, returning=False)
        if isinstance(wanted, list):
            assert sorted(map(repr, found)) == sorted(map(repr, wanted))
        else:
            assert found == wanted
