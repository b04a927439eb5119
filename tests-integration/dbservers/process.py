"""One server process that the test run started and may kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dbservers.errors import ServerFailed
from dbservers.workspace import Workspace

__all__ = ["ServerProcess", "children", "free_port", "is_listening", "run"]

START_SECONDS = 120.0
STOP_SECONDS = 60.0
PORT_ATTEMPTS = 5


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago; another process may take it first."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on *port*."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def children(pid: int) -> list[int]:
    """Return the processes that *pid* started and that live; empty where there is no ``/proc``."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "PID (NAME) STATE PPID ...", and a name may hold blanks and parentheses (man 5 proc).
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def run(workspace: Workspace, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> str:
    """Run *command* to its end as the servers' account and return what it printed.

    Raises:
        ServerFailed: It ended with an error or took longer than a minute.
    """
    account = workspace.account
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=workspace.root,
            env=dict(env) if env is not None else None,
            user=account.uid if account.is_other else None,
            group=account.gid if account.is_other else None,
            extra_groups=[] if account.is_other else None,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerFailed(f"{command[0]} took longer than {error.timeout:g} s") from error
    if done.returncode:
        raise ServerFailed(f"{command[0]} ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class ServerProcess:
    """A server process with a port of its own.

    Args:
        workspace: Gives the account and the guardian.
        folder: Its working folder; the log is ``server.log`` in it.
        command: The command line for a port. Called at each start.
        is_ready: Asks the server on that port whether it works; anything it raises counts as not yet.
        stop_signal: What ends the server in good order without waiting for its clients.
        discard_signal: What ends it at once when nobody will need its data again.
        as_account: Whether to leave root for the servers' account.
        port: A fixed port, for a server that others are configured to find; by default a free one.
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        command: Callable[[int], Sequence[str]],
        is_ready: Callable[[int], object],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        discard_signal: signal.Signals = signal.SIGKILL,
        as_account: bool = True,
        port: int | None = None,
    ) -> None:
        self.log_path = folder / "server.log"
        self.port = port or 0
        self._workspace = workspace
        self._folder = folder
        self._command = command
        self._is_ready = is_ready
        self._stop_signal = stop_signal
        self._discard_signal = discard_signal
        self._as_account = as_account and workspace.account.is_other
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id, or None when it doesn't run."""
        return self._process.pid if self.is_running and self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the process lives (it may be frozen)."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_seconds: float = START_SECONDS) -> None:
        """Start the server, on the port that it had before if it had one, and wait until it works.

        Does nothing when it runs.

        Raises:
            ServerFailed: It ended at once or isn't ready in time; the message carries the end of its log.
        """
        with self._lock:
            if self.is_running:
                return
            keep_port = bool(self.port)
            for attempt in range(1, PORT_ATTEMPTS + 1):
                port = self.port if keep_port else free_port()
                self._launch(port)
                if self._wait_until_ready(port, timeout_seconds):
                    self.port = port
                    return
                # The process ended early. When somebody else listens there, the race for the port was lost.
                if attempt == PORT_ATTEMPTS or not (keep_port or is_listening(port)):
                    break
                if keep_port:
                    time.sleep(0.2)
            raise ServerFailed(f"{self._folder.name} did not start:\n{self.log_tail()}")

    def kill(self) -> None:
        """End the process by SIGKILL, as a crash or the kernel's memory killer would, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in good order, by force after a minute."""
        self._end(self._stop_signal)

    def discard(self) -> None:
        """End the server at once, its data being of no more use, by force after a minute."""
        self._end(self._discard_signal)

    def freeze(self) -> None:
        """Stop the process from running (SIGSTOP): its sockets stay open and silent. `thaw` ends it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process run on."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 30) -> str:
        """Return the last *lines* of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return "(no log)"

    def _launch(self, port: int) -> None:
        account = self._workspace.account
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                list(self._command(port)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**os.environ, "HOME": str(self._folder), "TMPDIR": str(self._folder)},
                # A session of its own keeps Ctrl-C, which is meant for the tests, from the server.
                start_new_session=True,
                user=account.uid if self._as_account else None,
                group=account.gid if self._as_account else None,
                extra_groups=[] if self._as_account else None,
            )
        self._workspace.watch(self._process.pid, self._discard_signal)

    def _wait_until_ready(self, port: int, timeout_seconds: float) -> bool:
        """Return False when the process ends first; a server that is neither ready nor dead in time is an error."""
        deadline = time.monotonic() + timeout_seconds
        last: BaseException | None = None
        while time.monotonic() < deadline:
            if not self.is_running:
                self._reap()
                return False
            try:
                self._is_ready(port)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises while the server comes up
                last = error
                time.sleep(0.05)
            else:
                if self.is_running:
                    return True
        tail = self.log_tail()
        self._end(signal.SIGKILL)
        raise ServerFailed(f"{self._folder.name} not ready after {timeout_seconds:g} s: {last!r}\n{tail}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.thaw()
        offspring = children(self._process.pid) if how is signal.SIGKILL else []
        self._signal(how)
        # PostgreSQL's backends have sessions of their own and would finish their statement first.
        for pid in offspring:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._workspace.forget(self._process.pid)
            self._process = None

    def _signal(self, which: signal.Signals) -> None:
        if self.is_running and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, which)
