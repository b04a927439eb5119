"""Passwords that change while the service runs: each new connection uses the current one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from dbservers.postgres import PostgresServer
from svc_infra.dburl import ResolvedUrl, resolve_database_url, resolve_url

Mode = Literal["async", "sync"]

WHO = "SELECT current_user"
DRIVERS: list[tuple[str, Mode]] = [("asyncpg", "async"), ("psycopg", "async"), ("psycopg", "sync")]


@pytest.fixture
def role(postgres_server: PostgresServer, postgres_url: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A role, and a function that gives it a new password."""
    name = f"r_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server.admin_url(postgres_url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))

        def set_password(password: str) -> None:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))

        yield name, set_password
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


async def rotate(
    resolved: ResolvedUrl, file: Path, write: Callable[[str], str], set_password: Any, run: Any, role: str
) -> None:
    """Log in, rotate twice, and log in with the same result after each."""
    for password in ("second p@ss", "third/%41"):
        set_password(password)
        file.write_text(write(password))  # noqa: ASYNC240 (a test waits for nothing else)
        assert await run(resolved, WHO) == role


@pytest.mark.parametrize(("driver", "mode"), DRIVERS)
@pytest.mark.parametrize("kind", ["password", "url", "json"])
async def test_a_rotated_file_is_read_at_the_next_connection(
    driver: str, mode: Mode, kind: str, role: Any, postgres_url: str, tmp_path: Path, connect_and_run: Any
) -> None:
    """DB_PASSWORD_FILE, a file with the URL and one with the JSON of Secrets Manager may all be rewritten."""
    from urllib.parse import quote

    name, set_password = role
    parts = urlsplit(postgres_url)
    database = parts.path[1:]
    file = tmp_path / "secret"
    base = {"DB_SSLMODE_DEFAULT": "disable", "DB_DRIVER": driver}
    settings: dict[str, tuple[Callable[[str], str], dict[str, str]]] = {
        "password": (
            lambda password: password + "\n",
            {
                "DB_HOST": str(parts.hostname),
                "DB_PORT": str(parts.port),
                "DB_NAME": database,
                "DB_USER": name,
                "DB_PASSWORD_FILE": str(file),
            },
        ),
        "url": (
            lambda password: (
                f"postgresql://{name}:{quote(password, safe='')}@{parts.hostname}:{parts.port}/{database}\n"
            ),
            {"SQL_URL_FILE": str(file)},
        ),
        "json": (
            lambda password: json.dumps(
                {
                    "engine": "postgres",
                    "host": parts.hostname,
                    "port": parts.port,
                    "username": name,
                    "password": password,
                    "dbname": database,
                }
            ),
            {"DATABASE_URL_FILE": str(file)},
        ),
    }
    write, environ = settings[kind]
    set_password("first")
    file.write_text(write("first"))
    resolved = resolve_database_url({**base, **environ}, env_file=None, secrets_dir=None, mode=mode)
    assert await connect_and_run(resolved, WHO) == name
    await rotate(resolved, file, write, set_password, connect_and_run, name)


@pytest.mark.parametrize(("driver", "mode"), DRIVERS)
async def test_a_token_is_asked_for_at_each_connection(
    driver: str, mode: Mode, role: Any, postgres_url: str, connect_and_run: Any
) -> None:
    """A provider such as that of RDS IAM is called anew, and its token beats the URL's password."""
    name, set_password = role
    parts = urlsplit(postgres_url)
    tokens: list[str] = []

    def token() -> str:
        tokens.append(secrets.token_urlsafe(20))
        set_password(tokens[-1])
        return tokens[-1]

    address = f"postgresql+{driver}://{name}:stale@{parts.hostname}:{parts.port}{parts.path}?sslmode=disable"
    resolved = resolve_url(address, environ={}, mode=mode).with_password(token)
    for _ in range(2):
        assert await connect_and_run(resolved, WHO) == name
    assert len(tokens) == 2
