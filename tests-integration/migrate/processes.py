"""New Python processes without the second of imports that each would begin with.

A server process imports Alembic, SQLAlchemy and the drivers once and then forks for each command: the command is a
process of its own, with its own working directory, environment, output and exit code, and can be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

__all__ = ["COMMAND", "Finished", "ProcessServer", "Spawned", "processes"]

COMMAND = "from svc_infra.migrate.main import main; main()"
"""The source of the script `svc-infra`."""

PRELOADED = (
    "alembic.autogenerate",
    "alembic.config",
    "aiosqlite",
    "asyncmy",
    "asyncpg",
    "sqlalchemy.dialects.mysql.asyncmy",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.ext.asyncio",
    "svc_infra.db.sql.base",
    "svc_infra.db.sql.core.environment",
    "svc_infra.migrate.cli",
    "svc_infra.migrate.main",
    "typer._adapters",
)

# Between the server and a command stands a keeper, which waits for the command and reports how it ended. The command
# ends as a script does, but for taking the interpreter apart, which would copy all the memory that it shares.
SERVER = """
import atexit, gc, importlib, json, os, select, signal, socket, sys, threading

def serve(path, modules):
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            pass  # a library's tests also run with its own dependencies alone
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(32)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need no burial
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)  # who started the server has closed its end or is gone
        connection, _ = listener.accept()
        if os.fork() != 0:
            connection.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request = json.loads(connection.makefile().readline())
        command = os.fork()
        if command == 0:
            connection.close()
            return request
        connection.sendall(f"{command}\\n".encode())
        _, status = os.waitpid(command, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\\n".encode())
        os._exit(0)

request = serve(sys.argv[1], sys.argv[2:])
for descriptor, path in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
    opened = os.open(path, os.O_RDWR | os.O_APPEND)
    os.dup2(opened, descriptor)
    os.close(opened)
os.chdir(request["folder"])
os.environ.clear()
os.environ.update(request["environ"])
sys.argv[:] = request["arguments"]
sys.path.insert(0, request["folder"])
code = 0
try:
    exec(compile(request["source"], "<command>", "exec"), {"__name__": "__main__"})
except SystemExit as ended:
    code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    if isinstance(ended.code, str):
        print(ended.code, file=sys.stderr)
except BaseException:
    code = 1
    sys.excepthook(*sys.exc_info())
threading._shutdown()
atexit._run_exitfuncs()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
"""


@dataclass(frozen=True)
class Finished:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Spawned:
    """A command that runs."""

    pid: int
    _stream: IO[bytes]
    _folder: tempfile.TemporaryDirectory[str]
    _finished: Finished | None = None

    @property
    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        if self._finished is not None:
            return self._finished.stderr
        return Path(self._folder.name, "stderr").read_text(encoding="utf-8")

    def wait(self) -> Finished:
        """Wait until it has ended; the server's time limit for reads bounds it."""
        if self._finished is None:
            code = int(self._stream.readline())
            output, errors = (
                Path(self._folder.name, name).read_text(encoding="utf-8") for name in ("stdout", "stderr")
            )
            self._finished = Finished(code, output, errors)
            self._stream.close()
            self._folder.cleanup()
        return self._finished

    def kill(self) -> Finished:
        """End it as `kill -9` does, unless it has ended."""
        if self._finished is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return self.wait()


class ProcessServer:
    """The server's client."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="commands")
        self._address = str(Path(self._folder.name, "socket"))
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER, self._address, *PRELOADED],
            env={**os.environ, "PYTHONWARNINGS": "error"},
            stdin=subprocess.PIPE,
        )

    def close(self) -> None:
        """End the server; the commands that it started live on until they end."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)
        self._folder.cleanup()

    def start(
        self, source: str, arguments: list[str], *, folder: Path, environ: Mapping[str, str], timeout: float = 60
    ) -> Spawned:
        """Start a process that runs `source` as a script with `arguments` (`sys.argv`, the name first) in `folder`."""
        outputs = tempfile.TemporaryDirectory(prefix="command")
        paths = {name: Path(outputs.name, name) for name in ("stdout", "stderr")}
        for path in paths.values():
            path.touch()
        request = {
            "source": source,
            "arguments": arguments,
            "folder": str(folder),
            "environ": dict(environ),
            **{name: str(path) for name, path in paths.items()},
        }
        with self._connect() as connection:
            connection.settimeout(timeout)
            connection.sendall(json.dumps(request).encode() + b"\n")
            stream = connection.makefile("rb")
        return Spawned(int(stream.readline()), stream, outputs)

    def _connect(self) -> socket.socket:
        """Connect, at first as soon as the server has imported what it imports."""
        deadline = time.monotonic() + 60
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._address)
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                assert self._server.poll() is None, "the server of processes ended"
                assert time.monotonic() < deadline, "the server of processes does not begin"
                time.sleep(0.02)
            else:
                return connection


_SERVER = pytest.StashKey[ProcessServer]()


@pytest.fixture(scope="session")
def processes(request: pytest.FixtureRequest) -> ProcessServer:
    """The server, one for the whole run whoever imports the fixture."""
    stash = request.config.stash
    if _SERVER not in stash:
        stash[_SERVER] = ProcessServer()
        request.config.add_cleanup(stash[_SERVER].close)
    return stash[_SERVER]
