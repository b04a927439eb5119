"""What a test run does at its end: no process and no folder is left, and it says what was covered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dbservers.server import Server

ROOT = Path(__file__).parents[1]


def start_run(folder: Path, body: str, *options: str, **environ: str) -> subprocess.Popen[str]:
    """Run pytest on a test file of its own, with this project's fixtures."""
    (folder / "test_inner.py").write_text(body, encoding="utf-8")
    (folder / "conftest.py").write_text('pytest_plugins = ["dbservers.plugin"]\n', encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    without = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TEST_", "CI"))}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "no:cacheprovider", "-q", "-rs", *options, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        # The installed plugins take longer to import than these tests to run.
        env={
            **without,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests-integration"), *sys.path[1:]]),
            **environ,
        },
    )


def finish(run: subprocess.Popen[str]) -> str:
    """Wait for the end of *run* and return what it printed."""
    return run.communicate(timeout=200)[0]


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float = 60) -> bool:
    """Poll *condition* until it holds or the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def lives(pid: int) -> bool:
    """Whether a process with this id runs, zombies aside."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


SLOW = """
import os, pathlib, time
def test_waits(postgres_server, redis_server, server_workspace):
    here = pathlib.Path(__file__).parent
    (here / "root").write_text(str(server_workspace.root))
    pids = f"{postgres_server.process.pid} {redis_server.process.pid}"
    (here / "pids.new").write_text(pids)
    os.rename(here / "pids.new", here / "pids")
    time.sleep(300)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_early_leaves_no_process_and_no_folder(
    tmp_path: Path, how: signal.Signals, postgres_url: str, redis_url: str
) -> None:
    """Killed or interrupted: the servers end and their folder goes."""
    run = start_run(tmp_path, SLOW)
    try:
        assert wait_until((tmp_path / "pids").exists), run.communicate(timeout=60)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        root = Path((tmp_path / "root").read_text())
        assert root.exists()
        assert all(map(lives, pids))
        run.send_signal(how)
        finish(run)
        assert wait_until(lambda: not any(map(lives, pids)))
        assert wait_until(lambda: not root.exists())
    finally:
        run.kill()
        run.wait(60)


USES = """
def test_sqlite(sqlite_url): pass
def test_missing(redis_url): pass
def test_missing_too(redis_url): pass
def test_hosted(snowflake_url): pass
"""


@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_run_says_what_was_covered_and_what_was_not(tmp_path: Path, parallel: tuple[str, ...]) -> None:
    """A missing server is a named, counted skip, in a parallel run too."""
    output = finish(start_run(tmp_path, USES, *parallel, TEST_SERVER_PATH="/nowhere"))
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "== databases covered ==" in output
    assert any(line.startswith("SQLite") and line.endswith("library 1 test") for line in lines), output
    assert any(line.startswith("Redis 2 tests skipped: redis-server") for line in lines), output
    assert any(line.startswith("Snowflake 1 test skipped: TEST_SNOWFLAKE_URL is not set") for line in lines), output
    assert "1 passed, 3 skipped" in output


def test_a_missing_server_fails_in_ci_when_it_could_be_installed(tmp_path: Path) -> None:
    """With CI=true a server that the project can install must be there; Snowflake can't be installed."""
    output = finish(start_run(tmp_path, USES, CI="true", TEST_SERVER_PATH="/nowhere"))
    assert "1 passed, 1 skipped, 2 errors" in output
    assert "make test-services installs Debian's redis-server" in output


GIVEN = {
    "TEST_POSTGRES_URL": """
import psycopg, pytest
@pytest.mark.parametrize("number", range(4))
def test_given(postgres_url, postgres_server, number):
    assert (postgres_server.origin, postgres_server.process) == ("environment", None)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE things (id int)")
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
""",
    "TEST_MYSQL_URL": """
import pymysql, pytest
from urllib.parse import urlsplit
@pytest.mark.parametrize("number", range(4))
def test_given(mysql_url, mysql_server, number):
    assert (mysql_server.origin, mysql_server.process) == ("environment", None)
    url = urlsplit(mysql_url)
    database = url.path.lstrip("/")
    connection = pymysql.connect(
        host=url.hostname, port=url.port, user=url.username, password=url.password, database=database
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE things (id int)")
""",
    "TEST_MONGO_URL": """
import pymongo, pytest
@pytest.mark.parametrize("number", range(4))
def test_given(mongo_url, mongo_db_name, mongo_server, number):
    assert (mongo_server.origin, mongo_server.process) == ("environment", None)
    with pymongo.MongoClient(mongo_url) as client:
        assert client[mongo_db_name].things.count_documents({}) == 0
        client[mongo_db_name].things.insert_one({})
""",
    "TEST_REDIS_URL": """
import redis, pytest
@pytest.mark.parametrize("number", range(4))
def test_given(redis_url, redis_server, number):
    assert (redis_server.origin, redis_server.process) == ("environment", None)
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("thing", "1")
""",
}


@pytest.mark.parametrize("variable", GIVEN)
def test_a_url_from_the_environment_takes_precedence(
    tmp_path: Path, variable: str, request: pytest.FixtureRequest
) -> None:
    """A server that the environment names is used, by several workers at once where they make users in it."""
    kind = variable.split("_")[1].lower()
    server: Server = request.getfixturevalue(f"own_{kind}")
    parallel = ("-n", "2") if kind in {"postgres", "mysql"} else ()
    output = finish(start_run(tmp_path, GIVEN[variable], *parallel, **{variable: server.url}))
    assert "4 passed" in output, output
    assert any(line.split()[-3:] == ["environment", "4", "tests"] for line in output.splitlines()), output


def test_a_run_without_databases_says_nothing_of_them(tmp_path: Path) -> None:
    """The section is for runs that use a database."""
    assert "databases covered" not in finish(start_run(tmp_path, "def test_plain(): pass\n"))
