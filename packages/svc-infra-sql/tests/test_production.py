"""What production brings: rotated passwords, a pooler in between, a restarted server, many sessions on a small pool."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from svc_infra.db.sql import _connecting, _keepalive
from svc_infra.db.sql.database import Database

CLIENT = Path(__file__).with_name("pooler_client.py")


async def execute(url: str, *statements: str) -> None:
    async with Database(url) as database, database.session() as session:
        for statement in statements:
            await session.execute(text(statement))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_rotated_password_is_used_without_a_restart(
    postgres_url: str, postgres_admin_url: str, tmp_path: Path, driver: str
) -> None:
    """A password file is read at each new connection, so a rotation needs no restart."""
    role = f"rotating_{driver}"
    await execute(postgres_admin_url, f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
    password = tmp_path / "password"
    password.write_text("first\n")
    url = make_url(postgres_url)
    environ = {
        "DB_DIALECT": "postgresql",
        "DB_DRIVER": driver,
        "DB_HOST": str(url.host),
        "DB_PORT": str(url.port),
        "DB_NAME": str(url.database),
        "DB_USER": role,
        "DB_PASSWORD_FILE": str(password),
        "DB_PARAMS": "sslmode=disable",
    }
    async with Database(environ=environ, pool_size=1) as database, database.session() as one:
        assert (await one.execute(text("SELECT current_user"))).scalar_one() == role
        await execute(postgres_admin_url, f"ALTER ROLE {role} PASSWORD 'second'")
        password.write_text("second\n")
        async with database.session() as other:
            assert (await other.execute(text("SELECT current_user"))).scalar_one() == role
    await execute(postgres_admin_url, f"DROP ROLE {role}")


async def test_a_pooler_in_transaction_mode_causes_no_errors(pgbouncer_url: str, postgres_url: str) -> None:
    """Two processes of six tasks each through PgBouncer, whose prepared statements would collide."""
    await execute(postgres_url, "CREATE TABLE counters (id integer, value integer)")
    url = f"{pgbouncer_url}{'&' if '?' in pgbouncer_url else '?'}pgbouncer=true"
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, CLIENT, url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in processes:
        output, complaint = await asyncio.wait_for(process.communicate(), 60)
        assert complaint == b""
        assert json.loads(output) == []
    async with Database(postgres_url) as database, database.session() as session:
        assert (await session.execute(text("SELECT count(*) FROM counters"))).scalar_one() == 2 * 6 * 10


async def test_a_connection_that_died_at_rest_is_replaced(
    postgres_url: str, postgres_admin_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that the server ended while they rested are found out at checkout: no session fails."""
    monkeypatch.setattr(_connecting, "REST_SECONDS", 0.0)
    async with Database(postgres_url, pool_size=3) as database:
        await asyncio.gather(*(database.ping(10) for _ in range(3)))
        await execute(
            postgres_admin_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        for _ in range(3):
            async with database.session() as session:
                assert (await session.execute(text("SELECT 1"))).scalar_one() == 1


async def test_many_sessions_share_a_small_pool(postgres_url: str) -> None:
    """200 sessions at once on 5 connections all succeed, and no connection is opened beyond the pool."""
    async with Database(postgres_url, pool_size=5, max_overflow=0) as database:
        opened = 0

        def count(*_: object) -> None:
            nonlocal opened
            opened += 1

        event.listen(database.engine.sync_engine, "connect", count)

        async def use(number: int) -> int:
            async with database.session() as session:
                return int((await session.execute(text(f"SELECT {number}"))).scalar_one())

        assert await asyncio.gather(*(use(number) for number in range(200))) == list(range(200))
        assert opened == 5


async def test_nothing_shows_the_password(postgres_url: str) -> None:
    """Neither the database nor its engine, nor an error of either, prints the password."""
    password = make_url(postgres_url).password
    assert password is not None
    async with Database(postgres_url) as database:
        shown = f"{database!r} {database} {database.url} {database.engine!r} {database.settings!r}"
        with pytest.raises(Exception, match="nowhere") as caught:
            async with database.session() as session:
                await session.execute(text("SELECT * FROM nowhere WHERE secret = :secret"), {"secret": "hunter2"})
    assert password not in shown
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="no such option on this system")
@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg", "mysql+asyncmy", "mysql+aiomysql"])
async def test_a_vanished_peer_is_noticed_in_a_minute(request: pytest.FixtureRequest, driver: str) -> None:
    """Each connection's socket asks after silence and gives up unacknowledged data."""
    url: str = request.getfixturevalue("postgres_url" if driver.startswith("postgres") else "mysql_url")
    async with Database(driver + url[url.index("://") :]) as database, database.session() as session:
        raw = await (await session.connection()).get_raw_connection()
        number = _keepalive._file_number(raw.driver_connection)
        assert number is not None
        with socket.socket(fileno=socket.dup(number)) as duplicate:
            assert duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
