"""Read replicas: a MariaDB primary and its replica."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from dbservers.errors import ServerMissing
from dbservers.mysql import FAST, MysqlServer, own_mysql
from dbservers.workspace import Workspace
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import ReadOnlyViolation
from svc_infra.db.sql.replicas import new_scope


@pytest.fixture(scope="module")
def servers(server_workspace: Workspace) -> Iterator[tuple[MysqlServer, MysqlServer]]:
    """A primary and a replica that follows it by GTID."""
    try:
        with (
            own_mysql(server_workspace, {**FAST, "log-bin": "binlog", "server-id": "1"}) as primary,
            own_mysql(server_workspace, {**FAST, "server-id": "2", "read-only": "ON"}) as replica,
        ):
            source = urlsplit(primary.url)
            primary.execute("RESET MASTER")
            replica.execute(
                f"CHANGE MASTER TO master_host='127.0.0.1', master_port={source.port}, master_user='{source.username}',"
                f" master_password='{source.password}', master_use_gtid=slave_pos"
            )
            replica.execute("START SLAVE")
            yield primary, replica
            replica.execute("STOP SLAVE")
    except ServerMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
async def database(servers: tuple[MysqlServer, MysqlServer]) -> AsyncIterator[Database]:
    """A database with one replica, which has its table."""
    primary, replica = servers
    url = primary.create_database()
    parts = urlsplit(url)
    async with Database(url) as alone, alone.session() as session:
        await session.execute(text("CREATE TABLE notes (id INTEGER)"))
    there = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{urlsplit(replica.url).port}").geturl()
    async with Database(url, read_urls=[there]) as database:
        async with asyncio.timeout(60):
            while not await is_on_replica(database):  # noqa: ASYNC110 (another process is asked)
                await asyncio.sleep(0.05)
        yield database
    primary.drop_database(url)


async def is_on_replica(database: Database) -> bool:
    async with database.session(readonly=True) as session:
        return bool((await session.execute(text("SELECT @@server_id = 2"))).scalar_one())


async def write(database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("INSERT INTO notes VALUES (1)"))


async def read(database: Database) -> tuple[bool, int]:
    async with database.session(readonly=True) as session:
        row = (await session.execute(text("SELECT @@server_id = 2, (SELECT count(*) FROM notes)"))).one()
        return bool(row[0]), int(row[1])


async def test_a_scope_reads_what_it_wrote(database: Database, servers: tuple[MysqlServer, MysqlServer]) -> None:
    """After a write its scope reads from the primary, until a check has found the write on the replica."""
    _, replica = servers
    replica.execute("STOP SLAVE SQL_THREAD")
    try:
        with new_scope():
            await write(database)
            assert await read(database) == (False, 1)
            await asyncio.sleep(1.1)  # beyond a check's validity
            assert await read(database) == (False, 1)
            replica.execute("START SLAVE SQL_THREAD")
            async with asyncio.timeout(60):
                while not (seen := await read(database))[0]:
                    assert seen == (False, 1)
                    await asyncio.sleep(0.1)
            assert seen == (True, 1)
    finally:
        replica.execute("START SLAVE SQL_THREAD")


async def test_a_replica_that_is_too_far_behind_is_not_read(
    database: Database, servers: tuple[MysqlServer, MysqlServer]
) -> None:
    """Beyond the maximum lag the primary answers; a read-only session refuses writes on both."""
    _, replica = servers
    assert database.replicas is not None
    urls = [engine.url for engine in database.all_engines]
    async with Database(urls[0], read_urls=urls[1:], max_replica_lag_seconds=0.5) as impatient:
        replica.execute("STOP SLAVE SQL_THREAD")
        try:
            await write(impatient)
            with new_scope():
                async with asyncio.timeout(60):
                    while await is_on_replica(impatient):  # noqa: ASYNC110 (another process is asked)
                        await asyncio.sleep(0.1)
                with pytest.raises(ReadOnlyViolation):
                    async with impatient.session(readonly=True) as session:
                        await session.execute(text("INSERT INTO notes VALUES (1)"))
        finally:
            replica.execute("START SLAVE SQL_THREAD")
    with pytest.raises(ReadOnlyViolation):
        async with database.session(readonly=True) as session:
            await session.execute(text("INSERT INTO notes VALUES (1)"))


async def test_a_server_that_is_no_replica_is_not_read(
    database: Database, servers: tuple[MysqlServer, MysqlServer]
) -> None:
    """A read URL that leads to the primary itself is left alone."""
    url = database.url
    async with Database(url, read_urls=[url.set(host="localhost")]) as misled:
        async with misled.session(readonly=True) as session:
            assert (await session.execute(text("SELECT @@server_id"))).scalar_one() == 1
        assert misled.replicas is not None
        assert not misled.replicas.replicas[0].is_up
