"""Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from dbservers.containers import Container, engine_answers
from dbservers.process import ServerProcess
from dbservers.programs import find_program
from dbservers.server import Server, with_database
from dbservers.workspace import Workspace

__all__ = ["RedisServer", "open_redis", "own_redis"]

IMAGE = "redis:8-alpine"
LOGICAL_DATABASES = 16


@dataclass
class RedisServer(Server):
    """A Redis server; each worker of a parallel run has one of its numbered databases."""

    def empty_database(self, worker_number: int) -> str:
        """Empty the database of this worker and return its URL."""
        import redis

        url = with_database(self.url, str(worker_number % LOGICAL_DATABASES))
        with redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=30) as client:
            client.flushdb()
        return url


@contextmanager
def open_redis(workspace: Workspace, environ: Mapping[str, str] = os.environ) -> Iterator[RedisServer]:
    """Give a server from ``TEST_REDIS_URL``, a container or the system's redis-server, in this order."""
    if url := environ.get("TEST_REDIS_URL"):
        yield RedisServer(url, _version(url), "environment")
    elif engine_answers():
        with Container(IMAGE, 6379, {}) as container:
            address = f"redis://{container.host}:{container.port}"
            container.wait_until(lambda: _version(address))
            yield RedisServer(address, _version(address), "container")
    else:
        with own_redis(workspace) as server:
            yield server


@contextmanager
def own_redis(workspace: Workspace) -> Iterator[RedisServer]:
    """Start a Redis server that the test may kill; it keeps nothing on disk."""
    program = find_program("redis-server", "valkey-server", package="redis-server")
    folder = workspace.folder("re")
    process = ServerProcess(
        workspace,
        folder,
        lambda port: [
            *(str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--databases", str(LOGICAL_DATABASES)),
        ],
        lambda port: _version(f"redis://127.0.0.1:{port}"),
    )
    process.start()
    try:
        address = f"redis://127.0.0.1:{process.port}"
        yield RedisServer(address, _version(address), "system", process)
    finally:
        process.discard()


def _version(url: str) -> str:
    import redis

    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=30) as client:
        return str(client.info("server")["redis_version"])
