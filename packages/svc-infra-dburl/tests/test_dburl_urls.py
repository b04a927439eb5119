"""How URLs of every kind are read: the ways in which people and platforms write them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from sqlalchemy import URL, make_url

from svc_infra.dburl import DatabaseUrlError, ResolvedUrl, resolve_url
from svc_infra.dburl.errors import ConflictingOptions, InvalidOption, InvalidUrl, UnknownDriver, UnknownScheme

Mode = Literal["async", "sync"]


def resolve(url: str | URL, mode: Mode = "async", environ: dict[str, str] | None = None) -> ResolvedUrl:
    return resolve_url(url, environ=environ or {}, mode=mode, installed=lambda module: True)


MSSQL_PYTHON = "sqlalchemy.dialects.mssql.mssqlpython"
REQUIRE = {"ssl": "require", "timeout": 10}
PG = "postgresql+asyncpg://u:p@h/db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://", "postgresql+asyncpg://"),
        ("postgresql:///db", "postgresql+asyncpg:///db"),
        ("postgresql://h", "postgresql+asyncpg://h"),
        ("postgresql://h/", "postgresql+asyncpg://h/"),
        ("postgresql://h:/db", "postgresql+asyncpg://h/db"),
        ("postgresql://:5433/db", "postgresql+asyncpg://:5433/db"),
        ("postgresql://u@h", "postgresql+asyncpg://u@h"),
        ("postgresql://u:@h/db", "postgresql+asyncpg://u:@h/db"),
        ("POSTGRESQL://u:p@h/db", PG),
        ("PostgreSQL+AsyncPG://u:p@h/db", PG),
        ("pgsql://u:p@h/db", PG),
        ("psql://u:p@h/db", PG),
        ("postgis://u:p@h/db", PG),
        ("'postgresql://u:p@h/db'", PG),
        ('"postgresql://u:p@h/db"\n', PG),
        ("\ufeffpostgresql://u:p@h/db\r\n", PG),
        ("postgresql://u:p@DB.Example.COM/db", "postgresql+asyncpg://u:p@DB.Example.COM/db"),
        ("postgresql://u:p@my_host/db", "postgresql+asyncpg://u:p@my_host/db"),
        ("postgresql://u:p@bücher.example/db", "postgresql+asyncpg://u:p@bücher.example/db"),
        ("postgresql://u:p@[::1]:5433/db", "postgresql+asyncpg://u:p@[::1]:5433/db"),
        ("postgresql://u:p@[fe80::1%25eth0]/db", "postgresql+asyncpg://u:p@[fe80::1%eth0]/db"),
        (
            "postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/db",
            "postgresql+asyncpg://u:p@/db?host=%2Fvar%2Frun%2Fpostgresql",
        ),
        ("postgresql://u:p@%2Frun:5433/db", "postgresql+asyncpg://u:p@/db?host=%2Frun&port=5433"),
        ("postgresql:///db?host=/run&port=5433&user=u", "postgresql+asyncpg://u@/db?host=%2Frun&port=5433"),
        ("postgresql://u:p@/db?host=/cloudsql/p:r:i", "postgresql+asyncpg://u:p@/db?host=%2Fcloudsql%2Fp%3Ar%3Ai"),
        ("postgresql:///db?host=h&port=5433", "postgresql+asyncpg://h:5433/db"),
        ("postgresql://h/db?user=u&password=a%26b&port=1", "postgresql+asyncpg://u:a%26b@h:1/db"),
        ("postgresql://h:5432/?dbname=db", "postgresql+asyncpg://h:5432/db"),
        ("postgresql://h1,h2:5433/db", "postgresql+asyncpg:///db?host=h1%3A5432&host=h2%3A5433"),
        ("postgresql:///db?host=h1:1&host=h2:2", "postgresql+asyncpg:///db?host=h1%3A1&host=h2%3A2"),
        ("postgresql:///db?host=h1,h2&port=1,2", "postgresql+asyncpg:///db?host=h1%3A1&host=h2%3A2"),
        ("postgresql://[::1]:1,h2/db", "postgresql+asyncpg:///db?host=%3A%3A1%2Ch2&port=1%2C5432"),
        ("postgresql://u:p%2Bw+x@h/db", "postgresql+asyncpg://u:p+w+x@h/db"),
        ("postgresql://u:p#w@h/db", "postgresql+asyncpg://u:p%23w@h/db"),
        ("postgresql://u:p?w@h/db", "postgresql+asyncpg://u:p%3Fw@h/db"),
        ("postgresql://u:p:w@h/db", "postgresql+asyncpg://u:p%3Aw@h/db"),
        ("postgresql://u:100%w@h/db", "postgresql+asyncpg://u:100%25w@h/db"),
        ("postgresql://u:p w@h/db", "postgresql+asyncpg://u:p w@h/db"),
        ("postgresql://u:пароль@h/db", "postgresql+asyncpg://u:пароль@h/db"),
        ("postgresql://u:p@h/my%20db%2F1", "postgresql+asyncpg://u:p@h/my db/1"),
        ("jdbc:postgresql://h/db?user=me@corp&password=p@w", "postgresql+asyncpg://me%40corp:p%40w@h/db"),
        ("mysql2://u:p@h/db", "mysql+asyncmy://u:p@h/db"),
        ("mysql://u:p@/db?unix_socket=/run/mysqld.sock", "mysql+asyncmy://u:p@/db?unix_socket=%2Frun%2Fmysqld.sock"),
        ("mysql://u:p@/db?socket=/tmp/mysql.sock", "mysql+asyncmy://u:p@/db?unix_socket=%2Ftmp%2Fmysql.sock"),
        ("sqlite3:///a.db", "sqlite+aiosqlite:///a.db"),
        ("sqlite:////abs/a%20b.db", "sqlite+aiosqlite:////abs/a b.db"),
        ("sqlite:///C:\\data\\a.db", "sqlite+aiosqlite:///C:\\data\\a.db"),
        ("sqlite:///me@home/a.db", "sqlite+aiosqlite:///me@home/a.db"),
        ("duckdb:///md:sales?motherduck_token=t", "duckdb:///md:sales?motherduck_token=t"),
        (
            "sqlserver://sa:p@h:1433;database=d;encrypt=true;trustServerCertificate=true",
            "mssql+mssqlpython://sa:p@h:1433/d?Encrypt=yes&TrustServerCertificate=yes",
        ),
        (
            "jdbc:sqlserver://h:1433;databaseName=d;user=sa;password=p%w;loginTimeout=5",
            "mssql+mssqlpython://sa:p%25w@h:1433/d",
        ),
        ("sqlserver://sa:p@h?database=d&encrypt=disable", "mssql+mssqlpython://sa:p@h/d?Encrypt=disable"),
        (
            "mssql+pyodbc://u:p@h\\SQLEXPRESS/db",
            "mssql+aioodbc://u:p@h\\SQLEXPRESS/db?driver=ODBC+Driver+18+for+SQL+Server",
        ),
        ("mssql+pyodbc://u:p@mydsn", "mssql+aioodbc://u:p@mydsn"),
        ("snowflake://u:p@org-acct/db/sch?warehouse=w", "snowflake://u:p@org-acct/db/sch?warehouse=w"),
        ("snowflake://org-acct/db?user=u&password=p&database=x", "snowflake://u:p@org-acct/db?database=x"),
    ],
)
def test_is_read_as_meant(text: str, expected: str, expected_url: Callable[[str], URL]) -> None:
    """Schemes, hosts, sockets, several hosts, unescaped characters and the query forms of other clients."""
    wanted = expected_url(expected)
    if wanted.drivername == "mssql+mssqlpython":
        pytest.importorskip(MSSQL_PYTHON, reason="SQLAlchemy 2.0 has no mssql-python dialect")
    host = wanted.host
    if host is not None and "\\" in host:  # SQLAlchemy reads this part as it stands
        assert resolve(text).url.host == host
    assert resolve(text).url == wanted


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", InvalidUrl, "://"),
        ("db", InvalidUrl, "://"),
        ("host=h user=u password=hunter2", InvalidUrl, "key=value"),
        ("/var/lib/db.sqlite", InvalidUrl, "path"),
        ("sqlite:app.db", InvalidUrl, "//"),
        ("sqlite://app.db", InvalidUrl, "three slashes"),
        ("duckdb://app.duckdb", InvalidUrl, "three slashes"),
        ("redis://:hunter2@h/0", UnknownScheme, "redis"),
        ("mongodb://u:hunter2@h/db", UnknownScheme, "mongodb"),
        ("hunter2://u:p@h/db", UnknownScheme, "scheme"),
        ("postgresql+foo://u:hunter2@h/db", UnknownDriver, "asyncpg"),
        ("postgresql+pymysql://u:hunter2@h/db", UnknownDriver, "asyncpg"),
        ("postgresql://u:hunt@er2@h/db", InvalidUrl, "%40"),
        ("postgresql://u@srv:hunter2@h/db", InvalidUrl, "%40"),
        ("postgresql://u:hunt@er2/x@h/db", InvalidUrl, "%40"),
        ("postgresql://u:hunt@er2?x@h/db", InvalidUrl, "%40"),
        ("postgresql://u:hunt/er2@h/d@b", InvalidUrl, "%40"),
        ("postgresql://u:p@h:0/db", InvalidUrl, "port"),
        ("postgresql://u:p@h:65536/db", InvalidUrl, "port"),
        ("postgresql://u:p@h:-1/db", InvalidUrl, "port"),
        ("postgresql://u:p@h:5432x/db", InvalidUrl, "port"),
        ("postgresql://u:p@h:\u0665/db", InvalidUrl, "port"),
        ("postgresql://u:hunter2", InvalidUrl, "port"),
        ("postgresql://u:p@::1/db", InvalidUrl, "brackets"),
        ("postgresql://u:p@[::1/db", InvalidUrl, "host"),
        ("postgresql://u:p@[h]/db", InvalidUrl, "host"),
        ("postgresql://u:p@${DB_HOST}/db", InvalidUrl, "placeholder"),
        ("postgresql://u:p@my host/db", InvalidUrl, "blank"),
        ("postgresql://u:p@h1,/db", InvalidUrl, "host"),
        ("postgresql://u:hunter2\x00@h/db", InvalidUrl, "NUL"),
        ("postgresql://u:hunter2%00@h/db", InvalidUrl, "NUL"),
        ("postgresql://u:hunter2\n@h/db", InvalidUrl, "line feed"),
        ("postgresql://u:hunter2\x1b@h/db", InvalidUrl, "U\\+001B"),
        ("postgresql://u:hunter2\udc80@h/db", InvalidUrl, "control"),
        ("postgresql://u:hunter2%ff@h/db", InvalidUrl, "UTF-8"),
        ("postgresql://u:p@h/" + "hunter2" * 150_000, InvalidUrl, "1,050,"),
        ("postgresql://h/db?sslmode=hunter2", InvalidOption, "verify-full"),
        ("postgresql://h/db?sslmoed=disable", InvalidOption, "Did you mean sslmode"),
        ("postgresql://h/db?password=hunter2&er2=1", InvalidOption, "parameter number 2"),
        ("postgresql://h/db?connect_timeout=10s", InvalidOption, "connect_timeout"),
        ("postgresql://h/db?connect_timeout=99999999999", InvalidOption, "connect_timeout"),
        ("postgresql://h/db?statement_cache_size=many", InvalidOption, "statement_cache_size"),
        ("postgresql://h/db?pgbouncer=perhaps", InvalidOption, "true or"),
        ("postgresql://h/db?pool_size=big", InvalidOption, "pool_size"),
        ("postgresql://h/db?pool_pre_ping=big", InvalidOption, "pool_pre_ping"),
        ("postgresql://h/db?sslmode=disable&ssl=true", ConflictingOptions, "ssl"),
        ("postgresql://h/db?sslmode=require&ssl=false", ConflictingOptions, "ssl"),
        ("postgresql://h/db?sslmode=disable&ssl=verify-full", ConflictingOptions, "sslmode"),
        ("postgresql://h/db?sslmode=verify-ca&sslrootcert=system", ConflictingOptions, "system"),
        ("postgresql://h/db?sslmode=prefer&sslnegotiation=direct", ConflictingOptions, "direct"),
        ("postgresql://u:hunter2@h/db?password=hunter3", ConflictingOptions, "password"),
        ("postgresql://h/db?user=a&username=b", ConflictingOptions, "username"),
        ("postgresql://h/db?host=other", ConflictingOptions, "host"),
        ("postgresql://h:1/db?port=2", ConflictingOptions, "ports"),
        ("postgresql://h/db?host=/run", ConflictingOptions, "socket"),
        ("postgresql://h1,h2/db?port=1,2,3", ConflictingOptions, "ports"),
        ("postgresql://h/db?application_name=a&applicationName=b", ConflictingOptions, "application_name"),
        ("mysql://h/db?ssl-mode=hunter2", InvalidOption, "verify_identity"),
        ("mysql://h/db?ssl-mode=DISABLED&useSSL=true", ConflictingOptions, "TLS"),
        ("mysql://h/db?useSSL=false&tls=true", ConflictingOptions, "TLS"),
        ("mysql://h/db?ssl-mode=VERIFY_IDENTITY&ssl_check_hostname=no", ConflictingOptions, "ssl_check_hostname"),
        ("mysql://h1,h2/db", InvalidOption, "several hosts"),
        ("mysql://h/db?connect_timeout=0", InvalidOption, "connect_timeout"),
        ("mysql://h/db?chraset=utf8", InvalidOption, "Did you mean charset"),
        ("mssql://h/db?Encrpyt=yes", InvalidOption, "Did you mean encrypt"),
        ("mssql://%2Frun%2Fx/db", InvalidOption, "socket"),
        ("mssql+mssqlpython:///?odbc_connect=PWD%3Dhunter2", InvalidOption, "odbc_connect"),
        ("sqlite:///a.db?mode=ro", InvalidOption, "uri=true"),
        ("snowflake://?warehouse=w", InvalidUrl, "account"),
        ("snowflake://u@a/d?token=hunter2&er2=1", InvalidOption, "%26"),
    ],
    ids=lambda value: value[:60].encode("unicode-escape").decode() if isinstance(value, str) else None,
)
@pytest.mark.parametrize("mode", ["async", "sync"])
def test_is_refused_with_a_reason(text: str, error: type[DatabaseUrlError], words: str, mode: Mode) -> None:
    """The error has the fitting class, names the place and the remedy, and repeats no secret."""
    with pytest.raises(error, match=words) as caught:
        resolve_url(text, environ={}, mode=mode, source="SQL_URL", installed=lambda module: True)
    assert type(caught.value) is error
    assert str(caught.value).startswith("SQL_URL: ") or "odbc_connect" in text
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)
    assert "er2" not in str(caught.value).replace("parameter number", "")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DB_SSLMODE_DEFAULT": "on"}, "DB_SSLMODE_DEFAULT"),
        ({"PGSSLMODE": "on"}, "PGSSLMODE"),
        ({"DB_CONNECT_TIMEOUT": "soon"}, "DB_CONNECT_TIMEOUT"),
        ({"DB_CONNECT_TIMEOUT": "0"}, "DB_CONNECT_TIMEOUT"),
        ({"DB_CONNECT_TIMEOUT": "2.5"}, "DB_CONNECT_TIMEOUT"),
        ({"DB_FORCE_DRIVER": "foo"}, "DB_FORCE_DRIVER"),
        ({"DB_FORCE_DRIVER": "aiosqlite"}, "DB_FORCE_DRIVER"),
    ],
    ids=lambda value: "=".join(*value.items()) if isinstance(value, dict) else None,
)
def test_a_bad_setting_is_named(environ: dict[str, str], words: str) -> None:
    """An error about a variable starts with its name."""
    with pytest.raises(DatabaseUrlError, match=f"^{words}: "):
        resolve("postgresql://h/db", environ=environ)


@pytest.mark.parametrize(
    ("url", "pooler", "caches"),
    [
        ("postgres://u:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres", True, 0),
        ("postgres://u:p@aws-0-eu-central-1.pooler.supabase.com:5432/postgres", False, None),
        ("postgres://u:p@db.abcdef.supabase.co:6543/postgres", True, 0),
        ("postgres://u:p@db.abcdef.supabase.co:5432/postgres", False, None),
        ("postgres://u:p@x.postgres.database.azure.com:6432/db", True, 0),
        ("postgres://u:p@x-do-user-1-0.b.db.ondigitalocean.com:25061/db", True, 0),
        ("postgres://u:p@x-do-user-1-0.b.db.ondigitalocean.com:25060/db", False, None),
        ("postgres://u:p@ep-cool-1-pooler.eu-central-1.aws.neon.tech/db", True, None),
        ("postgres://u:p@ep-cool-1.eu-central-1.aws.neon.tech/db", False, None),
        ("postgres://u:p@evil-pooler.supabase.com.example.org:6543/db", False, None),
        ("postgres://u:p@h:6432/db?pgbouncer=true", True, 0),
        ("postgres://u:p@x.pooler.supabase.com:6543/db?pgbouncer=false", False, None),
    ],
)
def test_poolers_are_recognised(url: str, pooler: bool, caches: int | None) -> None:
    """Hosted poolers in transaction mode turn the driver's caches off, except where they follow statements."""
    resolved = resolve(url)
    assert resolved.pooler is pooler
    assert resolved.connect_args.get("statement_cache_size") == caches
    assert ("prepare_threshold" in resolve(url.replace("postgres:", "postgresql+psycopg:")).connect_args) is (
        caches == 0
    )


