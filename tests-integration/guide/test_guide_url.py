"""SQL Configuration: environment variables, the resolution order, pooling, TLS."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from dbservers.postgres import PostgresTlsServer
from svc_infra.db.sql.database import Database
from svc_infra.dburl import resolve_database_url

PARTS = """\
# .env
DB_DIALECT=postgresql
DB_DRIVER=asyncpg
DB_HOST=localhost
DB_PORT=5432
DB_NAME=myapp
DB_USER=postgres
DB_PASSWORD=secret
DB_PARAMS=sslmode=disable
"""


def test_parts_in_a_dotenv_compose_the_documented_url(tmp_path: Path) -> None:
    """The example's result, sslmode aside, which goes to the driver as a connect argument."""
    (tmp_path / ".env").write_text(PARTS)
    resolved = resolve_database_url(environ={})
    shown = resolved.url.render_as_string(hide_password=False)
    assert shown.partition("?")[0] == "postgresql+asyncpg://postgres:secret@localhost:5432/myapp"


@pytest.mark.parametrize("is_explicit", [False, True])
async def test_settings_in_a_dotenv_count_like_the_url_beside_them(
    postgres_url: str, tmp_path: Path, is_explicit: bool
) -> None:
    """Timeout and pool of the example's `.env` are those in force, also for a URL that the program gives."""
    lines = ["DB_STATEMENT_TIMEOUT_MS=30000", "DB_POOL_SIZE=2", f"DATABASE_URL={postgres_url}"]
    (tmp_path / ".env").write_text("\n".join(lines))
    given = postgres_url if is_explicit else None
    async with Database(given, environ={"DB_POOL_SIZE": "3", "DB_STATEMENT_TIMEOUT_MS": " "}) as database:
        assert database.settings.pool_size == 3
        async with database.session() as session:
            assert (await session.execute(text("SHOW statement_timeout"))).scalar_one() == "30s"


