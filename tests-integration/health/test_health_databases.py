"""The ready-made checks on real servers: up, down, frozen, misconfigured."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from dbservers.proxy import FaultyProxy
from svc_infra.db.sql.database import Database
from svc_infra.health import (
    HealthRegistry,
    NotHealthy,
    Outcome,
    check_database,
    check_migrations,
    check_mongo,
    check_redis,
)
from svc_infra.health.classify import classify

# The frozen server must be given up when the timeout says; the rest is what the machine takes.
SLACK_SECONDS = 0.75


async def outcome_of(check: Callable[[], object]) -> Outcome:
    """Run one check as the registry does, with time to spare."""
    registry = HealthRegistry()
    registry.add("it", check, timeout=3)  # type: ignore[arg-type]
    try:
        result = (await registry.run()).checks["it"]
    finally:
        await registry.aclose()
    return Outcome(result.status, result.reason, result.detail)


def with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    return url.replace(parts.netloc, f"{parts.username}:{password}@{parts.hostname}:{parts.port}")


@pytest.fixture(params=["postgres", "postgres+psycopg", "mysql", "mysql+aiomysql", "redis", "mongo"])
def server_check(request: pytest.FixtureRequest) -> tuple[str, Callable[[str], Callable[[], object]]]:
    """A server's URL and how its check is made."""
    kind, _, driver = request.param.partition("+")
    url: str = request.getfixturevalue(f"{kind}_url")
    if driver:
        url = url.replace("://", f"+{driver}://", 1)
    if kind == "mongo":
        url += "/?directConnection=true"  # else the client finds the server behind the proxy by its own name
    check = {"redis": check_redis, "mongo": check_mongo}.get(kind, check_database)
    return url, check  # type: ignore[return-value]


async def test_a_server_that_answers_is_healthy(
    server_check: tuple[str, Callable[[str], Callable[[], object]]],
) -> None:
    """Every supported server and driver."""
    url, check = server_check
    assert await outcome_of(check(url)) == Outcome()


@pytest.fixture
async def frozen(server_check: tuple[str, Callable[[str], Callable[[], object]]]) -> AsyncIterator[HealthRegistry]:
    """A registry whose check was healthy once, before the server froze."""
    url, check = server_check
    with FaultyProxy(url) as proxy:
        registry = HealthRegistry()
        registry.add("it", check(proxy.url), timeout=5, cache_seconds=0)  # type: ignore[arg-type]
        assert (await registry.run()).healthy
        await registry.aclose()
        registry = HealthRegistry()
        made = check(proxy.url)
        registry.add("it", made, timeout=0.4, cache_seconds=0)  # type: ignore[arg-type]
        registry.proxy = proxy  # type: ignore[attr-defined]
        yield registry
        proxy.forward()
        await registry.aclose()


@pytest.mark.parametrize("kept", [True, False], ids=["connection kept", "new connection"])
async def test_a_frozen_server_is_reported_in_time_and_recovers(frozen: HealthRegistry, kept: bool) -> None:
    """Whatever the driver does, the report comes when the timeout says, and the check works again after the freeze."""
    proxy: FaultyProxy = frozen.proxy  # type: ignore[attr-defined]
    if kept:
        assert (await frozen.run()).healthy
    proxy.freeze()
    for _ in range(2):
        began = time.monotonic()
        report = await frozen.run()
        assert time.monotonic() - began < 0.4 + SLACK_SECONDS
        assert report.checks["it"].status == "unhealthy"
        assert report.checks["it"].reason in ("timeout", "pool")
    proxy.forward()
    deadline = time.monotonic() + 25
    while not (report := await frozen.run()).healthy:
        assert time.monotonic() < deadline, report.to_dict(details=True)
        await asyncio.sleep(0.05)


async def test_a_restarted_server_is_healthy_at_the_first_check(
    server_check: tuple[str, Callable[[str], Callable[[], object]]],
) -> None:
    """The kept connection is dead then; that is no failure of the server."""
    url, check = server_check
    with FaultyProxy(url) as proxy:
        async with HealthRegistry() as registry:
            registry.add("it", check(proxy.url), timeout=10, cache_seconds=0)  # type: ignore[arg-type]
            assert (await registry.run()).healthy
            proxy.drop()
            proxy.forward()
            report = await registry.run()
            assert report.healthy, report.to_dict(details=True)