def test_pool_settings_of_the_url_are_for_the_engine() -> None:
    """pool_size and its kin, and Prisma's connection_limit, come out with their types and not to the driver."""
    resolved = resolve(
        "postgresql://h/db?pool_size=20&max_overflow=-1&pool_timeout=5&pool_recycle=60&pool_pre_ping=off"
    )
    assert resolved.pool_options == {
        "pool_size": 20,
        "max_overflow": -1,
        "pool_timeout": 5,
        "pool_recycle": 60,
        "pool_pre_ping": False,
    }
    assert resolved.connect_args == REQUIRE
    assert resolve("mysql://h/db?connection_limit=5").pool_options == {"pool_size": 5}


@pytest.mark.parametrize(
    "url",
    [
        make_url("postgresql://u:p%40w@h:5432/db?sslmode=disable"),
        URL.create("postgresql", "u", "p@w", "h", 5432, "db", {"sslmode": "disable"}),
    ],
)
def test_a_parsed_url_is_taken_too(url: URL) -> None:
    """A URL of SQLAlchemy resolves as its text does."""
    resolved = resolve(url)
    assert resolved.url == make_url("postgresql+asyncpg://u:p%40w@h:5432/db")
    assert resolved.connect_args == {"ssl": "disable", "timeout": 10}


