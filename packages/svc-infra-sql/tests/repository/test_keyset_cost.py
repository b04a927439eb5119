"""What a deep keyset page reads, told by the database and not by a clock."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Index, event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.repository import SqlRepository


class Deep(ModelBase):
    __tablename__ = "deep_rows"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rank: Mapped[int | None] = mapped_column("place")
    __table_args__ = (Index(None, "place", "id"),)


TABLES = [Deep.__table__]
deep = SqlRepository(Deep)
NUMBER, LIMIT = 4000, 5


async def _rows_read(database: Database, cursor: str, order: str) -> tuple[list[int], int]:
    """A page's ids, and how many rows the server looked at."""
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
        ids = [row.id for row in page.items]
        if not is_postgresql:
            return ids, await _reads(session) - before
        number = 0
        for statement, parameters in sent:
            plan = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            number += _of_plan(plan.scalar_one()[0]["Plan"])
        return ids, number


async def _reads(session: AsyncSession) -> int:
    found = await session.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'"))
    return sum(int(number) for name, number in found if not name.startswith("Handler_read_rnd"))


def _of_plan(node: dict[str, Any]) -> int:
    own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(own) + sum(map(_of_plan, node.get("Plans", ())))


@pytest.mark.parametrize("order", ["rank", "-rank"])
async def test_a_page_by_a_nullable_field_costs_the_same_at_any_depth(database: Database, order: str) -> None:
    """Also where rows begin or end whose field is NULL, and among those."""
    if database.engine.dialect.name not in {"postgresql", "mysql", "mariadb"}:
        pytest.skip("its library does not tell what it has read")
    async with database.session() as session:
        await deep.purge_many(session, where=[], deleted="include")
        rows = [{"id": n, "rank": None if n % 4 == 0 else n} for n in range(NUMBER)]
        await deep.create_many(session, rows, returning=False)
    table = "TABLE deep_rows" if database.engine.dialect.name != "postgresql" else "deep_rows"
    async with database.engine.begin() as connection:
        await connection.execute(text(f"ANALYZE {table}"))
    async with database.session() as session:
        wanted = [row.id for row in await deep.rows.list(session, limit=NUMBER, order_by=order)]
    for place in (NUMBER // 8, NUMBER // 4 - 2, NUMBER // 2, NUMBER * 3 // 4 - 2, NUMBER - 20):
        async with database.session() as session:
            cursor = (await deep.rows.page(session, limit=place, order_by=order)).next_cursor
        assert cursor is not None
        ids, number = await _rows_read(database, cursor, order)
        assert ids == wanted[place : place + LIMIT]
        assert number < 50, f"{number} rows were read at {place}"
