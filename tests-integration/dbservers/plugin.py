"""Pytest plugin: a fixture for each kind of database, and a section at the end that says which were covered.

Servers start when the first test asks for one and live until the run's (with pytest-xdist, the worker's) end:

    postgres_server, postgres_tls_server, mysql_server, mysql_tls_server, mongo_server, redis_server, mssql_server,
    pgbouncer (in front of postgres_server)

A fresh empty database for one test, as a URL without a driver name:

    postgres_url, mysql_url, sqlite_url, duckdb_url, redis_url, mssql_url, snowflake_url, postgres_tls_url,
    mysql_tls_url, mongo_url with mongo_db_name
    postgres_admin_url   the database of postgres_url, as superuser
    pgbouncer_url        the database of postgres_url, through the pooler
    database_url         PostgreSQL, MySQL, SQLite and DuckDB in turn
    module_database      a function: the URL of a database of a kind that the tests of a module share

Servers that a test may kill, freeze and start, shared with no test of another module:

    own_postgres, own_mysql, own_mongo, own_redis, postgres_replica

And `faulty_proxy`, which makes a proxy that cuts or freezes the way to a URL.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from dbservers.errors import ServerMissing
from dbservers.mongo import MongoServer, open_mongo
from dbservers.mongo import own_mongo as start_mongo
from dbservers.mssql import MssqlServer, open_mssql
from dbservers.mysql import MysqlServer, MysqlTlsServer, open_mysql, own_mysql_tls
from dbservers.mysql import own_mysql as start_mysql
from dbservers.pgbouncer import PgBouncer, own_pgbouncer
from dbservers.postgres import (
    PostgresReplica,
    PostgresServer,
    PostgresTlsServer,
    open_postgres,
    own_postgres_replica,
    own_postgres_tls,
)
from dbservers.postgres import own_postgres as start_postgres
from dbservers.proxy import FaultyProxy
from dbservers.redis import RedisServer, open_redis
from dbservers.redis import own_redis as start_redis
from dbservers.report import Coverage
from dbservers.server import Server
from dbservers.workspace import Workspace

COVERAGE = pytest.StashKey[Coverage]()
WANTED = pytest.StashKey[set[str]]()

# Which kind of server a fixture stands for. A test counts for the kinds of all fixtures that it uses, directly or not.
KINDS = {
    "postgres_server": "PostgreSQL",
    "own_postgres": "PostgreSQL",
    "postgres_replica": "PostgreSQL replica",
    "postgres_tls_server": "PostgreSQL with TLS",
    "pgbouncer": "PgBouncer",
    "mysql_server": "MySQL/MariaDB",
    "own_mysql": "MySQL/MariaDB",
    "mysql_tls_server": "MySQL/MariaDB with TLS",
    "sqlite_url": "SQLite",
    "duckdb_url": "DuckDB",
    "mssql_server": "MSSQL",
    "snowflake_url": "Snowflake",
    "mongo_server": "MongoDB",
    "own_mongo": "MongoDB",
    "redis_server": "Redis",
    "own_redis": "Redis",
}
DATABASE_URLS = {"postgres": "PostgreSQL", "mysql": "MySQL/MariaDB", "sqlite": "SQLite", "duckdb": "DuckDB"}
# There is no server of these to install: absent, they are a skip in CI too.
NOT_INSTALLABLE = {"MSSQL", "Snowflake"}

# Committed transactions are flushed before the client hears of it, as in production.
DURABLE = {"shared_buffers": "64MB"}

ServerT = TypeVar("ServerT", bound=Server)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COVERAGE] = Coverage()


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = set(getattr(item, "fixturenames", ()))
    kinds = {KINDS[name] for name in names if name in KINDS}
    if spec := getattr(item, "callspec", None):
        # A test that takes the kind of its database as a parameter.
        kinds |= {DATABASE_URLS[value] for value in map(str, spec.params.values()) if value in DATABASE_URLS}
    _want(item, kinds)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    """Count what a test asks for by `getfixturevalue`, which its signature doesn't tell."""
    if fixturedef.scope == "function":
        _want(request.node, {KINDS[name] for name in (fixturedef.argname, *fixturedef.argnames) if name in KINDS})


def _want(item: pytest.Item, kinds: set[str]) -> None:
    counted = item.stash.setdefault(WANTED, set())
    for kind in kinds - counted:
        item.config.stash[COVERAGE].want(kind)
    counted |= kinds


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["dbservers"] = session.config.stash[COVERAGE].as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Collect what a worker of pytest-xdist covered; one that crashed has no output."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    config.stash[COVERAGE].merge(getattr(node, "workeroutput", {}).get("dbservers", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[COVERAGE].lines(list(dict.fromkeys(KINDS.values())))
    if lines:
        terminalreporter.section("databases covered")
        for line in lines:
            terminalreporter.write_line(line)


