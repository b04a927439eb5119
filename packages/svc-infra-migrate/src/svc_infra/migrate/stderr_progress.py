"""What a run of migrations tells on stderr while it works."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TextIO

from svc_infra.migrate.terminal import Style

__all__ = ["StderrProgress"]

# Off a terminal each line stays, so that a wait is told ever more seldom.
_TOLD_AT_SECONDS = (1, 5, 10, 30)
_THEN_EVERY_SECONDS = 60


@dataclass
class StderrProgress:
    """Progress as lines on stderr.

    On a terminal the last line counts the seconds of what runs or waits; elsewhere that is told after 1, 5, 10, 30 and
    60 seconds and then once a minute.

    Attributes:
        quiet: Write nothing.
        verbose: Write the statements too.
        stream: Where to write.
        clock: Seconds since any beginning.
    """

    quiet: bool = False
    verbose: bool = False
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _present: str = field(default="", init=False, repr=False)
    _work: str = field(default="", init=False, repr=False)
    _work_began: float = field(default=0.0, init=False, repr=False)
    _told: float = field(default=0.0, init=False, repr=False)
    _ticker: _Ticker | None = field(default=None, init=False, repr=False)
    _writing: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def note(self, text: str) -> None:
        """Write a line."""
        with self._writing:
            self._clear()
            present, self._present = self._present, ""
            self._line(text)
            self._show(present)

    def started(self, revision: str, message: str, *, upgrading: bool) -> None:
        """Begin to count the revision's seconds."""
        self._stop()
        began = self.clock()
        title = self._title(revision, message, upgrading=upgrading)
        self._told = 0.0
        self._show(title)
        if not self.quiet:
            self._ticker = _Ticker(partial(self._tick, title, began))

    def finished(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        """Write the revision with its seconds."""
        self._end(revision, message, upgrading=upgrading, seconds=seconds, word=Style.of(self.stream).green("ok"))

    def failed(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        """Write the revision with its seconds."""
        self._end(revision, message, upgrading=upgrading, seconds=seconds, word=Style.of(self.stream).red("failed"))

    def advanced(self, work: str, rows: int, share: float | None, *, rate: float, left: float | None) -> None:
        """Draw a bar with the rows, their rate and the time that is left; off a terminal a line now and then."""
        self._stop()
        if work != self._work:
            self._work, self._work_began, self._told = work, self.clock(), 0.0
        text = _describe(work, rows, share, rate, left, columns=20 if self.stream.isatty() else 0)
        if share == 1:
            self.close()
            self._line(text)
        else:
            self._count(text, self.clock() - self._work_began)

    def waiting(self, reason: str, seconds: float) -> None:
        """Write how long the wait has been."""
        if seconds < self._told:
            self._told = 0.0  # another wait
        self._count(f"Waited {seconds:.0f} s for {reason}", seconds)

    def statement(self, sql: str) -> None:
        """Write the statement when verbose."""
        if self.verbose:
            self.note(Style.of(self.stream).dim("    " + sql.strip().replace("\n", "\n    ")))

    def close(self) -> None:
        """Leave the terminal on a line of its own."""
        self._stop()
        with self._writing:
            self._clear()
            self._present = ""

    def _end(self, revision: str, message: str, *, upgrading: bool, seconds: float, word: str) -> None:
        self.close()
        style = Style.of(self.stream)
        self._line(f"{self._title(revision, message, upgrading=upgrading)}  {word} {style.dim(f'{seconds:.2f} s')}")

    def _stop(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _tick(self, title: str, began: float) -> None:
        seconds = self.clock() - began
        self._count(f"{title}: {seconds:.0f} s", seconds)

    def _count(self, text: str, seconds: float) -> None:
        if self.stream.isatty():
            self._show(text)
        elif seconds >= _next_telling(self._told):
            self._told = seconds
            self._line(text)

    def _title(self, revision: str, message: str, *, upgrading: bool) -> str:
        return f"{'up' if upgrading else 'down':<4}  {Style.of(self.stream).bold(revision)}  {message}"

    def _show(self, text: str) -> None:
        """Make `text` the line that the next one replaces; only on a terminal."""
        with self._writing:
            if self.stream.isatty() and not self.quiet:
                self._clear()
                self._present = _fit(text, shutil.get_terminal_size().columns - 1)
                print(self._present, end="", file=self.stream, flush=True)

    def _clear(self) -> None:
        if self._present and not self.quiet:
            print("\r\033[K", end="", file=self.stream, flush=True)

    def _line(self, text: str) -> None:
        if not self.quiet:
            with self._writing:
                print(text, file=self.stream, flush=True)


def _describe(work: str, rows: int, share: float | None, rate: float, left: float | None, *, columns: int) -> str:
    parts = [work]
    if share is not None:
        full = int(share * columns)
        bar = f"[{'#' * full}{'-' * (columns - full)}] " if columns else ""
        parts.append(f"{bar}{share:.0%}")
    parts += [f"{rows:,} rows", f"{rate:,.0f}/s"]
    if left:
        parts.append(f"{left:,.0f} s left")
    return "  ".join(parts)


def _fit(text: str, columns: int) -> str:
    """Cut off what would flow into another line, which could not be replaced."""
    plain = re.sub(r"\033\[\d*m", "", text)
    return text if len(plain) <= columns else plain[: max(columns - 3, 0)] + "..."


def _next_telling(told: float) -> float:
    return next((moment for moment in _TOLD_AT_SECONDS if moment > told), told - told % 60 + _THEN_EVERY_SECONDS)


class _Ticker:
    """Calls a function once a second until it is stopped."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(tick,), name="svc-infra-ticker", daemon=True)
        self._thread.start()

    def _run(self, tick: Callable[[], None]) -> None:
        while not self._stopped.wait(1):
            tick()

    def stop(self) -> None:
        """Return when no further call comes."""
        self._stopped.set()
        self._thread.join()
