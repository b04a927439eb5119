"""`svc-infra health`: exit codes, one clear message, JSON alone on stdout."""

from __future__ import annotations

import http.server
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from svc_infra.health.cli import app


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A shell in an empty folder with an environment that names no database."""
    monkeypatch.chdir(tmp_path)
    for name in ("SQL_URL", "DB_URL", "DATABASE_URL", "MONGO_URL", "REDIS_URL", "DB_HOST", "DB_NAME"):
        monkeypatch.delenv(name, raising=False)
    return CliRunner()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    database = sqlite3.connect(path)
    with database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    return path


@pytest.fixture
def web() -> Iterator[str]:
    """A web server that answers 204 to /ok and 503 to everything else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204 if self.path == "/ok" else 503)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_check_with_nothing_to_check_says_what_to_set(runner: CliRunner) -> None:
    """Silence would look like health."""
    result = runner.invoke(app, ["check"])
    assert result.exit_code == 1
    assert "SQL_URL" in result.stderr
    assert result.stdout == ""


def test_check_of_a_healthy_database_exits_0(runner: CliRunner, sqlite_path: Path) -> None:
    """By option and by environment."""
    url = f"sqlite:///{sqlite_path}"
    assert runner.invoke(app, ["check", "--database-url", url]).exit_code == 0
    result = runner.invoke(app, ["check"], env={"DATABASE_URL": url})
    assert result.exit_code == 0, result.output
    assert "database: healthy" in result.stdout


def test_check_of_a_missing_database_exits_1_and_says_why(runner: CliRunner, tmp_path: Path) -> None:
    """JSON stands alone on stdout."""
    result = runner.invoke(app, ["check", "--database-url", f"sqlite:///{tmp_path}/none.db", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["checks"]["database"]["reason"] == "missing"
    assert result.stderr == ""


def test_check_of_http_tells_good_from_bad_answers(runner: CliRunner, web: str) -> None:
    """The status decides."""
    assert runner.invoke(app, ["check", "--http", f"{web}/ok"]).exit_code == 0
    result = runner.invoke(app, ["check", "--http", f"{web}/ok", "--http", f"{web}/bad"])
    assert result.exit_code == 1
    assert "http 2: unhealthy" in result.stdout


def test_wait_in_vain_exits_1_with_progress_on_stderr(runner: CliRunner, unused_tcp_port: int) -> None:
    """One line per change of state, and one final message."""
    address = f"http://127.0.0.1:{unused_tcp_port}/"
    result = runner.invoke(app, ["wait", "--http", address, "--timeout", "0.3", "--interval", "0.05"])
    assert result.exit_code == 1
    assert result.stderr.count("waiting:") == 1
    assert "error: not healthy after 0.3 s" in result.stderr
    assert result.stdout == ""


def test_a_registry_of_the_application_can_be_checked(runner: CliRunner, tmp_path: Path) -> None:
    """`--app module:registry`, found in the working directory."""
    (tmp_path / "service_health.py").write_text(
        "from svc_infra.health import HealthRegistry\n"
        "registry = HealthRegistry()\n"
        "registry.add('it', lambda: True)\n"
        "def make():\n    return registry\n"
    )
    assert runner.invoke(app, ["check", "--app", "service_health:registry"]).exit_code == 0
    assert runner.invoke(app, ["check", "--app", "service_health:make"]).exit_code == 0
    assert runner.invoke(app, ["check", "--app", "service_health:nothing"]).exit_code == 2
    assert runner.invoke(app, ["check", "--app", "nowhere"]).exit_code == 2


def test_backups_exit_by_their_state(runner: CliRunner, tmp_path: Path, sqlite_path: Path) -> None:
    """For cron: 0 good, 1 not."""
    result = runner.invoke(app, ["backups", str(sqlite_path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["newest"]["kind"] == "sqlite"
    result = runner.invoke(app, ["backups", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "missing" in result.stdout
