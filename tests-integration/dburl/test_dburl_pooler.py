"""A transaction pooler between several processes and the server: no prepared statement is missed or mistaken."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from svc_infra.dburl import resolve_url

PROCESSES, TASKS, TRANSACTIONS = 3, 4, 20


def work(url: str, number: int) -> list[str]:
    """Run many small transactions in one process, and return what went wrong."""
    return asyncio.run(run(url, number))


async def run(url: str, number: int) -> list[str]:
    resolved = resolve_url(url, environ={})
    engine = create_async_engine(resolved.url, connect_args=resolved.connect_args, pool_size=TASKS)
    problems: list[str] = []

    async def task(own: int) -> None:
        for turn in range(TRANSACTIONS):
            want = number * 1_000_000 + own * 1_000 + turn
            try:
                async with engine.begin() as connection:
                    # Two statements, so that each process prepares both at other moments than the others.
                    found = (await connection.execute(text("SELECT CAST(:want AS int)"), {"want": want})).scalar_one()
                    name = (await connection.execute(text("SELECT CAST(:own AS text)"), {"own": str(own)})).scalar_one()
            except Exception as error:  # noqa: BLE001 (counted)
                problems.append(f"{type(error).__name__}: {error}".splitlines()[0])
            else:
                if (found, name) != (want, str(own)):
                    problems.append(f"wanted {want} {own}, got {found} {name}")

    await asyncio.gather(*(task(own) for own in range(TASKS)))
    await engine.dispose()
    return problems


def run_processes(url: str) -> list[str]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        futures = [pool.submit(work, url, number) for number in range(PROCESSES)]
        return [problem for future in futures for problem in future.result(timeout=100)]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_no_prepared_statement_error_behind_a_transaction_pooler(driver: str, pgbouncer_url: str) -> None:
    """With ?pgbouncer=true several processes share few server connections without a single error or wrong row."""
    address = pgbouncer_url.replace("postgresql:", f"postgresql+{driver}:")
    assert run_processes(f"{address}&pgbouncer=true") == []


@pytest.mark.soak
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_the_pooler_does_break_prepared_statements(driver: str, pgbouncer_url: str) -> None:
    """Without the flag the same load fails, so that the test above would notice."""
    assert run_processes(pgbouncer_url.replace("postgresql:", f"postgresql+{driver}:")) != []
