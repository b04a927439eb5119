"""SQL Server and Snowflake without a server: the driver is loaded, arguments are accepted, a refusal is typed.

The compliance suite runs on real ones where TEST_MSSQL_URL or TEST_SNOWFLAKE_URL names them.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.dialects import register_dialects
from svc_infra.db.sql.errors import Disconnected
from svc_infra.dburl import resolve_url

pytest.importorskip("sqlalchemy.dialects.mssql.mssqlpython", reason="the extra [mssql] needs SQLAlchemy 2.1")

from svc_infra.db.sql.dialects.mssql import MSSQLDialectAsync

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("body", String(20)))


def mssql_threads() -> int:
    return sum(thread.name.startswith("mssql-") for thread in threading.enumerate())


def need_libltdl() -> None:
    """Skip, or fail in CI, where the system lacks what mssql-python's ODBC driver is linked against."""
    try:
        ctypes.CDLL("libltdl.so.7")
    except OSError as error:
        message = f"mssql-python needs libltdl, which tools/install-services installs: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


async def test_sql_server_uses_the_driver_that_pip_can_install() -> None:
    """`mssql://` without a driver means mssql-python in a thread per connection, and statements compile for it."""
    pytest.importorskip("mssql_python", exc_type=ImportError)
    async with Database("mssql://app:secret@127.0.0.1:1/shop") as database:
        assert database.url.drivername == "mssql+mssqlpython"
        dialect = database.engine.dialect
        assert isinstance(dialect, MSSQLDialectAsync)
        statement = str(insert(notes).values(body="a").returning(notes.c.id).compile(dialect=dialect))
        assert "OUTPUT inserted.id" in statement
        assert "TOP" in str(select(notes).limit(1).compile(dialect=dialect))


async def test_a_refusing_sql_server_is_disconnected() -> None:
    """Nobody listens: the driver's error is typed, comes in time, and its thread has ended."""
    pytest.importorskip("mssql_python", exc_type=ImportError)
    if sys.platform == "linux":
        need_libltdl()
    async with Database("mssql://app:hunter2@127.0.0.1:1/shop", environ={"DB_CONNECT_TIMEOUT": "3"}) as database:
        start = time.monotonic()
        with pytest.raises(Disconnected) as caught:
            async with database.session() as session:
                await session.execute(select(1))
        assert time.monotonic() - start < 20
    assert "Client unable to establish connection" in str(caught.value), "the ODBC driver itself has tried"
    assert caught.value.__cause__ is not None
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert mssql_threads() == 0


@pytest.mark.parametrize("url", ["mssql+mssqlpython://u:p@127.0.0.1:1/db", "mssql+thread://u:p@127.0.0.1:1/db"])
async def test_the_plain_url_of_sql_server_serves_both_engines(url: str) -> None:
    """The registered URL makes asynchronous and synchronous engines."""
    pytest.importorskip("mssql_python", exc_type=ImportError)
    register_dialects()
    engine = create_async_engine(url)
    assert isinstance(engine.dialect, MSSQLDialectAsync)
    await engine.dispose()
    sync_engine = create_engine(url)
    assert not sync_engine.dialect.is_async
    sync_engine.dispose()


async def test_snowflake_uses_its_own_asynchronous_dialect() -> None:
    """`snowflake://` makes an asynchronous engine whose connect arguments the driver accepts, and compiles for it."""
    pytest.importorskip("snowflake.sqlalchemy", exc_type=ImportError)
    url = "snowflake://app:secret@org-account/shop/public?warehouse=small&role=reader"
    async with Database(url) as database:
        assert database.engine.dialect.is_async
        _, arguments = database.engine.dialect.create_connect_args(database.url)
        assert (arguments["database"], arguments["schema"], arguments["warehouse"]) == ("shop", "public", "small")
        assert "LIMIT" in str(select(notes).limit(1).compile(dialect=database.engine.dialect))


@pytest.mark.parametrize(("environ", "bound"), [({"DB_CONNECT_TIMEOUT": "2"}, 6), ({}, 15)])
async def test_a_refusing_snowflake_is_disconnected(
    environ: dict[str, str], bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens: the connector's retries end by the connect timeout, 10 s by default, in the typed error."""
    pytest.importorskip("snowflake.sqlalchemy", exc_type=ImportError)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):  # the connector would ask the proxy instead
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    resolved = resolve_url("snowflake://app:hunter2@org-account/shop", environ=environ)
    resolved.connect_args.update(host="127.0.0.1", port=1, protocol="http")  # the dialect takes none from the URL
    async with Database(resolved, environ=environ) as database:
        start = time.monotonic()
        with pytest.raises(Disconnected) as caught:
            async with database.session() as session:
                await session.execute(select(1))
        assert time.monotonic() - start < bound
    assert caught.value.__cause__ is not None
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
