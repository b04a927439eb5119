"""What each driver is handed for the options of a URL, and what stays in it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from sqlalchemy import URL

from svc_infra.dburl import ResolvedUrl, resolve_url
from svc_infra.dburl.tls import TlsContext

Mode = Literal["async", "sync"]


def resolve(url: str | URL, mode: Mode = "async", environ: dict[str, str] | None = None) -> ResolvedUrl:
    return resolve_url(url, environ=environ or {}, mode=mode, installed=lambda module: True)


MSSQL_PYTHON = "sqlalchemy.dialects.mssql.mssqlpython"
REQUIRE = {"ssl": "require", "timeout": 10}


# What asyncpg is handed beside the defaults, and what stays in the URL.
ASYNCPG: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("sslmode=allow", {"ssl": "allow"}, {}),
    ("sslmode=no-verify", {"ssl": "require"}, {}),
    ("sslmode=VERIFY_FULL", {"ssl": TlsContext("full")}, {}),
    ("sslmode=verify-ca", {"ssl": TlsContext("ca")}, {}),
    ("sslmode=require&sslrootcert=/no/ca.pem", {"ssl": TlsContext("ca", cafile="/no/ca.pem")}, {}),
    ("sslmode=prefer&sslrootcert=/no/ca.pem", {"ssl": "prefer"}, {}),
    ("sslmode=disable&sslrootcert=/no/ca.pem", {"ssl": "disable"}, {}),
    ("sslcert=/no/c.crt&sslkey=/no/c.key", {"ssl": TlsContext("none", certfile="/no/c.crt", keyfile="/no/c.key")}, {}),
    ("ssl=1", {"ssl": "require"}, {}),
    ("ssl=off", {"ssl": "disable"}, {}),
    ("ssl=true&sslmode=verify-ca", {"ssl": TlsContext("ca")}, {}),
    ("ssl=no-verify", {"ssl": "require"}, {}),
    ("sslaccept=strict", {"ssl": TlsContext("full")}, {}),
    ("sslaccept=accept_invalid_certs", {"ssl": "require"}, {}),
    ("timeout=3", {"timeout": 3}, {}),
    ("connect_timeout=0", {"timeout": None}, {}),
    ("connectTimeout=4", {"timeout": 4}, {}),
    ("loginTimeout=5", {"timeout": 5}, {}),
    ("ApplicationName=a&fallback_application_name=b", {"server_settings": {"application_name": "a"}}, {}),
    ("options=-c%20statement_timeout%3D5s", {"server_settings": {"options": "-c statement_timeout=5s"}}, {}),
    ("options=endpoint%3Dep-x", {"server_settings": {"options": "endpoint=ep-x"}}, {}),
    (
        "statement_timeout=5000&lock_timeout=1s",
        {"server_settings": {"statement_timeout": "5000", "lock_timeout": "1s"}},
        {},
    ),
    ("schema=app", {"server_settings": {"search_path": "app"}}, {}),
    ("schema=public", {}, {}),
    ("currentSchema=a,b", {"server_settings": {"search_path": "a,b"}}, {}),
    ("app.tenant=7", {"server_settings": {"app.tenant": "7"}}, {}),
    ("channel_binding=require&gssencmode=disable&tcp_user_timeout=9", {}, {}),
    ("pgbouncer=true", {"statement_cache_size": 0, "prepared_statement_cache_size": 0}, {}),
    ("pgbouncer=true&statement_cache_size=50", {"statement_cache_size": 50, "prepared_statement_cache_size": 0}, {}),
    ("pgbouncer=false", {}, {}),
    ("max_cached_statement_lifetime=0", {"max_cached_statement_lifetime": 0}, {}),
    ("command_timeout=5", {}, {"command_timeout": "5"}),
    ("target_session_attrs=read-write", {}, {"target_session_attrs": "read-write"}),
    ("targetServerType=primary", {}, {"target_session_attrs": "primary"}),
    ("passfile=/x", {}, {"passfile": "/x"}),
    ("service=prod", {"dsn": "postgresql://?service=prod"}, {}),
    ("supa=base-pooler.x&workaround=1&reWriteBatchedInserts=true&preparedStatements=", {}, {}),
    ("connection_limit=5&pool_timeout=20&socket_timeout=3", {}, {}),
]


@pytest.mark.parametrize(("query", "arguments", "kept"), ASYNCPG, ids=[row[0] for row in ASYNCPG])
def test_asyncpg_gets_what_it_takes(query: str, arguments: dict[str, object], kept: dict[str, object]) -> None:
    """Each parameter of libpq, JDBC and the platforms goes where asyncpg takes it, or is dropped with a note."""
    resolved = resolve(f"postgresql://h/db?{query}")
    assert resolved.connect_args == REQUIRE | arguments
    assert dict(resolved.url.query) == kept


PSYCOPG: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("sslmode=verify-full", {}, {"sslmode": "verify-full", "sslrootcert": "system"}),
    ("sslmode=verify-ca", {}, {"sslmode": "verify-ca"}),
    ("sslrootcert=system", {}, {"sslmode": "verify-full", "sslrootcert": "system"}),
    ("sslmode=verify-full&sslrootcert=/ca.pem", {}, {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
    ("ssl=true", {}, {"sslmode": "require"}),
    ("ssl=verify-ca", {}, {"sslmode": "verify-ca"}),
    ("timeout=3", {"connect_timeout": 3}, {"sslmode": "require"}),
    ("pgbouncer=true&statement_cache_size=5", {"prepare_threshold": None}, {"sslmode": "require"}),
    ("pgbouncer=true&prepare_threshold=3", {"prepare_threshold": 3}, {"sslmode": "require"}),
    ("prepare_threshold=None", {"prepare_threshold": None}, {"sslmode": "require"}),
    ("autocommit=false", {"autocommit": False}, {"sslmode": "require"}),
    (
        "keepalives=1&channel_binding=require",
        {},
        {"sslmode": "require", "keepalives": "1", "channel_binding": "require"},
    ),
    ("application_name=a", {}, {"sslmode": "require", "application_name": "a"}),
    (
        "schema=my%20app&options=-c%20jit%3Doff",
        {},
        {"sslmode": "require", "options": "-c jit=off -c search_path=my\\ app"},
    ),
    ("service=prod", {}, {"sslmode": "require", "service": "prod"}),
    ("command_timeout=5", {}, {"sslmode": "require"}),
]


@pytest.mark.parametrize(("query", "arguments", "kept"), PSYCOPG, ids=[row[0] for row in PSYCOPG])
@pytest.mark.parametrize("mode", ["async", "sync"])
def test_psycopg_gets_what_it_takes(
    query: str, arguments: dict[str, object], kept: dict[str, object], mode: Mode
) -> None:
    """Libpq's own parameters stay in the URL, the driver's arguments get their type, asyncpg's are dropped."""
    resolved = resolve(f"postgresql+psycopg://h/db?{query}", mode)
    assert resolved.connect_args == {"connect_timeout": 10} | arguments
    assert dict(resolved.url.query) == kept