async def test_a_url_composed_from_parts_connects(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same variables with a real server's values open a connection."""
    parts = urlsplit(postgres_url)
    for name, value in {
        "DB_DIALECT": "postgresql",
        "DB_DRIVER": "asyncpg",
        "DB_HOST": parts.hostname,
        "DB_PORT": str(parts.port),
        "DB_NAME": parts.path.lstrip("/"),
        "DB_USER": parts.username,
        "DB_PASSWORD": parts.password,
        "DB_PARAMS": "sslmode=disable",
    }.items():
        monkeypatch.setenv(name, value or "")
    assert await current_database() == parts.path.lstrip("/")


async def test_a_host_that_is_a_socket_folder_connects(
    postgres_url: str, postgres_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DB_HOST may be a Unix socket path."""
    folder = getattr(postgres_server, "socket_folder", None)
    if folder is None:
        pytest.skip("the server is not on this machine")
    parts = urlsplit(postgres_url)
    for name, value in {
        "DB_HOST": str(folder),
        "DB_PORT": str(parts.port),
        "DB_NAME": parts.path.lstrip("/"),
        "DB_USER": parts.username,
        "DB_PASSWORD": parts.password,
    }.items():
        monkeypatch.setenv(name, value or "")
    assert await current_database() == parts.path.lstrip("/")


async def current_database() -> str:
    async with Database() as database, database.session() as session:
        return str((await session.execute(text("SELECT current_database()"))).scalar_one())


async def test_the_password_comes_from_its_file(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DB_PASSWORD_FILE names a Docker secret; its last line break doesn't count."""
    parts = urlsplit(postgres_url)
    secret = tmp_path / "password"
    secret.write_text(f"{parts.password}\n")
    for name, value in {
        "DB_HOST": parts.hostname,
        "DB_PORT": str(parts.port),
        "DB_NAME": parts.path.lstrip("/"),
        "DB_USER": parts.username,
        "DB_PASSWORD_FILE": str(secret),
        "DB_PARAMS": "sslmode=disable",
    }.items():
        monkeypatch.setenv(name, value or "")
    assert await current_database() == parts.path.lstrip("/")


async def test_the_url_comes_from_its_file(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL_URL_FILE names a file that holds the whole URL."""
    secret = tmp_path / "url"
    secret.write_text(f"{postgres_url}\n")
    monkeypatch.setenv("SQL_URL_FILE", str(secret))
    assert await current_database() == urlsplit(postgres_url).path.lstrip("/")


def test_sources_are_tried_in_the_documented_order(tmp_path: Path) -> None:
    """Direct variables beat file pointers, those beat the secret, that beats the parts."""
    (tmp_path / "file").write_text("postgresql://u:p@file/db")
    (tmp_path / "database_url").write_text("postgresql://u:p@secret/db")
    environ = {
        "SQL_URL": "postgresql://u:p@direct/db",
        "PRIVATE_SQL_URL": "postgresql://u:p@last-direct/db",
        "SQL_URL_FILE": str(tmp_path / "file"),
        "DB_HOST": "parts",
        "DB_NAME": "db",
    }
    hosts = []
    for gone in ("SQL_URL", "PRIVATE_SQL_URL", "SQL_URL_FILE", None):
        hosts.append(resolve_database_url(environ, env_file=None, secrets_dir=tmp_path).url.host)
        environ.pop(gone or "", None)
    hosts.append(resolve_database_url(environ, env_file=None, secrets_dir=tmp_path / "none").url.host)
    assert hosts == ["direct", "last-direct", "file", "secret", "parts"]


async def test_the_engine_example_takes_a_resolved_url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection Pooling: SQLAlchemy's own engine over the resolved URL, with the guide's values."""
    monkeypatch.setenv("SQL_URL", postgres_url)
    resolved = resolve_database_url()
    engine = create_async_engine(
        resolved.url,
        connect_args=dict(resolved.connect_args),
        pool_size=20,  # Default: 5
        max_overflow=10,  # Default: 10
        pool_timeout=30,  # Default: 30
        pool_recycle=3600,  # Recycle connections after 1 hour
        pool_pre_ping=True,  # Verify connections before use
    )
    try:
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    finally:
        await engine.dispose()


async def connects(url: str) -> bool:
    async with Database(url) as database:
        try:
            await database.ping(timeout=10)
        except Exception:  # noqa: BLE001 - each driver has its own; the question is whether it connects
            return False
    return True


TLS_CASES = [
    # mode, authority, name in the certificate, connects
    ("disable", "none", True, False),
    ("allow", "none", True, True),
    ("prefer", "none", True, True),
    ("require", "none", True, True),
    ("verify-ca", "right", True, True),
    ("verify-ca", "right", False, True),
    ("verify-ca", "wrong", True, False),
    ("verify-full", "right", True, True),
    ("verify-full", "right", False, False),
    ("verify-full", "wrong", True, False),
]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize(("mode", "authority", "named", "expected"), TLS_CASES)
async def test_each_sslmode_does_what_its_name_says(
    postgres_tls_server: PostgresTlsServer,
    postgres_tls_url: str,
    driver: str,
    mode: str,
    authority: str,
    named: bool,
    expected: bool,
) -> None:
    """The guide's table of modes, against a server that insists on TLS."""
    certificates = postgres_tls_server.certificates
    parameters = [f"sslmode={mode}"]
    if authority != "none":
        path = certificates.ca_path if authority == "right" else certificates.wrong_ca_path
        parameters.append(f"sslrootcert={path}")
    host = certificates.host_name if named else certificates.wrong_host_name
    parts = urlsplit(postgres_tls_url)
    url = f"postgresql+{driver}://{parts.username}:{parts.password}@{host}:{parts.port}{parts.path}?{'&'.join(parameters)}"
    assert await connects(url) is expected


async def test_tls_is_required_unless_the_url_says_otherwise(
    postgres_url: str, postgres_tls_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DB_SSLMODE_DEFAULT is require: without a mode a plain server is refused, and disable lets it in."""
    plain = postgres_url.partition("?")[0]
    assert await connects(postgres_tls_url.partition("?")[0])
    assert not await connects(plain)
    monkeypatch.setenv("DB_SSLMODE_DEFAULT", "disable")
    assert await connects(plain)