def provide(config: pytest.Config, kind: str, opening: AbstractContextManager[ServerT]) -> Iterator[ServerT]:
    """Give the server that *opening* opens, or skip the test (fail it in CI) with the reason that there is none."""
    coverage = config.stash[COVERAGE]
    with ExitStack() as stack:
        try:
            server = stack.enter_context(opening)
        except ServerMissing as missing:
            absent(coverage, kind, str(missing))
        except ModuleNotFoundError as error:
            absent(coverage, kind, f"the module {error.name} is not installed")
        coverage.have(kind, server.version, server.origin)
        yield server


def absent(coverage: Coverage, kind: str, reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, because there is no server of this *kind*."""
    coverage.lack(kind, reason)
    if os.environ.get("CI", "").lower() in {"1", "true"} and kind not in NOT_INSTALLABLE:
        pytest.fail(f"no {kind}: {reason}", pytrace=False)
    pytest.skip(f"no {kind}: {reason}")


@pytest.fixture(scope="session")
def server_workspace() -> Iterator[Workspace]:
    """Where servers live; ends all that is left, even when the run is killed."""
    workspace = Workspace()
    yield workspace
    workspace.close()


@pytest.fixture(scope="session")
def postgres_server(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[PostgresServer]:
    """A PostgreSQL server without TLS."""
    yield from provide(pytestconfig, "PostgreSQL", open_postgres(server_workspace))


@pytest.fixture(scope="session")
def postgres_tls_server(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[PostgresTlsServer]:
    """A PostgreSQL server that insists on TLS; `certificates` has the paths and names."""
    yield from provide(pytestconfig, "PostgreSQL with TLS", own_postgres_tls(server_workspace))


@pytest.fixture(scope="session")
def pgbouncer(
    server_workspace: Workspace, postgres_server: PostgresServer, pytestconfig: pytest.Config
) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode in front of `postgres_server`."""
    yield from provide(pytestconfig, "PgBouncer", own_pgbouncer(server_workspace, postgres_server))


@pytest.fixture(scope="session")
def mysql_server(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[MysqlServer]:
    """A MySQL or MariaDB server without TLS."""
    yield from provide(pytestconfig, "MySQL/MariaDB", open_mysql(server_workspace))


@pytest.fixture(scope="session")
def mysql_tls_server(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[MysqlTlsServer]:
    """A MariaDB server that insists on TLS; `certificates` has the paths and names."""
    yield from provide(pytestconfig, "MySQL/MariaDB with TLS", own_mysql_tls(server_workspace))


@pytest.fixture(scope="session")
def mongo_server(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[MongoServer]:
    """A MongoDB server, or one that speaks its protocol."""
    yield from provide(pytestconfig, "MongoDB", open_mongo(server_workspace))


@pytest.fixture(scope="session")
def redis_server(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """A Redis server."""
    yield from provide(pytestconfig, "Redis", open_redis(server_workspace))


@pytest.fixture(scope="session")
def mssql_server(pytestconfig: pytest.Config) -> Iterator[MssqlServer]:
    """A Microsoft SQL Server, where the environment names one or a container runs."""
    yield from provide(pytestconfig, "MSSQL", open_mssql())


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty PostgreSQL database, owned by a role that is not a superuser."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def postgres_admin_url(postgres_server: PostgresServer, postgres_url: str) -> str:
    """The database of `postgres_url`, as superuser."""
    return postgres_server.admin_url(postgres_url)


@pytest.fixture
def postgres_tls_url(postgres_tls_server: PostgresTlsServer) -> Iterator[str]:
    """An empty PostgreSQL database behind TLS; ``sslmode=require`` stands in the URL."""
    url = postgres_tls_server.create_database()
    yield url
    postgres_tls_server.drop_database(url)


@pytest.fixture
def pgbouncer_url(pgbouncer: PgBouncer, postgres_url: str) -> str:
    """The database of `postgres_url`, through PgBouncer."""
    return pgbouncer.through(postgres_url)


@pytest.fixture
def mysql_url(mysql_server: MysqlServer) -> Iterator[str]:
    """An empty MySQL or MariaDB database."""
    url = mysql_server.create_database()
    yield url
    mysql_server.drop_database(url)


@pytest.fixture
def mysql_tls_url(mysql_tls_server: MysqlTlsServer) -> Iterator[str]:
    """An empty MariaDB database behind TLS."""
    url = mysql_tls_server.create_database()
    yield url
    mysql_tls_server.drop_database(url)


@pytest.fixture
def mssql_url(mssql_server: MssqlServer) -> Iterator[str]:
    """An empty database of a Microsoft SQL Server."""
    url = mssql_server.create_database()
    yield url
    mssql_server.drop_database(url)


@pytest.fixture
def snowflake_url(pytestconfig: pytest.Config) -> str:
    """The URL in ``TEST_SNOWFLAKE_URL``, as it is: a test makes and drops its own tables there."""
    coverage = pytestconfig.stash[COVERAGE]
    url = os.environ.get("TEST_SNOWFLAKE_URL", "")
    if not url:
        absent(coverage, "Snowflake", "TEST_SNOWFLAKE_URL is not set, and Snowflake is a hosted service only")
    coverage.have("Snowflake", "", "environment")
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path, pytestconfig: pytest.Config) -> str:
    """A SQLite file that doesn't exist yet."""
    pytestconfig.stash[COVERAGE].have("SQLite", sqlite3.sqlite_version, "library")
    return f"sqlite:///{tmp_path / 'db.sqlite'}"


@pytest.fixture
def duckdb_url(tmp_path: Path, pytestconfig: pytest.Config) -> str:
    """A DuckDB file that doesn't exist yet."""
    pytest.importorskip("duckdb", exc_type=ImportError)
    pytestconfig.stash[COVERAGE].have("DuckDB", version("duckdb"), "library")
    return f"duckdb:///{tmp_path / 'db.duckdb'}"


@pytest.fixture
def mongo_url(mongo_server: MongoServer) -> str:
    """The server's URL, without a database: use `mongo_db_name`."""
    return mongo_server.url


@pytest.fixture
def mongo_db_name(mongo_server: MongoServer) -> Iterator[str]:
    """The name of a MongoDB database that doesn't exist yet; dropped afterwards."""
    name = mongo_server.new_database()
    yield name
    mongo_server.drop_database(name)


@pytest.fixture
def redis_url(redis_server: RedisServer, pytestconfig: pytest.Config) -> str:
    """An empty Redis database; with pytest-xdist each worker has a number of its own."""
    worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
    return redis_server.empty_database(int(worker.removeprefix("gw")))


@pytest.fixture(params=list(DATABASE_URLS))
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database on PostgreSQL, MySQL, SQLite and DuckDB in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="module")
def module_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Callable[[str], str]]:
    """Give the URL of a database of a kind (postgres, mysql, sqlite, duckdb), the same for all tests of a module.

    It is empty at first; what a test leaves in it the next one finds.
    """
    with ExitStack() as stack:

        @cache
        def url_of(kind: str) -> str:
            if kind in {"postgres", "mysql"}:
                server: PostgresServer | MysqlServer = request.getfixturevalue(f"{kind}_server")
                url = server.create_database()
                stack.callback(server.drop_database, url)
                return url
            if kind == "duckdb":
                pytest.importorskip("duckdb", exc_type=ImportError)
            library = sqlite3.sqlite_version if kind == "sqlite" else version("duckdb")
            pytestconfig.stash[COVERAGE].have(DATABASE_URLS[kind], library, "library")
            return f"{kind}:///{tmp_path_factory.mktemp(kind) / f'db.{kind}'}"

        yield url_of


class OwnServers:
    """The servers of one test module, each opened when a test first asks for it, all closed with *stack*."""

    def __init__(self, workspace: Workspace, config: pytest.Config, stack: ExitStack) -> None:
        self._workspace = workspace
        self._config = config
        self._stack = stack
        self._opened: dict[str, Server] = {}

    def running(self, kind: str, opener: Callable[[Workspace], AbstractContextManager[ServerT]]) -> ServerT:
        """Give the module's server of a *kind*, started again when a test before had ended it."""
        if kind not in self._opened:
            opening = contextmanager(provide)(self._config, kind, opener(self._workspace))
            self._opened[kind] = self._stack.enter_context(opening)
        server: ServerT = self._opened[kind]  # type: ignore[assignment]
        server.start()
        return server


@pytest.fixture(scope="module")
def own_servers(server_workspace: Workspace, pytestconfig: pytest.Config) -> Iterator[OwnServers]:
    """Servers that are shared with no test of another module."""
    with ExitStack() as stack:
        yield OwnServers(server_workspace, pytestconfig, stack)


@pytest.fixture
def own_postgres(own_servers: OwnServers) -> PostgresServer:
    """A PostgreSQL server, durable, that the test may kill and start; it runs when the test begins."""
    return own_servers.running("PostgreSQL", lambda workspace: start_postgres(workspace, DURABLE))


@pytest.fixture
def own_mysql(own_servers: OwnServers) -> MysqlServer:
    """A MariaDB server, durable, that the test may kill and start; it runs when the test begins."""
    settings = {"innodb-buffer-pool-size": "64M"}
    return own_servers.running("MySQL/MariaDB", lambda workspace: start_mysql(workspace, settings))


@pytest.fixture
def own_mongo(own_servers: OwnServers) -> MongoServer:
    """A MongoDB-compatible server that the test may kill and start; it runs when the test begins."""
    return own_servers.running("MongoDB", start_mongo)


@pytest.fixture
def own_redis(own_servers: OwnServers) -> RedisServer:
    """A Redis server that the test may kill and start; it runs, and forgets everything, when the test begins."""
    return own_servers.running("Redis", start_redis)


@pytest.fixture
def postgres_replica(own_servers: OwnServers) -> PostgresReplica:
    """A primary and a streaming replica, both of which the test may kill and start; both run when the test begins."""
    return own_servers.running("PostgreSQL replica", own_postgres_replica)


@pytest.fixture
def faulty_proxy() -> Iterator[Callable[[str], FaultyProxy]]:
    """A function that puts a `FaultyProxy` in front of the server of a URL; all end with the test."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(FaultyProxy(url))
