"""A database that is killed, cut off or frozen under load: the application goes on without a restart.

Under every fault the same is asked of the sessions: no commit that was acknowledged is lost, none that was not is
reported as done, every error is typed, and every wait ends by its bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from dbservers.mysql import MysqlServer
from dbservers.postgres import PostgresServer
from dbservers.proxy import FaultyProxy
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import SqlError

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

WORKERS = 20
#: Seconds that any session may take: its limit, the time to notice, the clean-up; psycopg waits 10 s of its own.
LONGEST_SECONDS = 25.0
URL_OF = {
    "asyncpg": "postgresql+asyncpg://",
    "psycopg": "postgresql+psycopg://",
    "asyncmy": "mysql+asyncmy://",
    "aiomysql": "mysql+aiomysql://",
}


@dataclass
class Load:
    """What the workers have done and seen."""

    database: Database
    acknowledged: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    untyped: list[BaseException] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    longest: float = 0.0
    last_id: int = 0

    async def work(self) -> None:
        """Insert a row per transaction, for ever."""
        while True:
            self.last_id = number = self.last_id + 1
            start = time.monotonic()
            try:
                async with self.database.session() as session:
                    await session.execute(text("INSERT INTO ledger VALUES (:id)"), {"id": number})
            except BaseException as error:
                self.unknown.add(number)
                if isinstance(error, asyncio.CancelledError):
                    raise
                (self.errors if isinstance(error, SqlError) else self.untyped).append(error)
                await asyncio.sleep(0.05)
            else:
                self.acknowledged.add(number)
            finally:
                self.longest = max(self.longest, time.monotonic() - start)

    async def until_acknowledged(self, more: int, *, seconds: float = 60) -> None:
        """Wait until this many more commits have been acknowledged."""
        goal = len(self.acknowledged) + more
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < goal:  # noqa: ASYNC110 (counts of several tasks)
                await asyncio.sleep(0.02)

    async def until_failing(self, *, seconds: float = 40) -> None:
        """Wait until a session has failed since now."""
        before = len(self.errors) + len(self.untyped)
        async with asyncio.timeout(seconds):
            while len(self.errors) + len(self.untyped) == before:  # noqa: ASYNC110 (counts of several tasks)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def load(url: str, ledger_url: str) -> AsyncIterator[Load]:
    """Keep a database under load, and check the ledger at the end, past any proxy."""
    async with Database(ledger_url) as ledger:
        async with ledger.session() as session:
            await session.execute(text("CREATE TABLE ledger (id INTEGER PRIMARY KEY)"))
        async with Database(url, statement_timeout_ms=1000, pool_timeout=10) as database:
            state = Load(database)
            workers = [asyncio.create_task(state.work()) for _ in range(WORKERS)]
            try:
                yield state
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers, timeout=60)
        async with ledger.session() as session:
            stored = set((await session.execute(text("SELECT id FROM ledger"))).scalars())
    assert state.untyped == []
    assert state.acknowledged <= stored
    assert stored <= state.acknowledged | state.unknown
    assert state.errors != []
    assert state.longest < LONGEST_SECONDS


@pytest.fixture(params=["asyncpg", "psycopg", "asyncmy", "aiomysql"])
def server_and_url(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresServer | MysqlServer, str]]:
    """A server of its own and the URL of a database on it, through each driver in turn."""
    scheme = URL_OF[request.param]
    server = request.getfixturevalue("own_postgres" if scheme.startswith("postgresql") else "own_mysql")
    url: str = server.create_database()
    yield server, scheme + url.partition("://")[2]
    server.start()
    server.drop_database(url)


async def test_a_killed_server_costs_no_acknowledged_commit(
    server_and_url: tuple[PostgresServer | MysqlServer, str],
) -> None:
    """SIGKILL under load, twice: sessions fail quickly while the server is away and succeed when it is back."""
    server, url = server_and_url
    async with load(url, url) as state:
        for _ in range(2):
            await state.until_acknowledged(100)
            await asyncio.to_thread(server.kill)
            await state.until_failing()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.start)
            await state.until_acknowledged(100)


async def test_a_cut_network_is_noticed_and_survived(
    server_and_url: tuple[PostgresServer | MysqlServer, str], faulty_proxy: Callable[[str], FaultyProxy]
) -> None:
    """Connections that are reset, and refused for a while, are replaced."""
    _, url = server_and_url
    proxy = faulty_proxy(url)
    async with load(proxy.url, url) as state:
        await state.until_acknowledged(100)
        proxy.drop()
        await state.until_failing()
        await asyncio.sleep(0.5)
        proxy.forward()
        await state.until_acknowledged(100)


async def test_a_frozen_network_costs_bounded_waits(
    server_and_url: tuple[PostgresServer | MysqlServer, str], faulty_proxy: Callable[[str], FaultyProxy]
) -> None:
    """Connections that go silent are given up at their bound, and replaced when the network is back."""
    _, url = server_and_url
    proxy = faulty_proxy(url)
    async with load(proxy.url, url) as state:
        await state.until_acknowledged(100)
        proxy.freeze()
        await state.until_failing()
        proxy.forward()
        await state.until_acknowledged(100)
