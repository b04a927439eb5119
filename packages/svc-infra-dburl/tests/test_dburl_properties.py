"""What holds for every URL: it resolves or is a typed error, and the rendered result resolves to the same again.

The default run tries some hundred examples of each property, the soak run 10,000.
"""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from svc_infra.dburl import DatabaseUrlError, resolve_database_url, resolve_url

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
FEW = settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=SLOW)


def everything(module: str) -> bool:
    return True


@FEW
@given(st.text(max_size=200))
@example("postgresql://[")
@example("postgresql://%zz:%@%/%?%=%")
@example("\ud800postgresql://h")
@example("jdbc:")
@example("{}")
@example("sqlserver://h;;=;a")
def test_any_text_resolves_or_is_a_typed_error(text: str) -> None:
    """No text whatever makes another error than ours."""
    for url in (
        text,
        f"postgresql://{text}",
        f"mysql://u:p@h/{text}",
        f"postgresql://u:p@h/db?{text}",
        f"sqlite:///{text}",
        f"mssql://h/{text}",
    ):
        try:
            resolve_url(url, environ={}, installed=everything)
        except DatabaseUrlError as error:
            told = (error.place, bool(error.problem), bool(error.remedy))
        else:
            continue
        assert told == ("argument", True, True)


@FEW
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "DB_HOST",
                "DB_NAME",
                "DB_PORT",
                "DB_USER",
                "DB_PASSWORD",
                "DB_DIALECT",
                "DB_DRIVER",
                "DB_PARAMS",
                "DB_CONNECT_TIMEOUT",
                "DB_SSLMODE_DEFAULT",
                "DB_FORCE_DRIVER",
            ]
        ),
        st.text(max_size=20),
    )
)
def test_any_parts_resolve_or_are_a_typed_error(environ: dict[str, str]) -> None:
    """No values whatever of the parts make another error than ours."""
    with contextlib.suppress(DatabaseUrlError):
        resolve_database_url(environ, env_file=None, secrets_dir=None, installed=everything)


NAMES = st.text(alphabet="abcZ019-_.", min_size=1, max_size=10).filter(lambda text: text.strip("-_."))
PORTS = st.one_of(st.none(), st.integers(1, 65535))
HOSTS = st.one_of(
    NAMES, st.sampled_from(["::1", "fe80::1%eth0", "10.0.0.1", "db.example.com", "x-pooler.eu.aws.neon.tech"])
)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=10).filter(
    str.strip
)

