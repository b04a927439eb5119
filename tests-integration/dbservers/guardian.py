"""Ends the servers of a test run that died before it could.

Run as a script by `Workspace`: it reads commands from its standard input, which is a pipe that the test process holds
open, and at the end of the file, however the test process ended, it kills what is still listed and removes the folder.
A pipe rather than PR_SET_PDEATHSIG, because that signal follows the thread that started a server, and tests start
servers from worker threads.

Commands, one on a line: ``watch PID SIGNAL``, ``forget PID``, ``remove FOLDER``.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

__all__ = ["guard"]


def guard(commands: Iterable[str], *, patience_seconds: float = 5.0) -> None:
    """Follow *commands* to their end, then end each watched process group and remove each folder.

    A group gets its own signal first, so that PostgreSQL gives its shared memory back, and SIGKILL *patience_seconds*
    later.
    """
    watched: dict[int, int] = {}
    folders: list[str] = []
    for line in commands:
        verb, *operands = line.split()
        if verb == "watch":
            watched[int(operands[0])] = int(operands[1])
        elif verb == "forget":
            watched.pop(int(operands[0]), None)
        elif verb == "remove":
            folders.append(operands[0])
    for pid, number in watched.items():
        _signal(pid, number)
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline and any(_signal(pid, 0) for pid in watched):
        time.sleep(0.05)
    for pid in watched:
        _signal(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _signal(group: int, number: int) -> bool:
    """Signal a process group; false when it is gone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    # Ctrl-C in the terminal reaches the whole foreground group; this process has its own session, and this is the rest.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    guard(sys.stdin)
