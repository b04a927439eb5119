"""Health Checks: the SQL route, the registry with waiting at start, and the backups."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from serving import served

from dbservers.postgres import PostgresServer
from svc_infra.api.fastapi.db.sql.add import add_sql_db, add_sql_health
from svc_infra.data.lifecycle import verify_backups
from svc_infra.health import HealthRegistry, check_database, check_redis


def make_app() -> FastAPI:
    app = FastAPI()
    add_sql_db(app)
    add_sql_health(app, prefix="/_sql/health")
    return app


def test_sql_health_is_200_while_the_database_answers(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exposes GET /_sql/health with connection status, on every database."""
    monkeypatch.setenv("SQL_URL", database_url)
    with served(make_app()) as client:
        response = client.get("/_sql/health")
    assert response.status_code == 200


def test_sql_health_is_503_while_it_does_not_and_recovers(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed and started again under a running application."""
    monkeypatch.setenv("SQL_URL", own_postgres.create_database())
    with served(make_app()) as client:
        assert client.get("/_sql/health").status_code == 200
        own_postgres.kill()
        response = until_status(client, 503)
        assert own_postgres.app_password not in response.text
        own_postgres.start()
        until_status(client, 200)


def until_status(client: httpx.Client, status: int, *, within_seconds: float = 5) -> httpx.Response:
    """Ask until the answer has this status: a result may be up to a second old."""
    deadline = time.monotonic() + within_seconds
    while (response := client.get("/_sql/health")).status_code != status:
        assert time.monotonic() < deadline, response.text
        time.sleep(0.05)
    return response


async def test_the_registry_example(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both dependencies answer; waiting for them ends at once."""
    monkeypatch.setenv("SQL_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    if database_url.startswith(("sqlite", "duckdb")):
        from svc_infra.db.sql.database import Database

        async with Database() as database:  # a file is healthy once it exists
            await database.ping(timeout=5)

    registry = HealthRegistry()
    registry.add("database", check_database(os.getenv("SQL_URL")), critical=True)
    registry.add("redis", check_redis(os.getenv("REDIS_URL")), critical=False)

    # Wait for dependencies at startup
    begin = time.monotonic()
    await registry.wait_until_healthy(timeout=60, interval=2)
    assert time.monotonic() - begin < 10
    await registry.aclose()


async def test_waiting_ends_when_the_database_comes_up(own_postgres: PostgresServer, redis_url: str) -> None:
    """A service that starts before its database waits for it instead of crashing."""
    url = own_postgres.create_database()
    own_postgres.kill()
    registry = HealthRegistry()
    registry.add("database", check_database(url), critical=True)
    registry.add("redis", check_redis(redis_url), critical=False)
    waiting = asyncio.create_task(registry.wait_until_healthy(timeout=60, interval=0.1))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    await asyncio.to_thread(own_postgres.start)
    await asyncio.wait_for(waiting, 60)
    await registry.aclose()


async def test_a_check_that_is_not_critical_does_not_hold_up_the_start(postgres_url: str, unused_url: str) -> None:
    """Without Redis the service starts."""
    registry = HealthRegistry()
    registry.add("database", check_database(postgres_url), critical=True)
    registry.add("redis", check_redis(unused_url), critical=False)
    await registry.wait_until_healthy(timeout=20, interval=0.1)
    await registry.aclose()


@pytest.fixture
def unused_url() -> str:
    """A Redis URL behind which nobody listens."""
    from dbservers.process import free_port

    return f"redis://127.0.0.1:{free_port()}/0"


async def test_the_backup_example(tmp_path: Path) -> None:
    """A fresh dump is healthy, an old one or none is reported to the operators."""
    alerts = []
    alert_ops_team = alerts.append
    backups = tmp_path / "backups"
    backups.mkdir()

    async def verify() -> None:
        # Check backup health
        report = await verify_backups(
            expected_max_age_hours=24,
            backup_path=str(backups),
        )
        if not report.healthy:
            alert_ops_team(report)

    await verify()
    assert len(alerts) == 1
    dump = backups / "myapp.sql"
    dump.write_text("-- PostgreSQL database dump\nCREATE TABLE users (id int);\n-- PostgreSQL database dump complete\n")
    await verify()
    assert len(alerts) == 1
    yesterday = time.time() - 25 * 3600
    os.utime(dump, (yesterday, yesterday))
    await verify()
    assert len(alerts) == 2