def tls(verify: Any, **files: str) -> dict[str, object]:
    return {"ssl": TlsContext(verify, **files)}


CA = {"cafile": "/no/ca.pem"}
MYSQL: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("", {}, {}),
    ("ssl-mode=REQUIRED", tls("none"), {}),
    ("ssl_mode=verify_ca", tls("ca"), {}),
    ("sslMode=VERIFY_IDENTITY", tls("full"), {}),
    ("sslmode=require", tls("none"), {}),
    ("sslmode=verify-full", tls("full"), {}),
    ("ssl-mode=REQUIRED&ssl-ca=/no/ca.pem", tls("ca", **CA), {}),
    ("ssl_ca=/no/ca.pem&ssl_check_hostname=true", tls("full", **CA), {}),
    ("ssl-ca=/no/ca.pem&ssl-cert=/no/c&ssl-key=/no/k", tls("full", certfile="/no/c", keyfile="/no/k", **CA), {}),
    ("ssl_cert=/no/c&ssl_key=/no/k", tls("none", certfile="/no/c", keyfile="/no/k"), {}),
    ("ssl=true", tls("none"), {}),
    ("ssl=%7B%22rejectUnauthorized%22:true%7D", tls("full"), {}),
    ("ssl=%7B%22rejectUnauthorized%22:false%7D", tls("none"), {}),
    ("sslaccept=strict", tls("full"), {}),
    ("tls=true", tls("full"), {}),
    ("tls=skip-verify&parseTime=true&loc=UTC", tls("none"), {}),
    ("useSSL=true&requireSSL=true&verifyServerCertificate=true", tls("ca"), {}),
    ("useSSL=true&verifyServerCertificate=false", tls("none"), {}),
    ("useUnicode=true&characterEncoding=UTF-8&autoReconnect=true", {}, {"charset": "utf8mb4"}),
    ("connectTimeout=2500", {"connect_timeout": 3}, {}),
    ("connect_timeout=4", {"connect_timeout": 4}, {}),
    ("autocommit=false&local_infile=1", {"autocommit": False}, {"local_infile": "true"}),
    ("encoding=utf8mb4&pool=5&reconnect=true", {}, {"charset": "utf8mb4"}),
    ("connection_limit=5&socket_timeout=3", {}, {}),
]


@pytest.mark.parametrize(("query", "arguments", "kept"), MYSQL, ids=[row[0] for row in MYSQL])
@pytest.mark.parametrize(("driver", "mode"), [("asyncmy", "async"), ("aiomysql", "async"), ("pymysql", "sync")])
def test_mysql_drivers_get_what_they_take(
    query: str, arguments: dict[str, object], kept: dict[str, object], driver: str, mode: Mode
) -> None:
    """TLS becomes a context for every driver, JDBC's and Go's parameters their counterparts or nothing."""
    resolved = resolve(f"mysql+{driver}://h/db?{query}", mode)
    assert resolved.connect_args == {"connect_timeout": 10} | arguments
    assert dict(resolved.url.query) == kept


