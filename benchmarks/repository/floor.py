"""The drivers alone, with SQL written by hand: what no library can beat. asyncpg on PostgreSQL, aiosqlite on SQLite."""

from __future__ import annotations

from typing import Any, Protocol

from benchmarks.repository.cases import contender, deep
from benchmarks.repository.model import COLUMNS, THOUSAND, WRITTEN, created

NAME = "driver"
PAGE = f"SELECT {COLUMNS} FROM bench_items WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 50 OFFSET "
COUNT = "SELECT count(*) FROM bench_items WHERE deleted_at IS NULL"
INSERT = (
    f"INSERT INTO bench_items ({', '.join(WRITTEN)}) VALUES ({', '.join(f'${n + 1}' for n in range(len(WRITTEN)))})"
)


class Driver(Protocol):
    """A connection of a driver, in a transaction; statements have their parameters as $1, $2, ..."""

    async def fetch(self, statement: str, *values: Any) -> Any:
        """All rows of a statement."""

    async def insert_many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Send many rows by that statement, or by what is faster."""


@contender("get rows", NAME, "floor", ground="driver")
async def _(d: Driver, n: int) -> object:
    return await d.fetch(f"SELECT {COLUMNS} FROM bench_items WHERE id = $1 AND deleted_at IS NULL", n)


@contender("list 50 rows", NAME, "floor", ground="driver")
async def _(d: Driver, n: int) -> object:
    return await d.fetch(PAGE + "$1", n % 100)


@contender("total rows", NAME, "floor", ground="driver")
async def _(d: Driver, _n: int) -> object:
    return await d.fetch(PAGE + "0"), await d.fetch(COUNT)


@contender("create rows", NAME, "floor", ground="driver")
async def _(d: Driver, n: int) -> object:
    return await d.fetch(f"{INSERT} RETURNING {COLUMNS}", *created(n).values())


@contender("update rows", NAME, "floor", ground="driver")
async def _(d: Driver, n: int) -> object:
    where = "WHERE id = $1 AND deleted_at IS NULL"
    return await d.fetch(f"UPDATE bench_items SET name = $2 {where} RETURNING {COLUMNS}", n, "new")


@contender("delete rows", NAME, "floor", ground="driver")
async def _(d: Driver, n: int) -> object:
    return await d.fetch("DELETE FROM bench_items WHERE id = $1 RETURNING id", n)


@contender("deep page", NAME, "floor", ground="driver")
async def _(d: Driver, _n: int) -> object:
    assert deep.place is not None
    after = "WHERE (created_at, id) > ($1, $2) AND deleted_at IS NULL ORDER BY created_at, id LIMIT 50"
    return await d.fetch(f"SELECT {COLUMNS} FROM bench_items {after}", *deep.place)


@contender("deep, all", NAME, "floor", ground="driver")
async def _(d: Driver, _n: int) -> object:
    assert deep.place is not None
    after = "WHERE (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT 50"
    return await d.fetch(f"SELECT {COLUMNS} FROM bench_items {after}", *deep.place)


@contender("1,000 sent", NAME, "floor", ground="driver")
async def _(d: Driver, _n: int) -> object:
    return await d.insert_many(INSERT, [tuple(row.values()) for row in THOUSAND])
