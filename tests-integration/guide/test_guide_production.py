"""Production Recommendations and Troubleshooting: read replicas, a refused connection, an exhausted pool."""

from __future__ import annotations

import asyncio
import logging
import os
import time

import pytest
from fastapi import FastAPI
from serving import served
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from dbservers.postgres import PostgresReplica
from dbservers.process import free_port
from svc_infra.api.fastapi.db.sql.add import add_sql_db
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected, PoolTimeout
from svc_infra.dburl import resolve_url


async def test_two_engines_for_writing_and_reading(
    postgres_replica: PostgresReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guide's snippet: one engine on the primary, one on the replica."""
    primary, replica = postgres_replica.create_database()
    monkeypatch.setenv("PRIMARY_DB_URL", primary)
    monkeypatch.setenv("REPLICA_DB_URL", replica)

    # Use different URLs for read vs write
    WRITE_DB_URL = resolve_url(os.environ["PRIMARY_DB_URL"])  # noqa: N806
    READ_DB_URL = resolve_url(os.getenv("REPLICA_DB_URL", os.environ["PRIMARY_DB_URL"]))  # noqa: N806

    # Create separate engines
    write_engine = create_async_engine(WRITE_DB_URL.url, connect_args=dict(WRITE_DB_URL.connect_args))
    read_engine = create_async_engine(READ_DB_URL.url, connect_args=dict(READ_DB_URL.connect_args))
    try:
        async with write_engine.begin() as connection:
            await connection.execute(text("CREATE TABLE things AS SELECT 1 AS id"))
        await asyncio.to_thread(postgres_replica.wait_until_caught_up)
        async with read_engine.connect() as connection:
            assert (await connection.execute(text("SELECT id, pg_is_in_recovery() FROM things"))).all() == [(1, True)]
    finally:
        await write_engine.dispose()
        await read_engine.dispose()


async def test_a_refused_connection_is_a_typed_error_that_names_the_place() -> None:
    """Connection Errors: host and port are in the message, the password isn't, and it comes at once."""
    port = free_port()
    begin = time.monotonic()
    async with Database(f"postgresql://ada:s3cr3t-word@127.0.0.1:{port}/shop?sslmode=disable") as database:
        with pytest.raises(Disconnected) as caught:
            await database.ping(timeout=5)
    assert str(port) in str(caught.value)
    assert "s3cr3t-word" not in f"{caught.value!r} {caught.value}"
    assert time.monotonic() - begin < 5


def test_an_application_whose_database_is_away_answers_503() -> None:
    """It starts, says 503 while the database is away, and never hangs."""
    app = FastAPI()
    add_sql_db(app, url=f"postgresql://ada:s3cr3t-word@127.0.0.1:{free_port()}/shop?sslmode=disable")

    @app.get("/")
    async def root(session: SqlSessionDep):
        return (await session.execute(text("SELECT 1"))).scalar_one()

    with served(app) as client:
        response = client.get("/")
    assert response.status_code == 503
    assert "retry-after" in response.headers
    assert "s3cr3t-word" not in response.text


async def test_an_exhausted_pool_is_a_typed_error_within_its_bound(postgres_url: str) -> None:
    """Pool Exhaustion: QueuePool's limit becomes PoolTimeout after pool_timeout seconds."""
    async with Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.3) as database:
        async with database.session() as first:
            await first.execute(text("SELECT 1"))
            begin = time.monotonic()
            with pytest.raises(PoolTimeout):
                async with database.session() as second:
                    await second.execute(text("SELECT 1"))
            assert time.monotonic() - begin < 3
        async with database.session() as again:
            assert (await again.execute(text("SELECT 1"))).scalar_one() == 1


@pytest.mark.parametrize("setting", ["url", "environment"])
async def test_pool_settings_come_from_the_url_or_the_environment(
    postgres_url: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connection Pooling: "override via URL params or engine configuration"."""
    url = postgres_url
    if setting == "url":
        url += "&pool_size=20&max_overflow=10"
    else:
        monkeypatch.setenv("DB_POOL_SIZE", "20")
        monkeypatch.setenv("DB_MAX_OVERFLOW", "10")
    async with Database(url) as database:
        assert (database.settings.pool_size, database.settings.max_overflow) == (20, 10)
        await database.ping(timeout=5)


async def test_statements_are_logged_on_request(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Slow Queries: the guide's two lines show every statement."""
    # As logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO), for this test alone.
    caplog.set_level(logging.INFO, logger="sqlalchemy.engine")
    async with Database(postgres_url) as database, database.session() as session:
        await session.execute(text("SELECT 1 AS seen"))
    assert "SELECT 1 AS seen" in caplog.text