PG_OPTIONS = {
    "sslmode": st.sampled_from(["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
    "sslrootcert": st.sampled_from(["system", "/no/such/ca.pem"]),
    "sslcert": st.just("/no/such/c.crt"),
    "sslkey": st.just("/no/such/c.key"),
    "sslpassword": TEXTS,
    "ssl": st.sampled_from(["true", "false", "require"]),
    "sslnegotiation": st.sampled_from(["direct", "postgres"]),
    "connect_timeout": st.integers(0, 100).map(str),
    "application_name": TEXTS,
    "options": st.sampled_from(["-c work_mem=64kB", "endpoint=x"]),
    "pgbouncer": st.sampled_from(["true", "false", "1"]),
    "statement_cache_size": st.integers(0, 100).map(str),
    "prepared_statement_cache_size": st.integers(0, 100).map(str),
    "prepare_threshold": st.sampled_from(["0", "5", "None"]),
    "target_session_attrs": st.sampled_from(["any", "read-write"]),
    "statement_timeout": st.just("5s"),
    "search_path": st.sampled_from(["public", "a, b", "a\\b"]),
    "app.name": TEXTS,
    "keepalives": st.just("1"),
    "channel_binding": st.just("require"),
    "pool_size": st.just("7"),
    "pool_pre_ping": st.just("no"),
    "connection_limit": st.just("3"),
    "supa": st.just("x"),
    "service": TEXTS,
    "autocommit": st.sampled_from(["true", "false"]),
    "command_timeout": st.just("5"),
}
MYSQL_OPTIONS = {
    "ssl-mode": st.sampled_from(["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]),
    "ssl_ca": st.just("/no/such/ca.pem"),
    "ssl_check_hostname": st.sampled_from(["true", "false"]),
    "ssl_cert": st.just("/no/such/c.crt"),
    "useSSL": st.sampled_from(["true", "false"]),
    "connectTimeout": st.just("2500"),
    "charset": st.just("utf8mb4"),
    "read_timeout": st.just("5"),
    "autocommit": st.just("true"),
    "serverTimezone": st.just("UTC"),
    "pool_recycle": st.just("-1"),
    "init_command": TEXTS,
}
MSSQL_OPTIONS = {
    "driver": st.just("ODBC Driver 17 for SQL Server"),
    "encrypt": st.sampled_from(["true", "no", "strict"]),
    "trustServerCertificate": st.sampled_from(["true", "no"]),
    "sslmode": st.sampled_from(["disable", "require", "verify-full"]),
    "loginTimeout": st.just("7"),
    "app": TEXTS,
    "max_overflow": st.just("3"),
}
SCHEMES: dict[str, Any] = {
    "postgresql": PG_OPTIONS,
    "postgres": PG_OPTIONS,
    "postgresql+asyncpg": PG_OPTIONS,
    "postgresql+psycopg": PG_OPTIONS,
    "postgresql+psycopg2": PG_OPTIONS,
    "postgresql+pg8000": PG_OPTIONS,
    "mysql": MYSQL_OPTIONS,
    "mysql+aiomysql": MYSQL_OPTIONS,
    "mariadb": MYSQL_OPTIONS,
    "mysql+pymysql": MYSQL_OPTIONS,
    "mysql+mysqldb": MYSQL_OPTIONS,
    "mysql+mysqlconnector": MYSQL_OPTIONS,
    "mssql": MSSQL_OPTIONS,
    "mssql+aioodbc": MSSQL_OPTIONS,
    "mssql+pymssql": MSSQL_OPTIONS,
    "snowflake": {"warehouse": TEXTS, "role": TEXTS, "login_timeout": st.just("30")},
}


@st.composite
def server_urls(draw: st.DrawFn) -> str:
    scheme = draw(st.sampled_from(sorted(SCHEMES)))
    user = draw(st.one_of(st.none(), TEXTS))
    password = None if user is None else draw(st.one_of(st.none(), TEXTS))
    hosts = draw(st.lists(st.tuples(HOSTS, PORTS), min_size=1, max_size=3 if "postgres" in scheme else 1))
    where = ",".join(
        (f"[{host.replace('%', '%25')}]" if ":" in host else host) + ("" if port is None else f":{port}")
        for host, port in hosts
    )
    if "postgres" in scheme and draw(st.booleans()) and draw(st.booleans()):
        where = quote("/run/my socket:x", safe="")
    userinfo = (
        ""
        if user is None
        else quote(user, safe="") + ("" if password is None else ":" + quote(password, safe="")) + "@"
    )
    path = draw(st.one_of(st.just(""), st.just("/"), TEXTS.map(lambda text: "/" + quote(text, safe="/"))))
    names = draw(st.lists(st.sampled_from(sorted(SCHEMES[scheme])), max_size=5, unique=True))
    query = "&".join(f"{name}={quote(draw(SCHEMES[scheme][name]), safe='')}" for name in names)
    return f"{scheme}://{userinfo}{where}{path}" + (f"?{query}" if query else "")


FILE_URLS = st.builds(
    lambda scheme, path, query: f"{scheme}:///{quote(path)}{query}",
    st.sampled_from(["sqlite", "sqlite+aiosqlite", "duckdb"]),
    st.one_of(TEXTS, st.sampled_from([":memory:", "/data/a b.db", "C:\\x.db", "file:/x.db"])),
    st.sampled_from(["", "?uri=true&mode=ro", "?pool_size=2"]),
)
URLS = st.one_of(
    server_urls(),
    FILE_URLS,
    st.sampled_from(["sqlite://", "duckdb://", "mssql+aioodbc:///?odbc_connect=DSN%3Dx%3BPWD%3Dy"]),
)
ENVIRONS = st.fixed_dictionaries(
    {},
    optional={
        "DB_SSLMODE_DEFAULT": st.sampled_from(["disable", "verify-full"]),
        "DB_CONNECT_TIMEOUT": st.just("3"),
        "PGSSLMODE": st.just("prefer"),
    },
)


def round_trip(url: str, environ: dict[str, str], mode: Any) -> None:
    try:
        first = resolve_url(url, environ=environ, mode=mode, installed=everything)
    except DatabaseUrlError:
        return
    again = resolve_url(first.render(hide_secrets=False), environ={}, mode=mode, installed=everything)
    assert again == first
    assert again.render(hide_secrets=False) == first.render(hide_secrets=False)
    other = "sync" if mode == "async" else "async"
    assert first.with_mode(other).with_mode(mode) == first


@FEW
@given(URLS, ENVIRONS, st.sampled_from(["async", "sync"]))
def test_the_rendered_result_resolves_to_the_same(url: str, environ: dict[str, str], mode: str) -> None:
    """For every URL that resolves, resolving its rendered result gives the same URL, connect arguments and pool."""
    round_trip(url, environ, mode)


@pytest.mark.soak
@MANY
@given(URLS, ENVIRONS, st.sampled_from(["async", "sync"]))
def test_the_rendered_result_resolves_to_the_same_in_the_long_run(url: str, environ: dict[str, str], mode: str) -> None:
    """As above, 10,000 times."""
    round_trip(url, environ, mode)
