"""Compare a session of `Database` with one written by hand, and look at many sessions on a small pool.

    python -m benchmarks.sql_session [--rounds 15] [--calls 200] [postgres] [sqlite]

PostgreSQL comes from TEST_POSTGRES_URL or is started for the run. Contenders run in turn in every round; the ratio is
that of the medians. Limits: 1.05 for an empty session and for one with a prebuilt select; for 1,000 sessions at once on
a pool of 20 the 99th percentile of the waits is at most 5 times their median, and memory does not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, bindparam, event, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

from svc_infra.db.sql.database import Database

LARGEST_RATIO = 1.05
FAIRNESS = 5.0

rows = Table("bench_sessions", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False))
SELECT_ONE = select(rows.c.id).where(rows.c.id == bindparam("id"))


async def empty_by_hand(engine: AsyncEngine) -> None:
    """An empty session, as SQLAlchemy's manual writes it."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        pass


async def select_by_hand(engine: AsyncEngine) -> None:
    """A session with one statement that was built before."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        (await session.execute(SELECT_ONE, {"id": 1})).scalar_one()


async def empty_session(database: Database) -> None:
    """An empty session of `Database`."""
    async with database.session():
        pass


async def select_in_session(database: Database) -> None:
    """The same statement in a session of `Database`."""
    async with database.session() as session:
        (await session.execute(SELECT_ONE, {"id": 1})).scalar_one()


async def seconds(call: Callable[[], Awaitable[None]], calls: int) -> float:
    """Return the seconds per call."""
    start = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - start) / calls


async def compare(name: str, url: str, rounds: int, calls: int) -> bool:
    """Print the ratios on one database; False when one is too large."""
    async with Database(url, pool_size=20) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(rows.metadata.create_all)
            await connection.execute(rows.insert().values(id=1))
        engine = create_async_engine(
            database.url, pool_size=20, connect_args=plain(database), poolclass=AsyncAdaptedQueuePool
        )
        if name == "sqlite":
            begin_explicitly(engine)
        cases: dict[str, tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]] = {
            "empty session": (lambda: empty_by_hand(engine), lambda: empty_session(database)),
            "one prebuilt select": (lambda: select_by_hand(engine), lambda: select_in_session(database)),
        }
        kept = True
        for case, contenders in cases.items():
            taken: tuple[list[float], list[float]] = ([], [])
            for contender in contenders:
                await seconds(contender, calls)  # warm up
            for number in range(rounds):
                for which in (0, 1) if number % 2 else (1, 0):
                    gc.collect()
                    taken[which].append(await seconds(contenders[which], calls))
            ratio = statistics.median(taken[1]) / statistics.median(taken[0])
            kept = kept and ratio <= LARGEST_RATIO
            print(f"{name:10} {case:22} {ratio:5.2f} x by hand (at most {LARGEST_RATIO})")
        kept = await many(name, database) and kept
        await engine.dispose()
    return kept


def begin_explicitly(engine: AsyncEngine) -> None:
    """Give SQLite real transactions, as SQLAlchemy's manual says ("Serializable isolation / Savepoints")."""

    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


def plain(database: Database) -> dict[str, object]:
    """What the driver needs on this machine: no TLS to the server that was started for the run."""
    return {"ssl": "disable"} if database.url.drivername.endswith("asyncpg") else {}


async def many(name: str, database: Database) -> bool:
    """Hold 1,000 sessions at once on the pool, several times; False when the waits are unfair or memory grows."""
    waits: list[float] = []

    async def use() -> None:
        start = time.perf_counter()
        async with database.session() as session:
            await session.connection()
            waits.append(time.perf_counter() - start)
            (await session.execute(SELECT_ONE, {"id": 1})).scalar_one()

    sizes = []
    tracemalloc.start()
    for _ in range(4):
        waits.clear()
        await asyncio.gather(*(use() for _ in range(1000)))
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    waits.sort()
    fairness = waits[int(len(waits) * 0.99)] / statistics.median(waits)
    growth = (sizes[-1] - sizes[1]) / 1024
    print(
        f"{name:10} {'1,000 on a pool of 20':22} p99 wait {fairness:4.2f} x median (at most {FAIRNESS}), "
        f"memory {growth:+.0f} KiB"
    )
    return fairness <= FAIRNESS and growth < 256


def main(arguments: list[str]) -> int:
    """Run the comparison and return 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(description="Compare sessions with hand-written ones.")
    parser.add_argument("databases", nargs="*", default=["postgres", "sqlite"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args(arguments)
    kept = True
    with ExitStack() as stack:
        for name in options.databases:
            url = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/bench.sqlite"
            if name == "postgres":
                from dbservers.postgres import open_postgres
                from dbservers.workspace import Workspace

                workspace = Workspace()
                stack.callback(workspace.close)
                url = stack.enter_context(open_postgres(workspace)).create_database()
            kept = asyncio.run(compare(name, url, options.rounds, options.calls)) and kept
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