@pytest.mark.parametrize(
    ("url", "mode", "arguments", "kept"),
    [
        ("mssql://h/db?Encrypt=strict", "async", {}, {"Encrypt": "strict"}),
        ("mssql://h/db?sslmode=require", "async", {}, {"Encrypt": "yes", "TrustServerCertificate": "yes"}),
        ("mssql://h/db?sslmode=verify-full", "async", {}, {"Encrypt": "yes", "TrustServerCertificate": "no"}),
        ("mssql://h/db?sslmode=disable", "async", {}, {"Encrypt": "no"}),
        ("mssql://h/db?loginTimeout=5&applicationName=a", "async", {"timeout": 5}, {}),
        (
            "mssql+aioodbc://h/db?driver=FreeTDS&TDS_Version=7.4&app=a",
            "async",
            {"timeout": 10},
            {"driver": "FreeTDS", "TDS_Version": "7.4", "APP": "a"},
        ),
        (
            "mssql+pyodbc://h/db?authentication=ActiveDirectoryMsi&timeout=7",
            "sync",
            {"timeout": 7},
            {"driver": "ODBC Driver 18 for SQL Server", "authentication": "ActiveDirectoryMsi"},
        ),
        (
            "mssql+pymssql://h/db?encrypt=true&charset=utf8",
            "sync",
            {"login_timeout": 10},
            {"encryption": "require", "charset": "utf8"},
        ),
        ("mssql+pymssql://h/db?sslmode=disable", "sync", {"login_timeout": 10}, {"encryption": "off"}),
        ("sqlite:///a.db?timeout=5&pool=5", "async", {}, {"timeout": "5"}),
        ("postgresql+pg8000://h/db?sslmode=disable", "sync", {"ssl_context": False, "timeout": 10}, {}),
        (
            "postgresql+pg8000://h/db?application_name=a",
            "sync",
            {"ssl_context": TlsContext("none"), "timeout": 10, "application_name": "a"},
            {},
        ),
        (
            "mysql+mysqldb://h/db?ssl-mode=VERIFY_CA&ssl-ca=/no/ca.pem",
            "sync",
            {"connect_timeout": 10, "ssl_mode": "VERIFY_CA", "ssl": {"ca": "/no/ca.pem"}},
            {},
        ),
        (
            "mysql+mysqlconnector://h/db?ssl-mode=VERIFY_IDENTITY",
            "sync",
            {"connection_timeout": 10, "ssl_verify_cert": True, "ssl_verify_identity": True},
            {},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_other_drivers_get_what_they_take(
    url: str, mode: Mode, arguments: dict[str, object], kept: dict[str, object]
) -> None:
    """The keywords of ODBC, pymssql, pg8000, mysqlclient and MySQL's connector."""
    if url.startswith("mssql:"):
        pytest.importorskip(MSSQL_PYTHON, reason="SQLAlchemy 2.0 has no mssql-python dialect")
    resolved = resolve(url, mode)
    assert resolved.connect_args == arguments
    assert dict(resolved.url.query) == kept


@pytest.mark.parametrize(
    ("environ", "query", "expected"),
    [
        ({}, "", "require"),
        ({"PGSSLMODE": "prefer"}, "", "prefer"),
        ({"PGSSLMODE": "prefer", "DB_SSLMODE_DEFAULT": "allow"}, "", "allow"),
        ({"DB_SSLMODE_DEFAULT": "disable"}, "?sslmode=require", "require"),
        ({"DB_SSLMODE_DEFAULT": "disable"}, "?ssl=true", "require"),
        ({"DB_SSLMODE_DEFAULT": "verify-full"}, "", TlsContext("full")),
        (
            {"DB_SSLMODE_DEFAULT": "verify-full", "PGSSLROOTCERT": "/no/ca.pem"},
            "",
            TlsContext("full", cafile="/no/ca.pem"),
        ),
        ({"DB_SSLMODE_DEFAULT": "disable"}, "?sslnegotiation=direct", "require"),
    ],
)
def test_an_explicit_tls_mode_beats_the_default(environ: dict[str, str], query: str, expected: object) -> None:
    """The URL beats DB_SSLMODE_DEFAULT, which beats libpq's PGSSLMODE, which beats require."""
    assert resolve(f"postgresql://h/db{query}", environ=environ).connect_args["ssl"] == expected


def test_verify_full_takes_the_root_of_the_home_folder(tmp_path: Any) -> None:
    """As for libpq, ~/.postgresql/root.crt is the root certificate when none is named."""
    (tmp_path / ".postgresql").mkdir()
    root = tmp_path / ".postgresql/root.crt"
    root.touch()
    resolved = resolve("postgresql+psycopg://h/db?sslmode=verify-full", environ={"HOME": str(tmp_path)})
    assert resolved.url.query["sslrootcert"] == str(root)
