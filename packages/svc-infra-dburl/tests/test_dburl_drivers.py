"""The choice of the driver, and that each driver takes what it is handed."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest

from svc_infra.dburl import MissingDriver, ResolvedUrl, resolve_database_url, resolve_url

Mode = Literal["async", "sync"]


def resolve(url: str, mode: Mode, installed: str, **environ: str) -> ResolvedUrl:
    modules = installed.split()
    return resolve_url(url, environ=environ, mode=mode, source="SQL_URL", installed=lambda module: module in modules)


@pytest.mark.parametrize(
    ("url", "mode", "installed", "expected"),
    [
        ("postgresql://h/d", "async", "asyncpg psycopg", "postgresql+asyncpg"),
        ("postgresql://h/d", "async", "psycopg psycopg2", "postgresql+psycopg"),
        ("postgresql://h/d", "sync", "asyncpg psycopg psycopg2", "postgresql+psycopg"),
        ("postgresql://h/d", "sync", "psycopg2 pg8000", "postgresql+psycopg2"),
        ("postgresql://h/d", "sync", "pg8000", "postgresql+pg8000"),
        ("postgresql+asyncpg://h/d", "sync", "asyncpg psycopg2", "postgresql+psycopg2"),
        ("postgresql+psycopg2://h/d", "async", "psycopg2 psycopg", "postgresql+psycopg"),
        ("postgresql+psycopg2://h/d", "sync", "psycopg2 psycopg", "postgresql+psycopg2"),
        ("postgresql+psycopg_async://h/d", "async", "asyncpg psycopg", "postgresql+psycopg"),
        ("mysql://h/d", "async", "asyncmy aiomysql", "mysql+asyncmy"),
        ("mysql://h/d", "async", "aiomysql", "mysql+aiomysql"),
        ("mysql://h/d", "sync", "MySQLdb", "mysql+mysqldb"),
        ("mysql+asyncmy://h/d", "sync", "asyncmy pymysql", "mysql+pymysql"),
        ("mysql+pymysql://h/d", "async", "aiomysql pymysql", "mysql+aiomysql"),
        ("mariadb://h/d", "sync", "mariadb", "mariadb+mariadbconnector"),
        ("sqlite:///a.db", "async", "aiosqlite sqlite3", "sqlite+aiosqlite"),
        ("sqlite:///a.db", "sync", "aiosqlite sqlite3", "sqlite"),
        ("sqlite+pysqlite:///a.db", "async", "aiosqlite sqlite3", "sqlite+aiosqlite"),
        ("sqlite+pysqlite:///a.db", "sync", "sqlite3", "sqlite+pysqlite"),
        ("mssql://h/d", "async", "mssql_python aioodbc", "mssql+mssqlpython"),
        ("mssql://h/d", "async", "aioodbc pyodbc", "mssql+aioodbc"),
        ("mssql://h/d", "sync", "aioodbc pyodbc", "mssql+pyodbc"),
        ("mssql://h/d", "sync", "pymssql", "mssql+pymssql"),
        ("mssql+pyodbc://h/d", "async", "mssql_python", "mssql+aioodbc"),
        ("mssql+mssqlpython://h/d", "async", "mssql_python", "mssql+mssqlpython"),
        ("snowflake://a/d", "async", "snowflake.sqlalchemy", "snowflake"),
        ("duckdb:///a", "async", "duckdb_sqlalchemy", "duckdb"),
        ("duckdb:///a", "sync", "duckdb_engine", "duckdb"),
    ],
)
def test_the_best_installed_driver_serves(url: str, mode: Mode, installed: str, expected: str) -> None:
    """A named driver that serves the mode is kept; else the first installed one of the database is taken."""
    if "mssqlpython" in expected:
        pytest.importorskip(
            "sqlalchemy.dialects.mssql.mssqlpython", reason="SQLAlchemy 2.0 has no mssql-python dialect"
        )
    assert resolve(url, mode, installed).url.drivername == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "asyncpg"),
        ({"DB_DRIVER": "psycopg"}, "psycopg"),
        ({"DB_DRIVER": "auto"}, "asyncpg"),
        ({"DB_DRIVER": " PsycoPG "}, "psycopg"),
        ({"DB_DRIVER": "postgresql+psycopg"}, "psycopg"),
        ({"DB_DRIVER": "aiosqlite"}, "asyncpg"),
        ({"DB_FORCE_DRIVER": "psycopg"}, "psycopg"),
        ({"DB_FORCE_DRIVER": "psycopg", "DB_DRIVER": "asyncpg"}, "psycopg"),
        ({"DB_FORCE_DRIVER": "psycopg2"}, "asyncpg"),
    ],
)
def test_the_environment_overrides_the_driver(environ: dict[str, str], expected: str) -> None:
    """DB_DRIVER counts when the URL names none; what does not fit the URL's database or the mode does not count."""
    assert resolve("postgresql://h/d", "async", "asyncpg psycopg psycopg2", **environ).driver == expected


