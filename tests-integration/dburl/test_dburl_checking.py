"""`check_url` against servers in health and in trouble: the step that fails is the one in question, with its remedy."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

from dbservers.mysql import MysqlTlsServer
from dbservers.postgres import PostgresTlsServer
from svc_infra.dburl import resolve_url
from svc_infra.dburl.checking import Step, check_url

Mode = Literal["async", "sync"]


def check(url: str, mode: Mode = "async", timeout: float = 10) -> list[Step]:
    return check_url(resolve_url(url, environ={}, mode=mode), timeout=timeout)


def failure(steps: list[Step]) -> tuple[str, str]:
    """The step that failed, which is the last, and its remedy."""
    assert [step.name for step in steps if step.ok is False] == [steps[-1].name]
    assert steps[-1].remedy
    return steps[-1].name, steps[-1].remedy


SERVER_STEPS = ["driver", "files", "dns", "tcp", "tls", "login", "version"]


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg"])
def test_a_healthy_postgresql_passes_every_step(scheme: str, postgres_url: str) -> None:
    """Each step is tried and timed, and the last tells the server's version."""
    steps = check(postgres_url.replace("postgresql", scheme))
    assert [step.name for step in steps] == SERVER_STEPS
    assert all(step.ok is not False for step in steps)
    assert steps[-1].detail.startswith("PostgreSQL")


def test_a_healthy_mysql_passes_every_step(mysql_url: str) -> None:
    """As above, for MySQL."""
    steps = check(mysql_url)
    assert [step.name for step in steps] == SERVER_STEPS
    assert all(step.ok is not False for step in steps)


@pytest.mark.parametrize("name", ["sqlite", "duckdb"])
def test_a_file_passes_every_step(name: str, request: pytest.FixtureRequest) -> None:
    """A file that is there is opened, and its library's version told."""
    url = request.getfixturevalue(f"{name}_url")
    from sqlalchemy import create_engine

    with create_engine(url).connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
        connection.commit()
    connection.engine.dispose()
    steps = check(url)
    assert [step.name for step in steps] == ["driver", "file", "login", "version"]
    assert all(step.ok for step in steps)


def test_tls_is_described(postgres_tls_url: str, postgres_tls_server: PostgresTlsServer) -> None:
    """With verify-full the TLS step says what was checked."""
    url = postgres_tls_url.replace("127.0.0.1", "localhost").replace("sslmode=require", "sslmode=verify-full")
    steps = check(f"{url}&sslrootcert={postgres_tls_server.certificates.ca_path}")
    tls = next(step for step in steps if step.name == "tls")
    assert tls.ok
    assert "certificate and host name checked" in tls.detail
    assert steps[-1].ok


def test_mysql_tls_is_described(mysql_tls_url: str, mysql_tls_server: MysqlTlsServer) -> None:
    """As above, for MySQL."""
    url = f"{mysql_tls_url.replace('127.0.0.1', 'localhost')}?ssl_ca={mysql_tls_server.certificates.ca_path}"
    steps = check(url)
    assert "certificate and host name checked" in next(step.detail for step in steps if step.name == "tls")
    assert steps[-1].ok


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_server_without_tls_is_told(kind: str, request: pytest.FixtureRequest) -> None:
    """The remedy for a local server is the guide's: turn TLS off in the URL."""
    url = request.getfixturevalue(f"{kind}_url").replace("?sslmode=disable", "")
    step, remedy = failure(check(f"{url}?sslmode=require"))
    assert step == "tls"
    assert "?sslmode=disable" in remedy


@pytest.mark.parametrize(
    ("host", "authority", "words"), [("127.0.0.1", "ca_path", "host name"), ("localhost", "wrong_ca_path", "authority")]
)
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_wrong_certificate_is_told(
    kind: str, host: str, authority: str, words: str, request: pytest.FixtureRequest
) -> None:
    """A wrong host name and a wrong authority have different remedies."""
    server = request.getfixturevalue(f"{kind}_tls_server")
    url = urlsplit(request.getfixturevalue(f"{kind}_tls_url"))
    userinfo = url.netloc.rpartition("@")[0]
    address = url._replace(netloc=f"{userinfo}@{host}:{url.port}", query="").geturl()
    path = getattr(server.certificates, authority)
    step, remedy = failure(check(f"{address}?sslmode=verify-full&sslrootcert={path}"))
    assert step == "tls"
    assert words in remedy


@pytest.mark.parametrize(
    ("kind", "driver"), [("postgres", "asyncpg"), ("postgres", "psycopg"), ("mysql", "asyncmy"), ("mysql", "aiomysql")]
)
def test_a_wrong_password_is_told_without_it(kind: str, driver: str, request: pytest.FixtureRequest) -> None:
    """The login step fails, the remedy speaks of the password, and nothing shows it."""
    url = urlsplit(request.getfixturevalue(f"{kind}_url"))
    netloc = f"{url.username}:hunter2@{url.hostname}:{url.port}"
    steps = check(url._replace(scheme=f"{url.scheme}+{driver}", netloc=netloc).geturl())
    step, remedy = failure(steps)
    assert step == "login"
    assert "password" in remedy
    assert "hunter2" not in str(steps)


@pytest.mark.parametrize(("kind", "driver"), [("postgres", "asyncpg"), ("postgres", "psycopg"), ("mysql", "asyncmy")])
def test_a_missing_database_is_told(kind: str, driver: str, request: pytest.FixtureRequest) -> None:
    """The login step fails, and the remedy is to create the database."""
    url = urlsplit(request.getfixturevalue(f"{kind}_url"))
    step, remedy = failure(check(url._replace(scheme=f"{url.scheme}+{driver}", path="/no_such_database").geturl()))
    assert step == "login"
    assert {"asyncpg": "Create it", "psycopg": "exists", "asyncmy": "may not use"}[driver] in remedy


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_silent_server_is_told_in_time(mode: Mode, postgres_url: str, faulty_proxy: Any) -> None:
    """A server that accepts and says nothing costs the time limit once, not for ever."""
    proxy = faulty_proxy(postgres_url)
    proxy.freeze()
    steps = check(proxy.url, mode, timeout=1)
    step, remedy = failure(steps)
    assert step in {"login", "tls"}
    assert "does not answer" in remedy
    assert steps[-1].milliseconds < 3000