def test_a_url_that_sqlalchemy_misread_is_refused() -> None:
    """SQLAlchemy takes the tail of a password with an unescaped @ for the host."""
    with pytest.raises(InvalidUrl, match="%40"):
        resolve(make_url("postgresql://u:p@ss@h/db"))


def test_with_database_keeps_everything_else() -> None:
    """Another database of the same server has its parameters and TLS, in either mode."""
    resolved = resolve("postgresql://u:p@h/db?sslmode=disable").with_database("other")
    assert resolved == resolve("postgresql://u:p@h/other?sslmode=disable")
    assert resolved.with_mode("sync").url.database == "other"


def test_with_mode_keeps_tls_and_timeouts() -> None:
    """The sync twin of an async result connects to the same place in the same way."""
    resolved = resolve("postgresql+asyncpg://u:p@h/db?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3")
    assert resolved.with_mode("sync") == resolve(
        "postgresql+psycopg://u:p@h/db?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3", "sync"
    )


def test_what_is_dropped_is_noted() -> None:
    """Whoever wonders where a parameter went is told."""
    resolved = resolve("postgresql://h/db?keepalives=1&supa=x")
    assert resolved.notes == (
        "supa: dropped, means nothing to a Python driver",
        "keepalives: dropped, asyncpg has no such parameter",
    )


@pytest.mark.parametrize("value", [None, b"postgresql://u:hunter2@h/db", 5])
def test_what_is_no_text_is_refused(value: Any) -> None:
    """The error names the type and not the value."""
    with pytest.raises(InvalidUrl, match="not text") as caught:
        resolve(value)
    assert "hunter2" not in str(caught.value)
