"""The quick start as its user runs it: a process of its own, asked over HTTP, ended by a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "examples" / "quickstart"
START_SECONDS = 120
STOP_SECONDS = 60


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return when *condition* holds; fail, naming *what*, when it does not within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


class QuickStart:
    """One run of the quick start; leaving the block ends it.

    Args:
        log: File that gets its output.
        url: What `SQL_URL` says; None leaves it unset.
        arguments: The command line.
        command: What to run instead of `python -m quickstart`, with `arguments` after it.
        environ: Further variables.
    """

    def __init__(
        self,
        log: Path,
        url: str | None,
        *arguments: str,
        command: Sequence[str] = (sys.executable, "-m", "quickstart"),
        environ: dict[str, str] | None = None,
        cwd: Path = PROJECT,
    ) -> None:
        self._log = log
        self._command = [*command, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name not in {"SQL_URL", "DB_PARAMS"}}
        self._environ = inherited | {"COLUMNS": "200"} | ({"SQL_URL": url} if url else {}) | (environ or {})
        self._cwd = cwd

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            # A session of its own: an interrupt reaches all of it, and none of the test run.
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    @property
    def output(self) -> str:
        """What it has printed so far, on both streams."""
        return self._log.read_text()

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it says that it serves; fail with its output when it ends before."""
        wait_until(lambda: "/docs" in self.output or not self.is_running, seconds, f"start of {self._command}")
        assert self.is_running, self.output

    def client(self, port: int) -> httpx.Client:
        """Return a client of the service on *port*."""
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def interrupt(self) -> int:
        """Press Ctrl-C, as a terminal sends it to the whole group, and return the exit code."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Return the exit code once the process has ended by itself."""
        return self._process.wait(seconds)


Extract = Callable[[int], Path]
"""Writes a data set with so many flights and returns its folder."""

Run = Callable[..., QuickStart]
"""Starts the quick start with a `SQL_URL` and arguments."""