def test_the_url_beats_db_driver_and_db_force_driver_beats_the_url() -> None:
    """DB_DRIVER is a default, DB_FORCE_DRIVER a command."""
    url = "postgresql+asyncpg://h/d"
    assert resolve(url, "async", "asyncpg psycopg", DB_DRIVER="psycopg").driver == "asyncpg"
    assert resolve(url, "async", "asyncpg psycopg", DB_FORCE_DRIVER="psycopg").driver == "psycopg"


def test_a_driver_of_no_database_is_refused_beside_a_whole_url() -> None:
    """A misspelt DB_DRIVER is a mistake, while one of another database is a left-over."""
    with pytest.raises(ValueError, match=r"^DB_DRIVER: .*asyncpg"):
        resolve("postgresql://h/d", "async", "asyncpg", DB_DRIVER="asyncgp")


def test_a_driver_of_another_database_is_refused_in_parts() -> None:
    """DB_DIALECT=mysql with DB_DRIVER=asyncpg contradict each other."""
    environ = {"DB_DIALECT": "mysql", "DB_DRIVER": "asyncpg", "DB_HOST": "h", "DB_NAME": "d"}
    with pytest.raises(ValueError, match=r"^DB_DRIVER: .*asyncmy"):
        resolve_database_url(environ, env_file=None, secrets_dir=None)


@pytest.mark.parametrize(
    ("url", "mode", "extra"),
    [
        ("postgresql://h/d", "async", "svc-infra-sql[postgres]"),
        ("postgresql+asyncpg://h/d", "async", "svc-infra-sql[postgres]"),
        ("postgresql+psycopg://h/d", "async", "svc-infra-sql[psycopg]"),
        ("postgresql://h/d", "sync", "svc-infra-sql[psycopg]"),
        ("mysql://h/d", "async", "svc-infra-sql[mysql]"),
        ("mysql+aiomysql://h/d", "async", "svc-infra-sql[aiomysql]"),
        ("mysql://h/d", "sync", "pymysql"),
        ("mariadb://h/d", "async", "svc-infra-sql[mysql]"),
        ("sqlite:///a", "async", "svc-infra-sql[sqlite]"),
        ("mssql://h/d", "async", "svc-infra-sql[mssql]"),
        ("snowflake://a/d", "async", "svc-infra-sql[snowflake]"),
        ("duckdb:///a", "sync", "svc-infra-sql[duckdb]"),
    ],
)
def test_a_missing_driver_names_the_extra(url: str, mode: Mode, extra: str) -> None:
    """The error has the command to run."""
    with pytest.raises(
        MissingDriver, match=rf"^SQL_URL: .*pip install '{extra}'".replace("[", r"\[").replace("]", r"\]")
    ):
        resolve(url, mode, "")


@pytest.mark.parametrize("url", ["mssql+aioodbc://h/d", "mssql+pymssql://h/d", "postgresql+psycopg2://h/d"])
def test_a_driver_that_pip_alone_does_not_bring_is_checked_on_demand(url: str) -> None:
    """Such a URL resolves everywhere; `require_driver`, at the start of a service, tells."""
    mode: Mode = "async" if "aioodbc" in url else "sync"
    with pytest.raises(MissingDriver, match="pip install"):
        resolve(url, mode, "").require_driver()