async def test_a_server_that_resets_connections_is_unreachable(
    server_check: tuple[str, Callable[[str], Callable[[], object]]],
) -> None:
    """Down is down, whatever the driver calls it."""
    url, check = server_check
    with FaultyProxy(url) as proxy:
        proxy.drop()
        outcome = await outcome_of(check(proxy.url))
    assert outcome.status == "unhealthy"
    # libpq does not tell a reset from a refusal to log in.
    assert outcome.reason in {"unreachable", "failed" if "psycopg" in url else "unreachable"}, outcome.detail


async def test_a_port_where_nobody_listens_is_refused(
    server_check: tuple[str, Callable[[str], Callable[[], object]]], unused_tcp_port: int
) -> None:
    """The reason tells a server that is down from one that is lost."""
    url, check = server_check
    outcome = await outcome_of(check(url.replace(f":{urlsplit(url).port}", f":{unused_tcp_port}")))
    assert (outcome.status, outcome.reason) == ("unhealthy", "refused"), outcome.detail


async def test_a_host_that_does_not_exist_is_a_dns_failure(
    server_check: tuple[str, Callable[[str], Callable[[], object]]],
) -> None:
    """`.invalid` names never resolve (RFC 2606)."""
    url, check = server_check
    outcome = await outcome_of(check(url.replace("127.0.0.1", "no-such-host.invalid")))
    assert (outcome.status, outcome.reason) == ("unhealthy", "dns"), outcome.detail


@pytest.mark.parametrize("kind", ["postgres", "postgres+psycopg", "mysql", "mysql+aiomysql"])
async def test_a_wrong_password_is_an_auth_failure_that_does_not_show_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """The reason is fixed, and the password is in no text."""
    name, _, driver = kind.partition("+")
    url: str = request.getfixturevalue(f"{name}_url")
    if driver:
        url = url.replace("://", f"+{driver}://", 1)
    outcome = await outcome_of(check_database(with_password(url, "wr0ng-s3cret")))
    if outcome.status == "healthy":
        pytest.skip("the server trusts local connections")
    # libpq tells psycopg the reason of a failed connection in a localised text only.
    assert outcome.reason == ("failed" if driver == "psycopg" else "auth"), outcome.detail
    assert "wr0ng-s3cret" not in outcome.detail


@pytest.mark.parametrize("kind", ["postgres", "postgres+psycopg", "mysql", "mysql+aiomysql"])
async def test_a_database_that_does_not_exist_is_missing(kind: str, request: pytest.FixtureRequest) -> None:
    """The server answers, but not with this database."""
    name, _, driver = kind.partition("+")
    url: str = request.getfixturevalue(f"{name}_url")
    if driver:
        url = url.replace("://", f"+{driver}://", 1)
    database = urlsplit(url).path
    outcome = await outcome_of(check_database(url.replace(database, "/no_such_database")))
    # MariaDB does not tell a user without rights whether a database exists; libpq tells psycopg only in a text.
    expected = {"postgres": "missing", "postgres+psycopg": "failed"}.get(kind, "permission")
    assert outcome.reason == expected, outcome.detail


async def test_sqlite_that_is_missing_is_unhealthy_and_not_created(tmp_path: Path) -> None:
    """A driver creates the file and answers; that is no health."""
    path = tmp_path / "app.db"
    outcome = await outcome_of(check_database(f"sqlite:///{path}"))
    assert (outcome.status, outcome.reason) == ("unhealthy", "missing")
    assert not path.exists()


async def test_sqlite_that_is_garbage_is_corrupt(tmp_path: Path) -> None:
    """`SELECT 1` succeeds on a file that is no database."""
    path = tmp_path / "app.db"
    path.write_bytes(b"not a database" * 1000)
    assert (await outcome_of(check_database(f"sqlite:///{path}"))).reason == "corrupt"


async def test_sqlite_that_is_written_to_is_healthy(sqlite_url: str) -> None:
    """A writer's lock says that the database is in use."""
    import sqlite3

    path = sqlite_url.removeprefix("sqlite:///")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (x)")
    writer.execute("BEGIN EXCLUSIVE")
    outcome = await outcome_of(check_database(sqlite_url))
    writer.close()
    assert outcome.status == "healthy", outcome.detail


