"""The command `svc-infra url`: what it prints, and its exit codes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the extra cli is not installed")
pytest.importorskip("asyncpg", reason="asyncpg is not installed")
pytest.importorskip("psycopg", reason="psycopg is not installed")
pytest.importorskip("asyncmy", reason="asyncmy is not installed")
pytest.importorskip("aiosqlite", reason="aiosqlite is not installed")

from typer.testing import CliRunner

from svc_infra.dburl.cli import app

VARIABLES = ("SQL_URL", "DB_URL", "DATABASE_URL", "DATABASE_URL_PRIVATE", "PRIVATE_SQL_URL")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in an empty folder, with the given variables alone."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, **environ: str) -> Any:
        unset = dict.fromkeys([*VARIABLES, *(f"{name}_FILE" for name in VARIABLES), "PGSSLMODE"])
        given = {**unset, **environ}
        return CliRunner().invoke(app, ["--secrets-dir", str(tmp_path), *arguments], env=given)

    return invoke


def test_prints_every_place_in_order(run: Any, tmp_path: Path) -> None:
    """Each place that is looked at has a line, and what is hidden behind the first is said."""
    (tmp_path / "url").write_text("postgresql://other/db")
    (tmp_path / ".env").write_text("PRIVATE_SQL_URL=postgresql://third/db\n")
    environ = {
        "SQL_URL": " ",
        "DATABASE_URL": "postgres://u:hunter2@h/db",
        "SQL_URL_FILE": str(tmp_path / "url"),
        "DB_HOST": "x",
    }
    done = run(**environ)
    assert done.exit_code == 0
    places = [line.split("  ")[1] for line in done.stdout.split("result:")[0].splitlines()[1:]]
    assert [place.partition(" (")[0] for place in places] == [
        *VARIABLES,
        *(f"{name}_FILE" for name in VARIABLES),
        str(tmp_path / "database_url"),
        "DB_* variables",
    ]
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert lines["SQL_URL"].endswith("blank, counts as not set")
    assert lines["DATABASE_URL"].endswith("a URL, used")
    assert lines["PRIVATE_SQL_URL"].endswith("a URL, not used, because DATABASE_URL comes first")
    assert lines["SQL_URL_FILE"].endswith(f"{tmp_path / 'url'}, not used, because DATABASE_URL comes first")
    assert lines["DB_*"].endswith("DB_HOST, not used, because DATABASE_URL comes first")


def test_prints_the_result_without_secrets(run: Any) -> None:
    """URL, driver, connect arguments, pool and notes; passwords as stars."""
    done = run(SQL_URL="postgresql://u:hunter2@h/db?pgbouncer=true&pool_size=5&keepalives=1&sslpassword=hunter2")
    assert done.exit_code == 0
    for text in (
        "postgresql+asyncpg://u:***@h/db",
        "asyncpg (async)",
        "statement_cache_size=0",
        "pool_size=5",
        "transaction mode",
        "keepalives: dropped",
    ):
        assert text in done.stdout
    assert "hunter2" not in done.output


def test_prints_json(run: Any) -> None:
    """The same as data."""
    done = run("--json", "--mode", "sync", SQL_URL="postgresql://u:hunter2@h/db?connect_timeout=3")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"], told["error"]) == (0, True, None)
    assert told["url"] == "postgresql+psycopg://u:***@h/db?sslmode=require"
    assert told["connect_args"] == {"connect_timeout": 3}
    assert told["looked_at"][0] == {"place": "SQL_URL", "found": "a URL, used"}
    assert "hunter2" not in done.output


@pytest.mark.parametrize("arguments", [(), ("--json",), ("check",), ("check", "--json")])
def test_an_error_is_one_message_and_exit_1(run: Any, arguments: tuple[str, ...]) -> None:
    """The message names variable and remedy; with --json it is data on stdout."""
    done = run(*arguments, SQL_URL="postgresql://u:hunt@er2@h/db")
    assert done.exit_code == 1
    if "--json" in arguments:
        told = json.loads(done.stdout)
        assert told["ok"] is False
        assert told["error"]["kind"] == "InvalidUrl"
        assert told["error"]["place"] == "SQL_URL"
        assert "%40" in told["error"]["remedy"]
    else:
        assert done.stderr.startswith("error: SQL_URL: ")
        assert "%40" in done.stderr
        assert "Traceback" not in done.output
    assert "er2" not in done.output


def test_nothing_configured_is_exit_1(run: Any) -> None:
    """All places are listed, and the error says what to set."""
    done = run()
    assert done.exit_code == 1
    assert "no database configured" in done.stderr
    assert "DATABASE_URL_PRIVATE_FILE" in done.stdout


@pytest.mark.parametrize("arguments", [("--mode", "both"), ("--nonsense",), ("chekc",), ("check", "--timeout", "soon")])
def test_wrong_usage_is_exit_2(run: Any, arguments: tuple[str, ...]) -> None:
    """As of every command line."""
    assert run(*arguments, SQL_URL="sqlite://").exit_code == 2


def test_another_url_can_be_asked_about(run: Any) -> None:
    """--database-url comes before everything, before and after the verb."""
    assert "sqlite+aiosqlite://" in run("--database-url", "sqlite://", SQL_URL="postgresql://h/d").stdout
    done = run("check", "--database-url", "sqlite://", "--mode", "sync", SQL_URL="postgresql://h/d")
    assert done.exit_code == 0
    assert "sqlite://" in done.stdout


def test_check_tells_each_step(run: Any, tmp_path: Path) -> None:
    """Each step has its result and time."""
    sqlite3.connect(tmp_path / "a.db").execute("CREATE TABLE t (x)").connection.close()
    done = run("check", "--mode", "sync", "--json", SQL_URL=f"sqlite:///{tmp_path}/a.db")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"]) == (0, True)
    assert [step["name"] for step in told["steps"]] == ["driver", "file", "login", "version"]
    assert told["steps"][-1]["detail"] == sqlite3.sqlite_version
    assert all(step["milliseconds"] >= 0 for step in told["steps"])


def test_check_creates_no_file(run: Any, tmp_path: Path) -> None:
    """A SQLite file that is not there stays so."""
    done = run("check", "--mode", "sync", SQL_URL=f"sqlite:///{tmp_path}/new.db")
    assert done.exit_code == 0
    assert "will be created" in done.stdout
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    ("url", "step", "remedy"),
    [
        ("sqlite:////no/such/folder/a.db", "file", "Create the folder"),
        ("postgresql://u:hunter2@no-such-host.invalid/db", "dns", "spelling"),
        ("postgresql://u:hunter2@127.0.0.1:1/db", "tcp", "pg_isready -h 127.0.0.1 -p 1"),
        ("mysql://u:hunter2@127.0.0.1:1/db", "tcp", "Nothing listens"),
        ("postgresql://u:hunter2@/db?host=/no/such/folder", "tcp", "no such socket"),
        ("postgresql+asyncpg://h/db?sslmode=verify-full&sslrootcert=/no/ca.pem", "files", "sslrootcert"),
    ],
)
def test_check_says_what_to_do(url: str, step: str, remedy: str, run: Any) -> None:
    """The first step that fails is the last, with its remedy, and the exit code is 1."""
    done = run("check", "--timeout", "5", SQL_URL=url)
    assert done.exit_code == 1
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  FAILED")] == [step]
    assert remedy in done.stdout.partition("what to do:")[2]
    assert "hunter2" not in done.output


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """`python -m svc_infra.dburl` does the same."""
    done = subprocess.run(
        [sys.executable, "-m", "svc_infra.dburl", "--mode", "sync"],
        env={"SQL_URL": "sqlite://", "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "sqlite://" in done.stdout


def test_without_typer_the_module_says_what_to_install(tmp_path: Path) -> None:
    """With the declared dependencies alone there is one clear message."""
    script = """
import runpy, sys
sys.modules["typer"] = None
runpy.run_module("svc_infra.dburl", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: the command needs typer. Run pip install 'svc-infra-dburl[cli]'\n"
