"""Compare generated routes with hand-written ones, other libraries and the driver, over HTTP, in one run.

    uv run python -m benchmarks http_routes        BENCH_ROUNDS=6 BENCH_SECONDS=2 BENCH_ROWS=100000 BENCH_CLIENTS=32

PostgreSQL comes from TEST_POSTGRES_URL or is started for the run. Each contender is a uvicorn process of one worker;
all of them are loaded in turn, once per round and case, so that what disturbs the machine disturbs all of them. Figures
are requests per second as a multiple of the hand-written service. Contenders whose library is not installed are left
out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

from benchmarks.http import load

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = {
    "floor": ("floor", ()),
    "hand-written": ("hand", ()),
    "svc-infra": ("ours", ()),
    "svc-infra with hooks": ("ours", ()),
    "advanced-alchemy": ("with_advanced_alchemy", ("advanced_alchemy",)),
    "FastCRUD": ("with_fastcrud", ("fastcrud",)),
}
LIMITS = {"get": 3.0, "list": 4.0, "create": 2.5}
OF_FLOOR = 0.4
ROW = {"name": "Name", "email": "a@b.c", "city": "Berlin", "age": 30, "score": 1.5, "active": True, "note": "x" * 40}


@dataclass
class Settings:
    """How much to measure."""

    rounds: int = int(os.environ.get("BENCH_ROUNDS", "6"))
    seconds: float = float(os.environ.get("BENCH_SECONDS", "2"))
    rows: int = int(os.environ.get("BENCH_ROWS", "100000"))
    clients: int = int(os.environ.get("BENCH_CLIENTS", "32"))


@contextmanager
def database() -> Iterator[str]:
    """Give the URL of a PostgreSQL database."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given
        return
    from dbservers.postgres import open_postgres
    from dbservers.workspace import Workspace

    workspace = Workspace()
    try:
        with open_postgres(workspace) as server:
            yield server.create_database()
    finally:
        workspace.close()


@contextmanager
def served(module: str, url: str) -> Iterator[int]:
    """Serve a contender by one uvicorn worker on a free port, which is the value."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    has_httptools = importlib.util.find_spec("httptools") is not None
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.http.{module}:app", "--port", str(port)]
    command += ["--log-level", "error", "--no-access-log", "--loop", "uvloop" if has_uvloop else "asyncio"]
    command += ["--http", "httptools" if has_httptools else "h11"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "BENCH_URL": url})
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def fill(url: str, rows: int) -> None:
    """Create the table and its rows."""
    os.environ["BENCH_URL"] = url
    from sqlalchemy import text

    from benchmarks.http.model import Base, engine

    async def run() -> None:
        made = engine()
        async with made.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
            await connection.execute(
                text(
                    "INSERT INTO http_items (name, email, city, age, score, active, note) "
                    "SELECT 'Name ' || n, 'user' || n || '@x.com', 'City ' || n % 100, n % 90, n / 7.0, n % 2 = 0,"
                    " repeat('x', 40) FROM generate_series(1, :rows) AS n"
                ),
                {"rows": rows},
            )
        async with made.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE http_items"))
        await made.dispose()

    asyncio.run(run())


def cases(contender: str, rows: int) -> dict[str, Callable[[int], bytes]]:
    """Return what makes each case's requests."""
    base = "/hooked" if contender == "svc-infra with hooks" else "/items"
    extra = "&total=none" if contender.startswith("svc-infra") else ""
    body = json.dumps(ROW).encode()
    return {
        "get": lambda number: load.request("GET", f"{base}/{number * 7919 % rows + 1}"),
        "list": lambda number: load.request("GET", f"{base}?limit=50&offset={number % 20 * 50}{extra}"),
        "create": lambda _: load.request("POST", base, body),
    }


def loaded(port: int, make: Callable[[int], bytes], seconds: float, clients: int) -> load.Result:
    """Load a service, on uvloop where it is installed: what the generator costs is taken from the service's machine."""
    make_loop = None
    if importlib.util.find_spec("uvloop") is not None:
        from uvloop import new_event_loop as make_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(load.run(port, make, seconds=seconds, clients=clients))


def main() -> int:
    """Measure, print the table, and return 1 when a limit is not kept."""
    settings = Settings()
    present = {
        name: module
        for name, (module, needs) in CONTENDERS.items()
        if all(importlib.util.find_spec(need) for need in needs)
    }
    found: dict[tuple[str, str], list[load.Result]] = {}
    with database() as url:
        fill(url, settings.rows)
        for _ in range(settings.rounds):
            for name, module in present.items():
                with served(module, url) as port:
                    for case, make in cases(name, settings.rows).items():
                        loaded(port, make, 0.5, settings.clients)
                        result = loaded(port, make, settings.seconds, settings.clients)
                        assert set(result.statuses) <= {200, 201}, (name, case, result.statuses)
                        found.setdefault((name, case), []).append(result)
    return report(present, found)


def report(present: dict[str, str], found: dict[tuple[str, str], list[load.Result]]) -> int:
    """Print requests per second as a multiple of the hand-written service; return 1 when a limit is not kept."""

    def ratio(name: str, other: str, case: str) -> float:
        pairs = zip(found[name, case], found[other, case], strict=True)
        return statistics.median(mine.per_second / theirs.per_second for mine, theirs in pairs)

    def p99(name: str, case: str) -> float:
        return statistics.median(result.percentile(0.99) for result in found[name, case]) * 1000

    print(f"{'':24}" + "".join(f"{case:>10}" for case in LIMITS) + "   p99 in ms")
    for name in present:
        figures = "".join(f"{ratio(name, 'hand-written', case):10.2f}" for case in LIMITS)
        print(f"{name:24}{figures}   " + " ".join(f"{p99(name, case):7.1f}" for case in LIMITS))
    missed = [
        f"{case}: {ratio('svc-infra', 'hand-written', case):.2f} x hand-written, wanted {limit}"
        for case, limit in LIMITS.items()
        if ratio("svc-infra", "hand-written", case) < limit
    ]
    missed += [
        f"{case}: {ratio('svc-infra', 'floor', case):.2f} x the floor, wanted {OF_FLOOR}"
        for case in LIMITS
        if ratio("svc-infra", "floor", case) < OF_FLOOR
    ]
    for line in missed:
        print(f"missed  {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
