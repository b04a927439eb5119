"""MongoDB, or a server that speaks its protocol."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbservers.containers import Container, engine_answers
from dbservers.process import ServerProcess
from dbservers.programs import find_program
from dbservers.server import Server, new_name
from dbservers.workspace import Workspace

if TYPE_CHECKING:
    import pymongo

__all__ = ["MongoServer", "open_mongo", "own_mongo"]

IMAGE = "mongo:8"


@dataclass
class MongoServer(Server):
    """A MongoDB server on which every test gets a database name of its own.

    The one from the wheel is SecantusDB, a replica set of one member, so transactions and change streams work.
    """

    def new_database(self) -> str:
        """Return a name that no database has; MongoDB creates it with the first write."""
        return new_name()

    def drop_database(self, name: str) -> None:
        """Drop the database *name*; it may not exist."""
        with _client(self.url) as client:
            client.drop_database(name)


@contextmanager
def open_mongo(workspace: Workspace, environ: Mapping[str, str] = os.environ) -> Iterator[MongoServer]:
    """Give a server from ``TEST_MONGO_URL``, a container, the wheel or the system's mongod, in this order."""
    if url := environ.get("TEST_MONGO_URL"):
        yield MongoServer(url, _version(url), "environment")
    elif engine_answers():
        with Container(IMAGE, 27017, {}) as container:
            address = f"mongodb://{container.host}:{container.port}"
            container.wait_until(lambda: _version(address))
            yield MongoServer(address, _version(address), "container")
    else:
        with own_mongo(workspace) as server:
            yield server


@contextmanager
def own_mongo(workspace: Workspace) -> Iterator[MongoServer]:
    """Start a MongoDB-compatible server that the test may kill, from the wheel or the system's mongod."""
    folder = workspace.folder("mo")
    has_wheel = importlib.util.find_spec("secantus") is not None
    if has_wheel:

        def command(port: int) -> list[str]:
            return [
                *(sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(port)),
                *("--storage-path", str(folder / "data"), "--cache-size", "128M", "--log-level", "WARNING"),
                # Without it a write that was acknowledged is lost by SIGKILL, which a mongod's is not.
                "--sync-on-commit",
            ]

        # It reads the interpreter's folder, which may be closed to another account, and doesn't mind root.
        as_account = False
    else:
        program = find_program("mongod", package="mongodb-org, which Debian lacks; the wheel secantusdb is enough")
        workspace.give(folder)
        data = workspace.folder("md")

        def command(port: int) -> list[str]:
            return [str(program), "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(data)]

        as_account = True

    process = ServerProcess(
        workspace,
        folder,
        command,
        lambda port: _version(f"mongodb://127.0.0.1:{port}"),
        as_account=as_account,
    )
    process.start()
    try:
        address = f"mongodb://127.0.0.1:{process.port}"
        version = f"{_version(address)} (SecantusDB)" if has_wheel else _version(address)
        yield MongoServer(address, version, "wheel" if has_wheel else "system", process)
    finally:
        process.discard()


def _client(url: str) -> pymongo.MongoClient[dict[str, object]]:
    import pymongo

    return pymongo.MongoClient(url, serverSelectionTimeoutMS=5000, connectTimeoutMS=5000, socketTimeoutMS=30000)


def _version(url: str) -> str:
    with _client(url) as client:
        return str(client.server_info()["version"])
