"""What a deep keyset page reads, told by the database and not by a clock."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Index, event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.paging import KeysetPage
from svc_infra.db.sql.repository import SqlRepository


class Deep(ModelBase):
    __tablename__ = "deep_rows"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rank: Mapped[int | None] = mapped_column("place")
    __table_args__ = (Index(None, "place", "id"),)


TABLES = [Deep.__table__]
deep = SqlRepository(Deep)
NUMBER, LIMIT = 100_000, 5


async def _read(database: Database, cursor: str, order: str) -> tuple[KeysetPage[Any], int]:
    """A page, and how many rows the server looked at."""
    sent: list[tuple[str, Any]] = []

    def record(_c: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    async with AsyncSession(database.engine) as session:
        connection = await session.connection()
        is_postgresql = connection.dialect.name == "postgresql"
        before = 0 if is_postgresql else await _reads(session)
        event.listen(database.engine.sync_engine, "before_cursor_execute", record)
        try:
            page = await deep.rows.page(session, limit=LIMIT, order_by=order, cursor=cursor)
        finally:
            event.remove(database.engine.sync_engine, "before_cursor_execute", record)
        if not is_postgresql:
            return page, await _reads(session) - before
        number = 0
        for statement, parameters in sent:
            plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            number += _of_plan(plan.scalar_one()[0]["Plan"])
        return page, number


async def _reads(session: AsyncSession) -> int:
    found = await session.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
    return sum(int(number) for name, number in found if not name.startswith("Handler_read_rnd"))


def _of_plan(node: dict[str, Any]) -> int:
    """The rows that scans gave or dropped, in all of a plan."""
    if "Plans" in node:
        return sum(map(_of_plan, node["Plans"]))
    assert node["Node Type"].startswith("Index"), node
    return int(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))


@pytest.fixture
async def filled(database: Database) -> Database:
    """The database with its rows, a quarter of which are NULL; written for the first test."""
    if database.engine.dialect.name not in {"postgresql", "mysql", "mariadb"}:
        pytest.skip("its library does not tell what it has read")
    async with database.session() as session:
        if await deep.count(session) == 0:
            rows = ({"id": n, "rank": None if n % 4 == 0 else n // 3} for n in range(NUMBER))
            await deep.create_many(session, rows, returning=False)
            table = "TABLE deep_rows" if database.engine.dialect.name != "postgresql" else "deep_rows"
            await session.execute(text(f"ANALYZE {table}"))
    return database


@pytest.mark.parametrize("order", ["rank", "-rank"])
async def test_a_page_by_a_nullable_field_costs_the_same_at_any_depth(filled: Database, order: str) -> None:
    """Forwards and backwards, also where rows begin or end whose field is NULL, and among those.

    Near the border PostgreSQL may read a few rows by the primary key, whose range it finds shorter.
    """
    async with filled.session() as session:
        rows = await deep.rows.list(session, limit=NUMBER, order_by=order)
    wanted = [row.id for row in rows]
    border = next(place for place, row in enumerate(rows) if (row.rank is None) is not (rows[0].rank is None))
    for place in (8, border // 2, *range(border - LIMIT - 1, border + LIMIT + 2), (border + NUMBER) // 2, NUMBER - 8):
        async with filled.session() as session:
            pair = field("id").in_([wanted[place - 1], wanted[place]])
            cursor = (await deep.rows.page(session, limit=1, order_by=order, where=pair)).next_cursor
        assert cursor is not None
        page, number = await _read(filled, cursor, order)
        assert [row.id for row in page.items] == wanted[place : place + LIMIT]
        assert number < 50, f"{number} rows were read after {place}"
        assert page.previous_cursor is not None
        page, number = await _read(filled, page.previous_cursor, order)
        assert [row.id for row in page.items] == wanted[place - LIMIT : place]
        assert number < 50, f"{number} rows were read before {place}"
