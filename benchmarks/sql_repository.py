"""Compare the repository with hand-written SQLAlchemy, its peers and the driver, in one run on one database.

    uv run --group bench python -m benchmarks.sql_repository [--rounds 30] [--case "create rows"] [--json] [postgres]

PostgreSQL is started for the run. Every contender of a case runs once per round, in an order that is shuffled each
time: what disturbs the machine disturbs all of them, and nobody always comes after the one that leaves most to collect.
Only the ratios of the medians mean anything. Each call runs in a transaction that is
opened before and rolled back after the clock. Peers that are not installed (advanced-alchemy, FastCRUD, Piccolo; they
are in the group `bench`) are left out. Cases called "... rows" build no objects.

Exits with 1 when one of ours misses its limit or is slower than a peer.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

from benchmarks.repository.cases import CASES, Contender, calls_of, deep, place_of
from benchmarks.repository.grounds import opened
from benchmarks.repository.model import Base, T, sample
from benchmarks.repository.ours import hard

WARM_UP = 3
TIE = 1.03
"""How much slower than a peer is still the same: what repeated runs differ by."""
ROLES = ("hand", "ours", "peer", "floor")
PEERS = ("advanced_alchemy", "fastcrud", "piccolo")


def gather() -> None:
    """Import the contenders, which register themselves; peers only when they are installed."""
    found = [f"with_{peer}" for peer in PEERS if importlib.util.find_spec(peer) is not None]
    for module in ("floor", "hand", "ours", *found):
        importlib.import_module(f"benchmarks.repository.{module}")


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of one contender.

    Attributes:
        case: What was done.
        name: Who did it.
        role: Hand-written, ours, peer or floor.
        microseconds: The median of a call.
        ratio: That divided by the hand-written code's.
        limit: What the ratio must not exceed, or None.
        verdict: "ok", or what is wrong; empty for all but ours.
    """

    case: str
    name: str
    role: str
    microseconds: float
    ratio: float
    limit: float | None
    verdict: str


def ordered(case: str) -> list[Contender]:
    """Who takes part in a case, the hand-written code first."""
    return sorted(CASES[case], key=lambda contender: ROLES.index(contender.role))


def judged(case: str, medians: dict[Contender, float]) -> list[Figure]:
    """The figures of one case."""
    base = next(median for contender, median in medians.items() if contender.role == "hand")
    peers = {contender.name: median for contender, median in medians.items() if contender.role == "peer"}
    found = []
    for contender, median in medians.items():
        verdict = ""
        if contender.role == "ours":
            wrong = [f"missed {contender.limit:.2f}"] if contender.limit and median / base > contender.limit else []
            wrong += [f"slower than {name} ({median / its:.2f}x)" for name, its in peers.items() if median > its * TIE]
            verdict = ", ".join(wrong) or "ok"
        figures = (round(median * 1e6, 1), round(median / base, 3))
        found.append(Figure(case, contender.name, contender.role, *figures, contender.limit, verdict))
    return found


async def measure(engine: AsyncEngine, rounds: int, rows: int, chosen: list[str]) -> AsyncIterator[list[Figure]]:
    """The figures of every chosen case, one after another."""
    numbers = itertools.count(1)
    deep.depth = rows // 2
    async with AsyncSession(engine) as session:
        page = await hard.rows.page(session, limit=deep.depth, order_by="created_at")
        deep.cursor, last = page.next_cursor, page.items[-1]
        deep.place = (last[hard.rows.names.index("created_at")], last[hard.rows.names.index("id")])
    async with opened(engine) as grounds:
        for case in sorted(CASES, key=place_of):
            if chosen and not any(case.startswith(name) for name in chosen):
                continue
            times: dict[Contender, list[float]] = {each: [] for each in ordered(case) if each.ground in grounds}
            shuffled = random.Random(0)
            for step in range(rounds + WARM_UP):
                for contender in shuffled.sample(list(times), len(times)):
                    ground, elapsed = grounds[contender.ground], 0.0
                    for _ in range(calls_of(case)):
                        number = (next(numbers) * 7919) % rows + 1
                        target = await ground.begin()
                        begin = time.perf_counter()
                        await contender.call(target, number)
                        elapsed += time.perf_counter() - begin
                        await ground.rollback()
                    if step >= WARM_UP:
                        times[contender].append(elapsed / calls_of(case))
            yield judged(case, {contender: statistics.median(taken) for contender, taken in times.items()})


def show(figures: list[Figure]) -> None:
    """Print a case."""
    for number, figure in enumerate(figures):
        case = figure.case if number == 0 else ""
        limit = "" if figure.limit is None else f"<= {figure.limit:.2f}"
        line = (
            f"{case:18}{figure.name:18}{figure.microseconds:>10.0f} us {figure.ratio:>7.2f}  {limit:8} {figure.verdict}"
        )
        print(line.rstrip(), flush=True)


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


def started(stack: AsyncExitStack, database: str) -> str:
    """The URL of a new database, which goes away with the stack."""
    if database == "sqlite":
        return f"sqlite+aiosqlite:///{stack.enter_context(TemporaryDirectory())}/bench.sqlite"
    from dbservers.postgres import open_postgres
    from dbservers.workspace import Workspace

    workspace = Workspace()
    stack.callback(workspace.close)
    url = stack.enter_context(open_postgres(workspace)).create_database()
    return url.replace("postgresql://", "postgresql+asyncpg://").replace("sslmode=", "ssl=")


async def main() -> int:
    """Read the arguments, run, and return 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("databases", nargs="*", help="postgres, sqlite or both (default)")
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each contender (default 30)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the table (default 100000)")
    parser.add_argument("--case", action="append", default=[], help="only cases that begin so; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    arguments = parser.parse_args()
    gather()
    everything: dict[str, list[Figure]] = {}
    async with AsyncExitStack() as stack:
        for database in arguments.databases or ("postgres", "sqlite"):
            found = everything.setdefault(database, [])
            if not arguments.json:
                print(f"\n{database}: medians of {arguments.rounds} rounds, ratios to what is written by hand")
            async with filled(started(stack, database), arguments.rows) as engine:
                async for figures in measure(engine, arguments.rounds, arguments.rows, arguments.case):
                    found.extend(figures)
                    if not arguments.json:
                        show(figures)
    wrong = [
        f"{database}: {figure.case}: {figure.name}: {figure.verdict}"
        for database, figures in everything.items()
        for figure in figures
        if figure.verdict not in {"", "ok"}
    ]
    if arguments.json:
        print(json.dumps({name: [asdict(figure) for figure in figures] for name, figures in everything.items()}))
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
