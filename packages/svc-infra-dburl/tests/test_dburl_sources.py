"""The places where a URL is looked for, and which of them counts."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
from sqlalchemy import URL

from svc_infra.dburl import NoDatabaseConfigured, ResolvedUrl, resolve_database_url
from svc_infra.dburl.errors import IncompleteParts, UnreadableSource

DIRECT = ("SQL_URL", "DB_URL", "DATABASE_URL", "DATABASE_URL_PRIVATE", "PRIVATE_SQL_URL")


def url_of(host: str) -> str:
    return f"postgresql+asyncpg://u:p@{host}/db"


def resolve(environ: dict[str, str], folder: Path, *, env_file: Path | str | None = None) -> ResolvedUrl:
    return resolve_database_url(environ, env_file=env_file, secrets_dir=folder, installed=lambda module: True)


@pytest.mark.parametrize(("winner", "loser"), list(itertools.pairwise(DIRECT)))
def test_an_earlier_direct_variable_beats_the_next(winner: str, loser: str, tmp_path: Path) -> None:
    """The direct variables count in the order of the guide."""
    assert resolve({loser: url_of("loser"), winner: url_of("winner")}, tmp_path).url.host == "winner"


def test_the_last_direct_variable_beats_the_first_file(tmp_path: Path) -> None:
    """All direct variables come before all file pointers."""
    (tmp_path / "url").write_text(url_of("file"))
    environ = {"SQL_URL_FILE": str(tmp_path / "url"), "PRIVATE_SQL_URL": url_of("direct")}
    assert resolve(environ, tmp_path).url.host == "direct"


@pytest.mark.parametrize(("winner", "loser"), list(itertools.pairwise(DIRECT)))
def test_an_earlier_file_pointer_beats_the_next(winner: str, loser: str, tmp_path: Path) -> None:
    """The file pointers count in the order of their direct variables."""
    (tmp_path / "winner").write_text(url_of("winner"))
    (tmp_path / "loser").write_text(url_of("loser"))
    environ = {f"{loser}_FILE": str(tmp_path / "loser"), f"{winner}_FILE": str(tmp_path / "winner")}
    assert resolve(environ, tmp_path).url.host == "winner"


def test_a_file_pointer_beats_the_mounted_secret(tmp_path: Path) -> None:
    """File pointers come before the secrets folder."""
    (tmp_path / "url").write_text(url_of("pointer"))
    (tmp_path / "database_url").write_text(url_of("secret"))
    assert resolve({"PRIVATE_SQL_URL_FILE": str(tmp_path / "url")}, tmp_path).url.host == "pointer"


def test_the_mounted_secret_beats_the_parts(tmp_path: Path) -> None:
    """The secrets folder comes before the parts."""
    (tmp_path / "database_url").write_text(url_of("secret") + "\n")
    assert resolve({"DB_HOST": "parts", "DB_NAME": "d"}, tmp_path).url.host == "secret"


def test_a_process_variable_beats_the_same_of_the_env_file(tmp_path: Path) -> None:
    """The process environment wins over .env."""
    (tmp_path / ".env").write_text(f"SQL_URL={url_of('file')}\n")
    assert resolve({"SQL_URL": url_of("process")}, tmp_path, env_file=tmp_path / ".env").url.host == "process"


def test_a_blank_process_variable_leaves_it_to_the_env_file(tmp_path: Path) -> None:
    """Blank counts as unset, so the .env file's value is used."""
    (tmp_path / ".env").write_text(f'SQL_URL="{url_of("file")}"\n')
    resolved = resolve({"SQL_URL": " "}, tmp_path, env_file=tmp_path / ".env")
    assert (resolved.url.host, resolved.source) == ("file", f"SQL_URL (from {tmp_path / '.env'})")


