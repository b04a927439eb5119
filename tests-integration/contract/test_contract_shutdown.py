"""How a service ends that was told to: readiness first, then the port, then the requests in flight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from quickstart_process import ROOT, free_port, wait_until


@contextmanager
def service(url: str, log: Path, delay_seconds: float) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Run the slow service in a process of its own; what still runs at the end is killed."""
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "contract.slow_service:app", "--port", str(port)],
            cwd=ROOT / "tests-integration",
            env=os.environ | {"SQL_URL": url, "DELAY_SECONDS": str(delay_seconds)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "running on" in log.read_text() or process.poll() is not None, 60, "the service's start")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)


@pytest.fixture
def table(postgres_url: str) -> Iterator[psycopg.Connection]:
    """The table that the service writes to, seen from outside."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE slow_writes (id integer)")
        yield connection


def written(table: psycopg.Connection) -> int:
    """Return how many writes were committed."""
    (count,) = table.execute("SELECT count(*) FROM slow_writes").fetchone() or (0,)
    return int(count)


def test_readiness_fails_first_and_requests_in_flight_finish(
    postgres_url: str, table: psycopg.Connection, tmp_path: Path
) -> None:
    """After SIGTERM the service says that it is not ready, serves on until the delay is over, and loses no request."""
    with service(postgres_url, tmp_path / "log", 3) as (process, client), ThreadPoolExecutor() as pool:
        assert client.get("/ready").status_code == 200
        # Longer than the delay: it is in flight when the server stops taking connections.
        slow = pool.submit(client.post, "/slow", params={"seconds": 4.5})
        # Committed when it answers, so what is waited for is its open transaction.
        running = "SELECT count(*) FROM pg_locks WHERE relation = 'slow_writes'::regclass"
        wait_until(lambda: table.execute(running).fetchone() != (0,), 60, "the slow write")
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/ready").status_code == 503, 2.8, "readiness to fail")
        assert client.get("/ready").json()["status"] == "unhealthy"
        during = client.post("/slow", params={"seconds": 0})
        assert (during.status_code, slow.done()) == (200, False)
        answer = slow.result(20)
        assert (answer.status_code, answer.json()) == (200, {"status": "written"})
        assert process.wait(60) in (0, -signal.SIGTERM)
    assert written(table) == 2
    output = (tmp_path / "log").read_text()
    assert "Application shutdown complete" in output
    assert "Traceback" not in output


def test_a_second_signal_does_not_wait(postgres_url: str, tmp_path: Path) -> None:
    """Who is in a hurry sends SIGTERM again."""
    with service(postgres_url, tmp_path / "log", 600) as (process, client):
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/ready").status_code == 503, 60, "readiness to fail")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)
