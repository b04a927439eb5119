"""Compare the thread-backed dialect on DuckDB with the synchronous driver: a scan of 1,000,000 rows.

    python -m benchmarks.sql_threads [--rounds 5] [--rows 1000000]

Both go through SQLAlchemy and give the same rows. Limit: 1.3 x the synchronous engine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from svc_infra.db.sql.dialects import register_dialects

LARGEST_RATIO = 1.3


def scan(engine: Engine, statement: str) -> float:
    """Return the seconds of a scan by the synchronous engine."""
    gc.collect()
    with engine.connect() as connection:
        start = time.perf_counter()
        connection.execute(text(statement)).all()
        return time.perf_counter() - start


async def scan_in_thread(engine: AsyncEngine, statement: str) -> float:
    """Return the seconds of a scan by the asynchronous engine."""
    gc.collect()
    async with engine.connect() as connection:
        start = time.perf_counter()
        (await connection.execute(text(statement))).all()
        return time.perf_counter() - start


async def compare(rounds: int, rows: int) -> float:
    """Return the ratio of the medians."""
    register_dialects()
    statement = f"SELECT range AS id, 'name ' || range AS name, range * 1.5 AS score FROM range({rows})"
    engine, thread_engine = create_engine("duckdb:///:memory:"), create_async_engine("duckdb:///:memory:")
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        taken[0].append(scan(engine, statement))
        taken[1].append(await scan_in_thread(thread_engine, statement))
    engine.dispose()
    await thread_engine.dispose()
    return statistics.median(taken[1]) / statistics.median(taken[0])


def main(arguments: list[str]) -> int:
    """Run the comparison and return 1 when the limit is not kept."""
    parser = argparse.ArgumentParser(description="Compare DuckDB in a thread with the synchronous driver.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    ratio = asyncio.run(compare(options.rounds, options.rows))
    print(f"scan of {options.rows:,} rows: {ratio:.2f} x the synchronous engine (at most {LARGEST_RATIO})")
    return int(ratio > LARGEST_RATIO)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
