"""What a run of migrations tells while it works."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["LoggedProgress", "Progress"]

_log = logging.getLogger("svc_infra.migrate")


class Progress(Protocol):
    """Receives what happens; the command line prints it to stderr, code that calls the functions gets it logged."""

    def note(self, text: str) -> None:
        """Tell something worth knowing in one line."""

    def started(self, revision: str, message: str, *, upgrading: bool) -> None:
        """Tell that a revision begins."""

    def finished(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        """Tell that a revision is applied (or undone) and committed."""

    def failed(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        """Tell that a revision has failed for good; the error that follows has the reason."""

    def advanced(self, work: str, rows: int, share: float | None, *, rate: float, left: float | None) -> None:
        """Tell how far a long work has come.

        Args:
            work: What it is.
            rows: Number of rows changed so far.
            share: Which part of it that is, from 0 to 1; None when that is not known.
            rate: Rows per second.
            left: How long the rest will take, in seconds; None when that is not known.
        """

    def waiting(self, reason: str, seconds: float) -> None:
        """Tell that the run has waited for `seconds`; called about once a second."""

    def statement(self, sql: str) -> None:
        """Tell which statement is about to run."""


class LoggedProgress:
    """Progress as records of the logger `svc_infra.migrate`."""

    def note(self, text: str) -> None:
        """Log at level INFO."""
        _log.info("%s", text)

    def started(self, revision: str, message: str, *, upgrading: bool) -> None:
        """Log at level DEBUG; the end of the revision is what matters later."""
        _log.debug("%s %s (%s)", "Applying" if upgrading else "Undoing", revision, message)

    def finished(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        """Log at level INFO."""
        _log.info("%s %s (%s) in %.2f s", "Applied" if upgrading else "Undone", revision, message, seconds)

    def failed(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        """Log at level INFO; the error itself is the caller's to log."""
        _log.info("Failed to %s %s (%s) after %.2f s", "apply" if upgrading else "undo", revision, message, seconds)

    def advanced(self, work: str, rows: int, share: float | None, *, rate: float, left: float | None) -> None:
        """Log at level INFO when it is done, at level DEBUG before."""
        part = f"{share:.0%}, " if share is not None else ""
        rest = f", {left:.0f} s left" if left else ""
        _log.log(logging.INFO if share == 1 else logging.DEBUG, "%s: %s%d rows, %.0f/s%s", work, part, rows, rate, rest)

    def waiting(self, reason: str, seconds: float) -> None:
        """Log at level INFO."""
        _log.info("Waiting for %s (%.0f s)", reason, seconds)

    def statement(self, sql: str) -> None:
        """Log at level DEBUG."""
        _log.debug("%s", sql)