async def test_duckdb_is_looked_at_without_being_locked(duckdb_url: str) -> None:
    """One process may have the file open, and that is the application."""
    import duckdb

    path = duckdb_url.removeprefix("duckdb:///")
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
    assert await outcome_of(check_database(duckdb_url)) == Outcome()
    script = (
        "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('INSERT INTO t VALUES (1)'); "
        "print('open', flush=True); sys.stdin.read()"
    )
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert await asyncio.wait_for(owner.stdout.readline(), 30) == b"open\n"
    outcome = await outcome_of(check_database(duckdb_url))
    await owner.communicate(b"")
    assert outcome == Outcome()


async def test_an_engine_is_checked_through_its_own_pool_and_left_open(postgres_url: str) -> None:
    """The application's engine can be passed; an exhausted pool has its own reason."""
    from sqlalchemy.ext.asyncio import create_async_engine

    from svc_infra.dburl import resolve_url

    resolved = resolve_url(postgres_url)
    engine = create_async_engine(
        resolved.url, connect_args=dict(resolved.connect_args), pool_size=1, max_overflow=0, pool_timeout=0.2
    )
    check = check_database(engine)
    assert await outcome_of(check) == Outcome()
    async with engine.connect():
        assert (await outcome_of(check)).reason == "pool"
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    await engine.dispose()


async def test_the_kept_connection_is_one(postgres_url: str) -> None:
    """A hundred checks are one connection."""
    with FaultyProxy(postgres_url) as proxy:
        async with HealthRegistry() as registry:
            registry.add("it", check_database(proxy.url), timeout=5, cache_seconds=0)
            for _ in range(100):
                assert (await registry.run()).healthy
            assert proxy.connections == 1


def test_one_check_works_in_one_loop_after_another(postgres_url: str) -> None:
    """A connection belongs to its loop; the check must not."""
    check = check_database(postgres_url)
    for _ in range(3):
        assert asyncio.run(outcome_of(check)) == Outcome()


async def test_a_writable_database_is_told_from_a_read_only_one(postgres_url: str, mysql_url: str) -> None:
    """A standby answers, but the service can't write."""
    assert await outcome_of(check_database(postgres_url, writable=True)) == Outcome()
    assert await outcome_of(check_database(mysql_url, writable=True)) == Outcome()
    read_only = postgres_url + "&options=-c%20default_transaction_read_only%3Don"
    outcome = await outcome_of(check_database(read_only.replace("://", "+psycopg://"), writable=True))
    assert (outcome.status, outcome.reason) == ("unhealthy", "readonly"), outcome.detail