def test_process_and_env_file_complete_each_other(tmp_path: Path) -> None:
    """Settings may stand in .env and secrets in the process environment."""
    (tmp_path / ".env").write_text(
        "export DB_HOST=h # the server\nDB_NAME='d'\nDB_USER=u\nDB_SSLMODE_DEFAULT=disable\n"
    )
    resolved = resolve({"DB_PASSWORD": "p"}, tmp_path, env_file=tmp_path / ".env")
    assert resolved.url.render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@h/d"
    assert resolved.connect_args["ssl"] == "disable"


def test_the_env_file_is_found_from_a_folder_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative .env is looked for from the working folder up to the project's root, and no further."""
    project = tmp_path / "project"
    (project / "src/app").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (project / ".env").write_text(f"SQL_URL={url_of('project')}\n")
    (tmp_path / ".env").write_text(f"DB_URL={url_of('outside')}\n")
    monkeypatch.chdir(project / "src/app")
    assert resolve({}, tmp_path, env_file=".env").url.host == "project"
    (project / ".env").unlink()
    with pytest.raises(NoDatabaseConfigured):
        resolve({}, tmp_path, env_file=".env")


def test_a_folder_outside_of_any_project_counts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a project around it, only the working folder's own .env is read."""
    (tmp_path / ".env").write_text(f"DB_URL={url_of('above')}\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(NoDatabaseConfigured):
        resolve({}, tmp_path, env_file=".env")


def test_an_env_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    """A .env that can't be decoded is named."""
    (tmp_path / ".env").write_bytes(b"SQL_URL=\xff\xfe")
    with pytest.raises(UnreadableSource, match=r"\.env: is not UTF-8 text"):
        resolve({}, tmp_path, env_file=tmp_path / ".env")


def test_nothing_is_written_back(tmp_path: Path) -> None:
    """Resolving needs no more than to read the environment."""
    environ = MappingProxyType({"DATABASE_URL": url_of("h")})
    resolve_database_url(environ, env_file=None, secrets_dir=tmp_path, installed=lambda module: True)
    assert environ == {"DATABASE_URL": url_of("h")}


@pytest.mark.parametrize("variable", [f"{name}_FILE" for name in DIRECT])
@pytest.mark.parametrize("problem", ["missing", "blank", "folder", "binary", "long"])
def test_a_named_file_that_gives_no_url_is_an_error(variable: str, problem: str, tmp_path: Path) -> None:
    """The error names the variable and the path, and no later source is tried."""
    path = tmp_path / "secret.txt"
    if problem == "folder":
        path.mkdir()
    elif problem != "missing":
        path.write_bytes({"blank": b" \r\n", "binary": b"\xff\xfe\x00", "long": b"x" * 1_000_000}[problem])
    (tmp_path / "database_url").write_text(url_of("later"))
    with pytest.raises(UnreadableSource) as caught:
        resolve({variable: str(path), "DB_HOST": "h", "DB_NAME": "d"}, tmp_path)
    assert variable in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_without_leave_to_read_is_an_error(tmp_path: Path) -> None:
    """A path through a file is unreadable for everyone, also for root, who ignores permissions."""
    (tmp_path / "file").touch()
    with pytest.raises(UnreadableSource, match="SQL_URL_FILE"):
        resolve({"SQL_URL_FILE": str(tmp_path / "file/below")}, tmp_path)


def test_a_mounted_secret_that_is_empty_is_an_error(tmp_path: Path) -> None:
    """A secret that was mounted empty must not make the service use something else."""
    (tmp_path / "database_url").touch()
    with pytest.raises(UnreadableSource, match="database_url"):
        resolve({"DB_HOST": "h", "DB_NAME": "d"}, tmp_path)


def test_a_url_in_the_place_of_a_path_is_told(tmp_path: Path) -> None:
    """Whoever sets SQL_URL_FILE to a URL is told to set SQL_URL, and the URL is not repeated."""
    with pytest.raises(UnreadableSource, match="Set SQL_URL to the URL") as caught:
        resolve({"SQL_URL_FILE": "postgresql://u:hunter2@h/db"}, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_file_may_have_a_mark_and_line_ends(tmp_path: Path) -> None:
    """Files of Windows editors and `kubectl` are read."""
    (tmp_path / "url").write_bytes(b"\xef\xbb\xbf" + url_of("h").encode() + b"\r\n\r\n")
    assert resolve({"DB_URL_FILE": str(tmp_path / "url")}, tmp_path).url.host == "h"


SECRET = {"engine": "postgres", "host": "h.rds.amazonaws.com", "port": 5432, "username": "u", "password": "p@/"}


@pytest.mark.parametrize(
    ("secret", "environ", "expected"),
    [
        (SECRET | {"dbname": "d"}, {}, "postgresql+asyncpg://u:p%40%2F@h.rds.amazonaws.com:5432/d"),
        (
            SECRET | {"engine": "aurora-postgresql", "port": "5433", "dbname": "d", "masterarn": "a"},
            {},
            "postgresql+asyncpg://u:p%40%2F@h.rds.amazonaws.com:5433/d",
        ),
        (
            SECRET | {"engine": "mariadb", "port": 3306, "dbname": "d"},
            {},
            "mariadb+asyncmy://u:p%40%2F@h.rds.amazonaws.com:3306/d",
        ),
        (
            SECRET | {"engine": "sqlserver-ex", "port": 1433, "dbname": "d"},
            {},
            "mssql+mssqlpython://u:p%40%2F@h.rds.amazonaws.com:1433/d",
        ),
        (
            {"username": "u", "password": "p"},
            {"DB_HOST": "h", "DB_NAME": "d", "DB_PORT": "5433"},
            "postgresql+asyncpg://u:p@h:5433/d",
        ),
    ],
    ids=["postgres", "aurora", "mariadb", "sqlserver", "rds-managed"],
)
def test_the_json_of_secrets_manager_is_read(
    secret: dict[str, object], environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """From a file and, as ECS hands it over, from the variable itself; what it leaves out comes from the parts."""
    if "mssqlpython" in expected:
        pytest.importorskip(
            "sqlalchemy.dialects.mssql.mssqlpython", reason="SQLAlchemy 2.0 has no mssql-python dialect"
        )
    (tmp_path / "secret.json").write_text(json.dumps(secret, indent=1) + "\n")
    for source in ({"DATABASE_URL_FILE": str(tmp_path / "secret.json")}, {"DATABASE_URL": json.dumps(secret)}):
        assert resolve({**environ, **source}, tmp_path).url.render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"username": "u", "password": "hunter2"}', "host"),
        ('{"engine": "oracle", "password": "hunter2"}', "engine"),
        ('{"password": "hunter2"', "JSON"),
        ("{" * 50_000, "JSON"),
        ('{"host": "h", "dbname": "d", "port": "hunter2"}', "port"),
        ('{"host": "h", "dbname": "d", "password": "hunter2\\u0000"}', "NUL"),
    ],
)
def test_json_that_makes_no_url_is_an_error(text: str, error: str, tmp_path: Path) -> None:
    """The error says what is missing or wrong, and repeats no value."""
    with pytest.raises(ValueError, match=error) as caught:
        resolve({"SQL_URL": text}, tmp_path)
    assert "hunter2" not in str(caught.value)
    assert "SQL_URL" in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"DB_HOST": "h"}, "DB_NAME"),
        ({"DB_NAME": "d"}, "DB_HOST"),
        ({"DB_USER": "u", "DB_PASSWORD": "hunter2"}, "DB_HOST and DB_NAME"),
        ({"DB_PORT": "5432"}, "DB_HOST and DB_NAME"),
        ({"DB_DIALECT": "mysql", "DB_HOST": "h"}, "DB_NAME"),
        ({"DB_DIALECT": "sqlite"}, "DB_NAME"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_parts_that_are_too_few_are_an_error(environ: dict[str, str], missing: str, tmp_path: Path) -> None:
    """The error names what is set and what is missing."""
    with pytest.raises(IncompleteParts, match=f"Set {missing}") as caught:
        resolve(environ, tmp_path)
    assert all(name in str(caught.value) for name in environ)
    assert "hunter2" not in str(caught.value)


PARTS = {"DB_HOST": "h", "DB_NAME": "d"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (PARTS | {"DB_PORT": "5433"}, "postgresql+asyncpg://h:5433/d"),
        (PARTS | {"DB_HOST": "h:5433"}, "postgresql+asyncpg://h:5433/d"),
        (PARTS | {"DB_HOST": "::1"}, "postgresql+asyncpg://[::1]/d"),
        (PARTS | {"DB_HOST": "[::1]", "DB_PORT": "5433"}, "postgresql+asyncpg://[::1]:5433/d"),
        (PARTS | {"DB_HOST": "a,b", "DB_PORT": "1,2"}, "postgresql+asyncpg:///d?host=a%3A1&host=b%3A2"),
        (PARTS | {"DB_DRIVER": "auto"}, "postgresql+asyncpg://h/d"),
        (PARTS | {"DB_DRIVER": "psycopg"}, "postgresql+psycopg://h/d?sslmode=require"),
        (PARTS | {"DB_DIALECT": "Postgres"}, "postgresql+asyncpg://h/d"),
        (
            PARTS | {"DB_DIALECT": "mysql", "DB_HOST": "/run/mysqld.sock"},
            "mysql+asyncmy:///d?unix_socket=%2Frun%2Fmysqld.sock",
        ),
        (
            PARTS | {"DB_DIALECT": "mysql", "DB_HOST": "/cloudsql/p:r:i"},
            "mysql+asyncmy:///d?unix_socket=%2Fcloudsql%2Fp%3Ar%3Ai",
        ),
        (PARTS | {"DB_HOST": "/run", "DB_PORT": "5433"}, "postgresql+asyncpg:///d?host=%2Frun&port=5433"),
        (PARTS | {"DB_PARAMS": "?application_name=a%26b&flag"}, "postgresql+asyncpg://h/d"),
        (PARTS | {"DB_PARAMS": "target_session_attrs=any"}, "postgresql+asyncpg://h/d?target_session_attrs=any"),
        (PARTS | {"DB_USER": "a b", "DB_PASSWORD": "p@:/?#%"}, "postgresql+asyncpg://a b:p%40%3A%2F%3F%23%25@h/d"),
        (PARTS | {"DB_PASSWORD": "p\n"}, "postgresql+asyncpg://:p@h/d"),
        ({"DB_DIALECT": "duckdb", "DB_NAME": ":memory:"}, "duckdb:///%3Amemory%3A"),
        (
            {"DB_DIALECT": "snowflake", "DB_HOST": "org-acct", "DB_NAME": "db/sch", "DB_PARAMS": "role=r"},
            "snowflake://org-acct/db/sch?role=r",
        ),
    ],
)
def test_parts_are_composed(
    environ: dict[str, str], expected: str, tmp_path: Path, expected_url: Callable[[str], URL]
) -> None:
    """Host, port, socket, several hosts, user, password and parameters find their places, encoded once."""
    assert resolve(environ, tmp_path).url == expected_url(expected)


def test_parameters_alone_are_no_configuration(tmp_path: Path) -> None:
    """DB_PARAMS, DB_DRIVER and the other settings do not name a database."""
    with pytest.raises(NoDatabaseConfigured):
        resolve({"DB_PARAMS": "sslmode=disable", "DB_DRIVER": "asyncpg", "DB_CONNECT_TIMEOUT": "3"}, tmp_path)


def test_the_error_lists_every_place(tmp_path: Path) -> None:
    """Whoever configured nothing is told all that would do."""
    with pytest.raises(NoDatabaseConfigured) as caught:
        resolve({}, tmp_path)
    text = str(caught.value)
    for name in (*DIRECT, *(f"{name}_FILE" for name in DIRECT), f"{tmp_path}/database_url", "DB_HOST", "DB_NAME"):
        assert name in text


def test_resolving_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A library that handles secrets writes none to a log."""
    with caplog.at_level(logging.DEBUG):
        resolve({"SQL_URL": url_of("h")}, tmp_path)
    assert caplog.records == []
