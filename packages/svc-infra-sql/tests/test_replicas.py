"""Read replicas: a PostgreSQL primary and its streaming replica."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text

from dbservers.postgres import PostgresReplica
from dbservers.proxy import FaultyProxy
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected, InvalidSetting, ReadOnlyViolation
from svc_infra.db.sql.replicas import new_scope
from svc_infra.db.sql.settings import read_urls


@pytest.fixture
def urls(postgres_replica: PostgresReplica) -> tuple[str, str]:
    """The URLs of a new database with a table, on the primary and on the replica, that has it as well."""
    primary, replica = postgres_replica.create_database()
    with postgres_replica.primary.connect(primary.partition("?")[0].rpartition("/")[2]) as connection:
        connection.execute("CREATE TABLE notes (id integer); GRANT ALL ON notes TO PUBLIC")
    postgres_replica.wait_until_caught_up()
    return primary, replica


@pytest.fixture
async def database(urls: tuple[str, str]) -> AsyncIterator[Database]:
    """A database with one replica."""
    async with Database(urls[0], read_urls=[urls[1]]) as database:
        yield database


async def is_on_replica(database: Database) -> bool:
    async with database.session(readonly=True) as session:
        return bool((await session.execute(text("SELECT pg_is_in_recovery()"))).scalar_one())


async def write(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("INSERT INTO notes VALUES (1)"))


async def read(database: Database) -> tuple[bool, int]:
    """Where a read-only session is and how many notes it sees."""
    async with database.session(readonly=True) as session:
        row = (await session.execute(text("SELECT pg_is_in_recovery(), (SELECT count(*) FROM notes)"))).one()
        return bool(row[0]), int(row[1])


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Ask until the answer is yes."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (another process is asked)
            await asyncio.sleep(0.05)


async def test_reads_go_to_the_replica_and_writes_to_the_primary(database: Database) -> None:
    """A read-only session is answered by the replica, any other by the primary."""
    assert await is_on_replica(database)
    async with database.session() as session:
        assert not (await session.execute(text("SELECT pg_is_in_recovery()"))).scalar_one()


async def test_a_read_only_session_never_writes(database: Database) -> None:
    """A write in a read-only session is refused, on the replica and, when it falls back, on the primary."""
    with pytest.raises(ReadOnlyViolation):
        async with database.session(readonly=True) as session:
            await session.execute(text("INSERT INTO notes VALUES (1)"))


async def test_a_scope_reads_what_it_wrote(database: Database, postgres_replica: PostgresReplica) -> None:
    """After a write its scope reads from the primary until the replica has it; others stay on the replica."""
    assert await is_on_replica(database)
    postgres_replica.pause_replay()
    with new_scope():
        await write(database)
        assert await read(database) == (False, 1)
    assert await read(database) == (True, 0)
    postgres_replica.resume_replay()
    postgres_replica.wait_until_caught_up()


async def test_a_scope_returns_to_the_replica_that_has_caught_up(database: Database) -> None:
    """Once a check has seen the write on the replica, the scope that wrote reads there again."""
    with new_scope():
        await write(database)

        async def reads_its_write_on_the_replica() -> bool:
            on_replica, notes = await read(database)
            assert notes == 1
            return on_replica

        await until(reads_its_write_on_the_replica)


async def test_tasks_belong_to_the_scope_that_started_them(
    database: Database, postgres_replica: PostgresReplica
) -> None:
    """A write in a task counts for the reads of the scope that the task was started in."""
    assert await is_on_replica(database)
    postgres_replica.pause_replay()
    with new_scope():
        await asyncio.create_task(write(database))
        assert await read(database) == (False, 1)


async def test_a_replica_that_is_too_far_behind_is_not_read(
    urls: tuple[str, str], postgres_replica: PostgresReplica
) -> None:
    """Beyond the maximum lag the primary answers, and the replica again when it has caught up."""
    async with Database(urls[0], read_urls=[urls[1]], max_replica_lag_seconds=0.5) as database:
        postgres_replica.pause_replay()
        await write(database)
        with new_scope():

            async def is_on_primary() -> bool:
                return not await is_on_replica(database)

            await until(is_on_primary)
            postgres_replica.resume_replay()
            await until(lambda: is_on_replica(database))


async def test_an_idle_primary_causes_no_lag(urls: tuple[str, str]) -> None:
    """A replica that has everything is up to date however long ago the last write was."""
    async with Database(urls[0], read_urls=[urls[1]], max_replica_lag_seconds=2) as database:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert await is_on_replica(database)
            await asyncio.sleep(0.2)


async def test_a_server_that_is_no_replica_is_not_read(urls: tuple[str, str]) -> None:
    """A read URL that leads to a server that does not replicate, a promoted one for example, is left alone."""
    async with Database(urls[0], read_urls=[urls[0].replace("127.0.0.1", "localhost")]) as database:
        assert not await is_on_replica(database)
        assert database.replicas is not None
        assert not database.replicas.replicas[0].is_up


@pytest.mark.fault
async def test_a_killed_replica_is_left_and_used_again(database: Database, postgres_replica: PostgresReplica) -> None:
    """Reads fall back to the primary while the replica is down and return when it is back."""
    assert await is_on_replica(database)
    postgres_replica.replica.kill()
    failures = 0
    for _ in range(20):
        try:
            assert not await is_on_replica(database)
        except Disconnected:
            failures += 1  # at most one session was using the connection that died
    assert failures <= 1
    postgres_replica.replica.start()
    await until(lambda: is_on_replica(database), seconds=60)


@pytest.mark.fault
async def test_a_frozen_replica_is_left(urls: tuple[str, str], faulty_proxy: Callable[[str], FaultyProxy]) -> None:
    """A replica that does not answer costs one bounded wait; then the primary answers."""
    proxy = faulty_proxy(urls[1])
    async with Database(urls[0], read_urls=[proxy.url], statement_timeout_ms=1000) as database:
        assert await is_on_replica(database)
        await asyncio.sleep(1.1)  # beyond the last check's validity, so that the next session checks
        proxy.freeze()
        start = time.monotonic()
        assert not await is_on_replica(database)
        assert time.monotonic() - start < 5


@pytest.mark.fault
async def test_replicas_answer_while_the_primary_is_down(database: Database, postgres_replica: PostgresReplica) -> None:
    """Reads go on without the primary."""
    assert await is_on_replica(database)
    postgres_replica.primary.kill()
    for _ in range(5):
        assert await is_on_replica(database)
        await asyncio.sleep(0.3)


def test_read_urls_come_from_the_environment() -> None:
    """DB_READ_URLS holds several URLs, READ_DB_URL one; a comma between hosts does not separate."""
    several = "postgresql://a,b/x, postgres+asyncpg://c/x\nmysql://d/y"
    assert [url for url, _ in read_urls({"DB_READ_URLS": several, "READ_DB_URL": "postgresql://z/z"})] == [
        "postgresql://a,b/x",
        "postgres+asyncpg://c/x",
        "mysql://d/y",
    ]
    assert read_urls({"READ_DB_URL": "postgresql://z/z"}) == (("postgresql://z/z", "READ_DB_URL"),)
    assert read_urls({}) == ()


async def test_replicas_of_the_environment_belong_to_its_database(sqlite_url: str) -> None:
    """READ_DB_URL is for the database of the environment, is nothing when it is that one, and must be of its kind."""
    other = sqlite_url.replace("db.sqlite", "copy.sqlite")
    async with Database(environ={"SQL_URL": sqlite_url, "READ_DB_URL": other}) as database:
        assert database.replicas is not None
        assert len(database.all_engines) == 2
    for environ in ({"SQL_URL": sqlite_url, "READ_DB_URL": sqlite_url}, {"SQL_URL": sqlite_url}):
        async with Database(environ=environ) as database:
            assert database.replicas is None
    async with Database(sqlite_url, environ={"READ_DB_URL": other}) as database:
        assert database.replicas is None
    with pytest.raises(InvalidSetting, match="same kind"):
        Database(environ={"SQL_URL": sqlite_url, "READ_DB_URL": "postgresql://h/d"})