async def test_migrations_that_are_behind_are_pending(database_url: str) -> None:
    """Start-up waits until the schema is the one that the code needs; by URL and, for DuckDB too, by `Database`."""
    async with Database(database_url) as database:
        await execute(database, "CREATE TABLE other (x INTEGER)")
        by_database = check_migrations(database, expected={"b2"})
        by_url = check_migrations(database_url, expected={"b2"})
        checks = [by_database] if database_url.startswith("duckdb") else [by_database, by_url]
        for check in checks:
            assert (await outcome_of(check)).reason == "pending"
        await execute(database, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        await execute(database, "INSERT INTO alembic_version VALUES ('a1')")
        for check in checks:
            outcome = await outcome_of(check)
            assert (outcome.status, outcome.reason) == ("unhealthy", "pending")
            assert "a1" in outcome.detail
            assert "b2" in outcome.detail
        await execute(database, "UPDATE alembic_version SET version_num = 'b2'")
        for check in checks:
            assert (await outcome_of(check)).status == "healthy"
        if database_url.startswith("duckdb"):
            assert (await outcome_of(by_url)).reason == "configuration"


async def execute(database: Database, statement: str) -> None:
    async with database.session() as session:
        await session.execute(text(statement))


async def test_the_applications_database_can_be_checked(database_url: str) -> None:
    """Through its own pool, which stays its own."""
    async with Database(database_url) as database:
        assert await outcome_of(check_database(database)) == Outcome()
        await execute(database, "SELECT 1")
        assert await outcome_of(check_database(database, writable=True)) == Outcome()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_transaction_pooler_in_between_is_no_obstacle(pgbouncer_url: str, driver: str) -> None:
    """Several checks at once, many times, through PgBouncer, though nothing in the URL tells of it."""
    url = pgbouncer_url.replace("://", f"+{driver}://")
    async with HealthRegistry() as registry:
        for number in range(4):
            registry.add(f"check {number}", check_database(url), timeout=5, cache_seconds=0)
        for _ in range(20):
            report = await registry.run()
            assert report.healthy, report.to_dict(details=True)


async def test_a_password_that_was_rotated_is_used_for_the_next_connection(postgres_url: str, tmp_path: Path) -> None:
    """Kubernetes rewrites the file; the check must not need a restart."""
    parts = urlsplit(postgres_url)
    secret = tmp_path / "password"
    secret.write_text("outdated")
    environ = {
        "DB_HOST": parts.hostname or "",
        "DB_PORT": str(parts.port),
        "DB_NAME": parts.path.lstrip("/"),
        "DB_USER": parts.username or "",
        "DB_PARAMS": "sslmode=disable",
        "DB_PASSWORD_FILE": str(secret),
    }
    async with HealthRegistry() as registry:
        registry.add("it", check_database(None, environ=environ), timeout=5, cache_seconds=0)
        assert (await registry.run()).checks["it"].reason == "auth"
        secret.write_text(parts.password or "")
        report = await registry.run()
        assert report.healthy, report.to_dict(details=True)


async def test_the_heads_are_read_from_the_migration_scripts(sqlite_url: str, tmp_path: Path) -> None:
    """Without `expected` the scripts say what the code needs."""
    import sqlite3

    scripts = tmp_path / "migrations"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text("raise RuntimeError('a health check must not run env.py')")
    for revision, down in (("a1", None), ("b2", "a1")):
        (scripts / "versions" / f"{revision}.py").write_text(f"revision = {revision!r}\ndown_revision = {down!r}\n")
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        database.execute("INSERT INTO alembic_version VALUES ('a1')")
    database.close()
    outcome = await outcome_of(check_migrations(sqlite_url, script_location=scripts))
    assert outcome.reason == "pending"
    outcome = await outcome_of(check_migrations(sqlite_url, script_location=tmp_path / "nowhere"))
    assert outcome.reason == "configuration"


async def test_no_address_at_all_is_a_configuration_failure_that_waiting_does_not_prolong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check_database(os.getenv("SQL_URL"))` with SQL_URL unset says so, at once."""
    monkeypatch.chdir(tmp_path)
    registry = HealthRegistry()
    registry.add("database", check_database(None, environ={}), critical=True)
    registry.add("redis", check_redis(None, environ={}), critical=False)
    began = time.monotonic()
    with pytest.raises(NotHealthy, match="SQL_URL") as caught:
        await registry.wait_until_healthy(timeout=60, interval=2)
    assert time.monotonic() - began < 2
    assert caught.value.report.checks["redis"].reason == "configuration"
    assert "REDIS_URL" in caught.value.report.checks["redis"].detail


async def test_without_an_address_the_environment_decides(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DATABASE_URL alone is enough, as it is for the application."""
    monkeypatch.chdir(tmp_path)
    assert await outcome_of(check_database(None, environ={"DATABASE_URL": postgres_url})) == Outcome()


async def test_redis_that_wants_a_password_is_an_auth_failure(own_redis: object) -> None:
    """PING needs authentication too."""
    from redis.asyncio import Redis

    url: str = own_redis.url  # type: ignore[attr-defined]
    client = Redis.from_url(url, single_connection_client=True)
    await client.config_set("requirepass", "s3cret")
    try:
        outcome = await outcome_of(check_redis(url))
        assert outcome.reason == "auth", outcome.detail
        right = url.replace("redis://", "redis://:s3cret@")
        assert await outcome_of(check_redis(right)) == Outcome()
    finally:
        # This connection was made before and stays allowed.
        await client.config_set("requirepass", "")
        await client.aclose()


def test_a_failure_of_a_driver_that_is_not_installed_names_the_extra() -> None:
    """The remedy is in the text."""
    script = (
        "import sys; sys.modules['redis'] = None\n"
        "import asyncio\n"
        "from svc_infra.health import HealthRegistry, check_redis\n"
        "registry = HealthRegistry(); registry.add('redis', check_redis('redis://h'))\n"
        "result = asyncio.run(registry.run()).checks['redis']\n"
        "print(result.reason, result.detail)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ}, timeout=60, check=True
    )
    assert done.stdout.startswith("driver ")
    assert "svc-infra-health[redis]" in done.stdout


def test_unknown_errors_are_just_failed() -> None:
    """No guess from texts."""
    assert classify(RuntimeError("connection refused by password authentication timeout")) == "failed"
