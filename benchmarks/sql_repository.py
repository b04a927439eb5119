"""Compare the repository with hand-written SQLAlchemy, in one run on one database.

    uv run python -m benchmarks.sql_repository [--rounds 30] [--rows 100000] [postgres] [sqlite]

PostgreSQL comes from TEST_POSTGRES_URL or is started for the run. Every contender of a case runs once per round, in
turn, so that what disturbs the machine disturbs all of them; only the ratios of the medians mean anything. Each call
runs in a transaction that is rolled back. Issue targets stand beside the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import DateTime, Index, String, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

from svc_infra.db.sql.repository import SqlRepository


class Base(DeclarativeBase):
    """The tables of this benchmark."""


class Item(Base):
    """A row of eleven columns."""

    __tablename__ = "bench_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(100))
    city: Mapped[str] = mapped_column(String(50))
    age: Mapped[int]
    score: Mapped[float]
    active: Mapped[bool]
    note: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    __table_args__ = (Index("ix_bench_items_created_at_id", "created_at", "id"),)


T = Item.__table__
START = datetime(2020, 1, 1, tzinfo=UTC)


def sample(number: int) -> dict[str, object]:
    """The values of a row."""
    return {
        "name": f"name {number}",
        "email": f"user{number}@example.com",
        "city": f"city {number % 97}",
        "age": number % 90,
        "score": number / 7,
        "active": number % 2 == 0,
        "note": None,
        "created_at": START + timedelta(seconds=number),
    }


Call = Callable[[AsyncSession, int], Awaitable[object]]
repo = SqlRepository(Item, soft_delete=True)
hard = SqlRepository(Item)


@dataclass
class Deep:
    """Where the deep page begins."""

    depth: int = 0
    cursor: str | None = None


deep = Deep()
CASES: dict[str, dict[str, tuple[Call, str]]] = {}


def contender(case: str, name: str, target: str = "") -> Callable[[Call], Call]:
    """Register a contender of a case; the first one is what the others are compared with."""

    def register(call: Call) -> Call:
        CASES.setdefault(case, {})[name] = (call, target)
        return call

    return register


@contender("get", "orm by hand")
async def _(s: AsyncSession, n: int) -> object:
    return (await s.execute(select(Item).where(Item.id == n, Item.deleted_at.is_(None)))).scalar_one_or_none()


@contender("get", "repository", "0.75")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.get(s, n)


@contender("get rows", "core by hand")
async def _(s: AsyncSession, n: int) -> object:
    return (await (await s.connection()).execute(select(T).where(T.c.id == n, T.c.deleted_at.is_(None)))).first()


@contender("get rows", "rows", "0.60")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.get(s, n)


@contender("list 50", "orm by hand")
async def _(s: AsyncSession, n: int) -> object:
    statement = select(Item).where(Item.deleted_at.is_(None)).order_by(Item.created_at.desc(), Item.id.desc())
    return (await s.execute(statement.limit(50).offset(n % 100))).scalars().all()


@contender("list 50", "repository", "0.75")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.list(s, limit=50, offset=n % 100, order_by="-created_at")


@contender("list 50 rows", "core by hand")
async def _(s: AsyncSession, n: int) -> object:
    statement = select(T).where(T.c.deleted_at.is_(None)).order_by(T.c.created_at.desc(), T.c.id.desc())
    return (await (await s.connection()).execute(statement.limit(50).offset(n % 100))).all()


@contender("list 50 rows", "rows", "0.70")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.list(s, limit=50, offset=n % 100, order_by="-created_at")


@contender("create", "orm by hand")
async def _(s: AsyncSession, n: int) -> object:
    item = Item(**sample(n))
    s.add(item)
    await s.flush()
    await s.refresh(item)
    return item


@contender("create", "repository", "0.55")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.create(s, sample(n))


@contender("create rows", "core by hand")
async def _(s: AsyncSession, n: int) -> object:
    connection = await s.connection()
    result = await connection.execute(insert(T).values(**sample(n)))
    return (await connection.execute(select(T).where(T.c.id == result.inserted_primary_key[0]))).one()


@contender("create rows", "rows", "0.50")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.create(s, sample(n))


@contender("update", "orm by hand")
async def _(s: AsyncSession, n: int) -> object:
    item = (await s.execute(select(Item).where(Item.id == n, Item.deleted_at.is_(None)))).scalar_one()
    item.name = "new"
    await s.flush()
    await s.refresh(item)
    return item


@contender("update", "repository", "0.50")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.update(s, n, {"name": "new"})


@contender("update rows", "core by hand")
async def _(s: AsyncSession, n: int) -> object:
    connection = await s.connection()
    await connection.execute(update(T).where(T.c.id == n, T.c.deleted_at.is_(None)).values(name="new"))
    return (await connection.execute(select(T).where(T.c.id == n))).one()


@contender("update rows", "rows", "0.50")
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.update(s, n, {"name": "new"})


@contender("delete", "orm by hand")
async def _(s: AsyncSession, n: int) -> object:
    await s.delete((await s.execute(select(Item).where(Item.id == n))).scalar_one())
    await s.flush()


@contender("delete", "repository", "0.50")
async def _(s: AsyncSession, n: int) -> object:
    return await hard.delete(s, n)


@contender("delete rows", "core by hand")
async def _(s: AsyncSession, n: int) -> object:
    connection = await s.connection()
    if (await connection.execute(select(T.c.id).where(T.c.id == n))).first() is not None:
        await connection.execute(delete(T).where(T.c.id == n))


@contender("delete rows", "rows", "0.45")
async def _(s: AsyncSession, n: int) -> object:
    return await hard.rows.delete(s, n)


@contender("total rows", "core by hand")
async def _(s: AsyncSession, _n: int) -> object:
    connection = await s.connection()
    live = select(T).where(T.c.deleted_at.is_(None))
    page = (await connection.execute(live.order_by(T.c.created_at.desc(), T.c.id.desc()).limit(50))).all()
    counted = select(func.count()).select_from(T).where(T.c.deleted_at.is_(None))
    return page, (await connection.execute(counted)).scalar_one()


@contender("total rows", "rows", "1.00")
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.rows.list_and_count(s, limit=50, order_by="-created_at")


@contender("deep page", "offset by hand")
async def _(s: AsyncSession, _n: int) -> object:
    statement = select(T).order_by(T.c.created_at, T.c.id).limit(50).offset(deep.depth)
    return (await (await s.connection()).execute(statement)).all()


@contender("deep page", "keyset", "0.05")
async def _(s: AsyncSession, _n: int) -> object:
    return await hard.rows.page(s, limit=50, order_by="created_at", cursor=deep.cursor)


@contender("1,000 returned", "orm add_all")
async def _(s: AsyncSession, _n: int) -> object:
    items = [Item(**sample(i)) for i in range(1000)]
    s.add_all(items)
    await s.flush()
    return items


@contender("1,000 returned", "create_many", "0.35")
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.create_many(s, (sample(i) for i in range(1000)))


@contender("1,000 sent", "orm add_all")
async def _(s: AsyncSession, _n: int) -> object:
    s.add_all([Item(**sample(i)) for i in range(1000)])
    await s.flush()


@contender("1,000 sent", "create_many", "0.15")
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.create_many(s, (sample(i) for i in range(1000)), returning=False)


async def measure(engine: AsyncEngine, rounds: int, rows: int, chosen: list[str]) -> bool:
    """Print the ratios of every case and tell whether all are within their limits."""
    kept = True
    numbers = itertools.count(1)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        deep.depth = rows // 2
        deep.cursor = (await hard.rows.page(session, limit=deep.depth, order_by="created_at")).next_cursor
        for case, contenders in CASES.items():
            if chosen and not any(case.startswith(name) for name in chosen):
                continue
            times: dict[str, list[float]] = {name: [] for name in contenders}
            calls = 1 if "1,000" in case or "deep" in case or "total" in case else 20
            for step in range(rounds + 3):
                for name, (call, _) in contenders.items():
                    elapsed = 0.0
                    for _unused in range(calls):
                        number = (next(numbers) * 7919) % rows + 1
                        await session.connection()
                        begin = time.perf_counter()
                        await call(session, number)
                        elapsed += time.perf_counter() - begin
                        await session.rollback()
                        session.expunge_all()
                    if step >= 3:
                        times[name].append(elapsed / calls)
            medians = {name: statistics.median(found) for name, found in times.items()}
            base = next(iter(medians.values()))
            print(f"{case:24}", end="")
            for name, median in medians.items():
                ratio, target = median / base, contenders[name][1]
                kept = kept and (not target or ratio <= float(target))
                print(f"  {name} {ratio:.2f}{f' (<= {target})' if target else f' [{median * 1e6:.0f} us]'}", end="")
            print(flush=True)
    return kept


@asynccontextmanager
async def filled(url: str, rows: int) -> AsyncIterator[AsyncEngine]:
    """The engine of a database with the table filled."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            for start in range(0, rows, 5000):
                await connection.execute(insert(T), [sample(n) for n in range(start, min(start + 5000, rows))])
            if engine.dialect.name == "postgresql":
                await connection.exec_driver_sql("ANALYZE bench_items")
        yield engine
    finally:
        await engine.dispose()


async def main() -> int:
    """Read the arguments, run, and return 1 when a limit is not kept."""
    missed = False
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["postgres", "sqlite"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--case", action="append", default=[])
    arguments = parser.parse_args()
    async with AsyncExitStack() as stack:
        for database in arguments.databases:
            if database == "sqlite":
                folder = stack.enter_context(TemporaryDirectory())
                url = f"sqlite+aiosqlite:///{folder}/bench.sqlite"
            else:
                from dbservers.postgres import open_postgres
                from dbservers.workspace import Workspace

                workspace = Workspace()
                stack.callback(workspace.close)
                server = stack.enter_context(open_postgres(workspace))
                url = server.create_database().replace("postgresql://", "postgresql+asyncpg://")
                url = url.replace("sslmode=", "ssl=")
            print(f"\n{database}: ratios to the first, medians of {arguments.rounds} rounds")
            async with filled(url, arguments.rows) as engine:
                missed |= not await measure(engine, arguments.rounds, arguments.rows, arguments.case)
    return int(missed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
