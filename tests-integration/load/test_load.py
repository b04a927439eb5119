"""The generated routes under load, behind uvicorn in a process of its own: no errors, fair waits, flat memory."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from benchmarks.http import load
from load_service import POOL_SIZE, Base
from svc_infra.db.sql.database import Database

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("LOAD_SECONDS", "10"))
REQUESTS = int(os.environ.get("LOAD_REQUESTS", "100000"))
ROWS = int(os.environ.get("LOAD_ROWS", "1000000"))
CITIES = ["Bonn", "Lima", "Oslo", "Pune"]
MIB = 1 << 20

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        port: Where it listens.
        process: Its process.
        database: Its database, seen from the test.
    """

    port: int
    process: int
    database: Database

    def memory(self, name: str = "VmRSS") -> int:
        """Return the bytes of memory that the process uses, or used at its peak (VmHWM)."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))

    def forget_peak(self) -> None:
        """Let VmHWM start over (proc(5), clear_refs)."""
        Path(f"/proc/{self.process}/clear_refs").write_text("5")


@contextmanager
def running_process(url: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start the service's process on a free port, which comes with it."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc, which this system does not have")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "load_service:create_app", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--log-level", "warning"],
        env={**os.environ, "LOAD_URL": url, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        yield port, process
    finally:
        process.terminate()
        process.wait(60)


@asynccontextmanager
async def running_service(url: str, rows: int) -> AsyncIterator[Service]:
    """Start the service on a database with *rows* rows."""
    async with Database(url) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            fill = text(
                "INSERT INTO items (name, city, age)"
                " SELECT 'name ' || n, (ARRAY['Bonn','Lima','Oslo','Pune'])[n % 4 + 1], n % 90"
                " FROM generate_series(1, :rows) AS n"
            )
            await connection.execute(fill, {"rows": rows})
        async with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.execute(text("ANALYZE items"))
        with running_process(url) as (port, process):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(60):
                while True:
                    assert process.poll() is None, "the service ended"
                    try:
                        if (await client.get("/items?limit=1")).status_code == 200:
                            break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
            yield Service(port, process.pid, database)


def tell(line: str) -> None:
    """Print a measurement; `pytest -s` shows it."""
    sys.stderr.write(f"\n{line}\n")


def mixed(choice: random.Random, rows: int) -> Callable[[int], bytes]:
    """Return a maker of requests as clients send them: mostly reads, of every form, some writes, some mistakes."""

    def make(_number: int) -> bytes:
        key, dice = choice.randrange(1, rows), choice.random()
        if dice < 0.45:
            return load.request("GET", f"/items/{key}")
        if dice < 0.60:
            return load.request("GET", f"/items?limit=20&total=none&age__gte={choice.randrange(90)}&order_by=-id")
        if dice < 0.68:
            return load.request(
                "GET", f"/items?limit=10&total=none&select=id,name&city={choice.choice(CITIES)}&cursor="
            )
        if dice < 0.72:
            return load.request("GET", f"/items?limit=5&total=none&id={key}&q=name%20{key}")
        body = json.dumps({"name": f"new {key}", "city": choice.choice(CITIES), "age": key % 90}).encode()
        if dice < 0.82:
            return load.request("POST", "/items" if dice < 0.77 else "/checked", body)
        if dice < 0.90:
            return load.request("PATCH", f"/items/{key}", json.dumps({"age": key % 90}).encode())
        if dice < 0.95:
            return load.request("GET", f"/items/{rows * 100 + key}")
        return load.request("GET", f"/items?nothing{key}=1")

    return make


async def test_256_clients_share_a_pool_of_20(postgres_url: str, record_property: Record) -> None:
    """Not one error, no client left behind, never more connections than the pool has, and none lent afterwards."""
    clients, most = 256, 0
    async with running_service(postgres_url, 10_000) as service:

        async def watch() -> None:
            nonlocal most
            # Of the clients alone: PostgreSQL's autovacuum shows up there too.
            question = text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            while True:
                async with service.database.session() as session:
                    most = max(most, (await session.execute(question)).scalar_one())
                await asyncio.sleep(0.2)

        watcher = asyncio.create_task(watch())
        found = await load.run(service.port, mixed(random.Random(1), 10_000), seconds=SECONDS, clients=clients)
        watcher.cancel()
        await asyncio.wait({watcher})
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.port}") as client:
            pool = (await client.get("/pool")).json()
    measured = {
        "per_second": round(found.per_second),
        "p50_ms": round(found.percentile(0.5) * 1000),
        "p99_ms": round(found.percentile(0.99) * 1000),
        "worst_ms": round(max(found.latencies) * 1000),
    }
    record_property("measured", measured)
    tell(f"256 clients on a pool of {POOL_SIZE}: {measured}")
    assert set(found.statuses) == {200, 201, 404, 422}
    assert 0 < most <= POOL_SIZE
    assert pool == {"in_use": 0, "idle": pool["idle"], "size": POOL_SIZE}
    assert pool["idle"] <= POOL_SIZE
    # The pool serves in the order of asking: whoever waits, waits about as long as everybody else.
    assert len(found.per_client) == clients
    assert min(found.per_client) > statistics.mean(found.per_client) / 3
    assert max(found.latencies) < 10 * found.percentile(0.5) + 1


async def test_memory_stays_flat_over_many_requests(postgres_url: str, record_property: Record) -> None:
    """Once warm, requests of every kind, each different, leave nothing behind.

    LOAD_REQUESTS=1000000 makes it the long run.
    """
    parts = 20
    samples: list[int] = []
    statuses: set[int] = set()
    start = time.perf_counter()
    async with running_service(postgres_url, 10_000) as service:
        make = mixed(random.Random(2), 10_000)
        for _ in range(parts):
            found = await load.run(service.port, make, seconds=1e9, clients=32, requests=REQUESTS // parts)
            statuses |= set(found.statuses)
            samples.append(service.memory())
    early, late = statistics.median(samples[4:9]), statistics.median(samples[-5:])
    record_property("memory_mib", [round(sample / MIB, 1) for sample in samples])
    tell(f"{REQUESTS} requests in {time.perf_counter() - start:.0f} s: {[round(s / MIB, 1) for s in samples]} MiB")
    assert statuses == {200, 201, 404, 422}
    assert late - early < 4 * MIB


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "text/csv"])
async def test_an_export_of_a_million_rows_takes_no_more_memory_than_one_of_few(
    postgres_url: str, media_type: str, record_property: Record
) -> None:
    """The peak while everything is sent is within a few MiB of that while a part is."""
    async with running_service(postgres_url, ROWS) as service:
        url = f"http://127.0.0.1:{service.port}/items/export"

        async def export(query: str) -> tuple[int, int]:
            lines = 0
            service.forget_peak()
            async with (
                httpx.AsyncClient(timeout=60) as client,
                client.stream("GET", url + query, headers={"Accept": media_type}) as answer,
            ):
                assert answer.status_code == 200
                async for part in answer.aiter_bytes():
                    lines += part.count(b"\n")
            return lines, service.memory("VmHWM")

        headings = 1 if media_type == "text/csv" else 0
        few, peak_of_few = await export("?id__lte=20000")
        everything, peak = await export("")
    record_property("peak_mib", [round(peak_of_few / MIB, 1), round(peak / MIB, 1)])
    tell(f"{media_type}: peak {peak_of_few / MIB:.1f} MiB for {few}, {peak / MIB:.1f} MiB for {everything} rows")
    assert (few, everything) == (20_000 + headings, ROWS + headings)
    assert peak - peak_of_few < 8 * MIB