def create_connect_args(resolved: ResolvedUrl) -> dict[str, Any]:
    """What SQLAlchemy's dialect hands to the driver, with the connect arguments on top."""
    dialect = resolved.url.get_dialect(resolved.mode == "async")()
    _, arguments = dialect.create_connect_args(resolved.url)
    return {**arguments, **resolved.connect_args}


def asyncpg_takes(arguments: dict[str, Any]) -> None:
    import asyncpg

    arguments.pop("prepared_statement_cache_size", None)  # taken by SQLAlchemy's adapter
    inspect.signature(asyncpg.connect).bind(**arguments)


def psycopg_takes(arguments: dict[str, Any]) -> None:
    from psycopg import AsyncConnection
    from psycopg.conninfo import make_conninfo

    own = {name: arguments.pop(name) for name in ("prepare_threshold", "autocommit") if name in arguments}
    inspect.signature(AsyncConnection.connect).bind("", **own)
    make_conninfo("", **arguments)


def mysql_takes(module: str) -> Callable[[dict[str, Any]], None]:
    def takes(arguments: dict[str, Any]) -> None:
        if module == "asyncmy":
            # A compiled class without a signature: making the connection object opens nothing.
            import asyncio

            import asyncmy.connection

            async def make() -> None:
                asyncmy.connection.Connection(**{**arguments, "user": "u"})

            asyncio.run(make())
        else:
            connection = __import__(
                f"{module}.connections" if module == "pymysql" else f"{module}.connection", fromlist=["*"]
            )
            arguments["db"] = arguments.pop("database", arguments.pop("db", None))
            inspect.signature(connection.Connection.__init__).bind(None, **arguments)

    return takes


EVERYTHING = {
    "postgresql": "sslmode=require&sslnegotiation=direct&connect_timeout=3&application_name=a&options=-c%20jit%3Doff&"
    "pgbouncer=true&statement_timeout=5s&keepalives=1&channel_binding=prefer&target_session_attrs=any&schema=s&"
    "command_timeout=5&max_cached_statement_lifetime=9&pool_size=5&supa=x",
    "mysql": "ssl-mode=REQUIRED&connect_timeout=3&charset=utf8mb4&read_timeout=5&write_timeout=5&local_infile=1&"
    "autocommit=1&init_command=SELECT%201&sql_mode=ANSI&max_allowed_packet=1000&program_name=a&useUnicode=true&serverTimezone=UTC",
}


@pytest.mark.parametrize(
    ("driver", "mode", "takes"),
    [
        ("postgresql+asyncpg", "async", asyncpg_takes),
        ("postgresql+psycopg", "async", psycopg_takes),
        ("postgresql+psycopg", "sync", psycopg_takes),
        ("mysql+asyncmy", "async", mysql_takes("asyncmy")),
        ("mysql+aiomysql", "async", mysql_takes("aiomysql")),
        ("mysql+pymysql", "sync", mysql_takes("pymysql")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_driver_takes_all_that_it_is_handed(
    driver: str, mode: Mode, takes: Callable[[dict[str, Any]], None]
) -> None:
    """No parameter of a long URL reaches `connect()` under a name or type that it does not have."""
    pytest.importorskip(driver.partition("+")[2])
    query = EVERYTHING[driver.partition("+")[0]]
    takes(create_connect_args(resolve_url(f"{driver}://u:p@h:1/d?{query}", environ={}, mode=mode)))


def test_importing_and_resolving_load_no_driver() -> None:
    """Neither the import nor a resolution imports a driver, pydantic or typer; importing has no other effect."""
    script = """
import sys
import svc_infra.dburl, svc_infra.dburl.mongo
svc_infra.dburl.resolve_url("postgresql://h/d?sslmode=verify-full", environ={}, installed=lambda module: True)
svc_infra.dburl.resolve_url("mysql://h/d?ssl-mode=REQUIRED", environ={}, installed=lambda module: True)
heavy = {"asyncpg", "psycopg", "psycopg2", "asyncmy", "aiomysql", "pymysql", "aiosqlite", "duckdb",
         "duckdb_sqlalchemy", "mssql_python", "snowflake.sqlalchemy", "pymongo", "motor",
         "pydantic", "pydantic_settings", "typer", "greenlet"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() in {"[]", "['greenlet']"}  # SQLAlchemy 2.0 imports greenlet by itself
