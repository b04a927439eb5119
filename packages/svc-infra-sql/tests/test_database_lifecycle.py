"""Who may use a `Database`, when, and what it says otherwise."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected, InvalidSetting, PoolTimeout, UnusableDatabase
from svc_infra.dburl import MissingDriver


async def test_closing_twice_is_fine_and_use_afterwards_is_an_error(sqlite_url: str) -> None:
    """`close()` is idempotent, and a closed database says so."""
    database = Database(sqlite_url)
    await database.ping()
    await database.close()
    await database.close()
    with pytest.raises(UnusableDatabase, match="closed"):
        async with database.session():
            pass


async def test_closing_leaves_no_thread(duckdb_url: str) -> None:
    """The threads of DuckDB's connections end with the database."""
    before = set(threading.enumerate())
    async with Database(duckdb_url) as database, database.session() as one, database.session() as other:
        await one.execute(text("SELECT 1"))
        await other.execute(text("SELECT 1"))
        assert len(set(threading.enumerate()) - before) == 2
    assert set(threading.enumerate()) <= before


def test_another_event_loop_gets_a_clear_error(sqlite_url: str) -> None:
    """A database that was used on one event loop refuses the next one instead of hanging."""
    database = Database(sqlite_url)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(database.ping())
        with pytest.raises(UnusableDatabase, match="another event loop"):
            second.run(database.ping())
        first.run(database.close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_gets_a_clear_error(tmp_path: Path) -> None:
    """A database that was used before a fork refuses the child; one that was only made works in both."""
    script = tmp_path / "fork.py"
    script.write_text(
        "import asyncio, os, sys\n"
        "from svc_infra.db.sql.database import Database\n"
        "from svc_infra.db.sql.errors import UnusableDatabase\n"
        "used, made = Database(sys.argv[1]), Database(sys.argv[1])\n"
        "asyncio.run(used.ping())\n"
        "if os.fork() == 0:\n"
        "    async def child():\n"
        "        await made.ping()\n"
        "        await made.close()\n"
        "        await used.ping()\n"
        "    try:\n"
        "        asyncio.run(child())\n"
        "    except UnusableDatabase as error:\n"
        "        os._exit(7 if 'fork' in str(error) else 8)\n"
        "    os._exit(9)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
        "os._exit(0)\n"
    )
    run = subprocess.run(
        # From 3.12 on Python warns of any fork of a process that has threads, as one with connections to SQLite has.
        [sys.executable, "-W", "ignore::DeprecationWarning", script, f"sqlite:///{tmp_path / 'db.sqlite'}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout.strip(), run.stderr) == ("7", "")


async def test_an_exhausted_pool_is_a_pool_timeout(sqlite_url: str) -> None:
    """A session that gets no connection within `pool_timeout` fails with its own error and a remedy."""
    database = Database(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    async with database, database.session() as holder:
        await holder.execute(text("SELECT 1"))
        with pytest.raises(PoolTimeout):
            async with database.session() as session:
                await session.execute(text("SELECT 1"))


async def test_a_ping_tells_an_exhausted_pool_from_a_dead_database(sqlite_url: str) -> None:
    """When all connections are in use, `ping` says so and does not call the database dead."""
    database = Database(sqlite_url, pool_size=1, max_overflow=0)
    async with database, database.session() as holder:
        await holder.execute(text("SELECT 1"))
        with pytest.raises(PoolTimeout, match="in use"):
            await database.ping(0.1)


async def test_a_refused_connection_is_disconnected() -> None:
    """A server that is not there is a `Disconnected` that names the place and no password."""
    async with Database("postgresql://app:hunter2@127.0.0.1:1/shop?sslmode=disable") as database:
        with pytest.raises(Disconnected, match=r"127\.0\.0\.1:1/shop") as caught:
            await database.ping()
    assert "hunter2" not in f"{caught.value!r} {caught.value.__context__!r} {database!r}"


async def test_a_file_that_is_no_database_fails_the_ping(tmp_path: Path) -> None:
    """`ping` on SQLite reads the file: `SELECT 1` would say that garbage is fine."""
    path = tmp_path / "garbage.sqlite"
    path.write_bytes(b"not a database" * 100)
    async with Database(f"sqlite:///{path}") as database:
        with pytest.raises(Disconnected):
            await database.ping()


async def test_pool_settings_come_from_argument_url_and_environment(sqlite_url: str) -> None:
    """An argument beats the URL's parameter, which beats the environment, and the defaults are the guide's."""
    environ = {
        "DB_POOL_SIZE": "7",
        "DB_MAX_OVERFLOW": "8",
        "DB_POOL_TIMEOUT": "9.5",
        "DB_STATEMENT_TIMEOUT_MS": "30000",
    }
    database = Database(f"{sqlite_url}?max_overflow=3&pool_recycle=60", environ=environ, pool_recycle=30)
    settings = database.settings
    assert (settings.pool_size, settings.max_overflow, settings.pool_timeout) == (7, 3, 9.5)
    assert (settings.pool_recycle, settings.statement_timeout_ms) == (30, 30000)
    assert dict(database.url.query) == {}
    default = Database(sqlite_url, environ={}).settings
    assert (default.pool_size, default.max_overflow, default.pool_timeout, default.pool_recycle) == (5, 10, 30, 3600)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DB_POOL_SIZE": "many"}, r"DB_POOL_SIZE is 'many'; it must be a whole number"),
        ({"DB_POOL_TIMEOUT": "-1"}, r"pool_timeout \(DB_POOL_TIMEOUT\) is -1\.0; it must be 0 or more"),
        ({"DB_POOL_PRE_PING": "maybe"}, r"DB_POOL_PRE_PING is 'maybe'; use true or false"),
        ({"DB_STATEMENT_TIMEOUT_MS": "-5"}, r"statement_timeout_ms \(DB_STATEMENT_TIMEOUT_MS\) is -5"),
    ],
)
def test_a_bad_setting_fails_at_start(environ: dict[str, str], message: str) -> None:
    """A value that means nothing is refused by name before anything connects."""
    with pytest.raises(InvalidSetting, match=message):
        Database("sqlite://", environ=environ)


def test_a_driver_that_is_not_installed_is_named_with_its_extra() -> None:
    """Making a Database tells what to install, before anything connects."""
    with pytest.raises(MissingDriver, match=r"pip install 'svc-infra-sql\[aioodbc\]'") as caught:
        Database("mssql+aioodbc://u:hush@h/db")
    assert "hush" not in str(caught.value)


async def test_a_memory_database_keeps_sessions_apart() -> None:
    """Concurrent sessions on a database in memory take turns instead of mixing their transactions."""
    async with Database("sqlite://") as database:
        async with database.session() as session:
            await session.execute(text("CREATE TABLE counters (value INTEGER)"))
            await session.execute(text("INSERT INTO counters VALUES (0)"))

        async def increment(fail: bool) -> None:
            async with database.session() as session:
                value = (await session.execute(text("SELECT value FROM counters"))).scalar_one()
                await asyncio.sleep(0)
                await session.execute(text("UPDATE counters SET value = :value"), {"value": value + 1})
                if fail:
                    raise LookupError

        results = await asyncio.gather(*(increment(number % 2 == 0) for number in range(20)), return_exceptions=True)
        assert sum(isinstance(result, LookupError) for result in results) == 10
        async with database.session() as session:
            assert (await session.execute(text("SELECT value FROM counters"))).scalar_one() == 10
