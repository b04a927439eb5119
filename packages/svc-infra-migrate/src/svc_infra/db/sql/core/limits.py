"""How long a migration may wait for others, and others for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from svc_infra.db.sql.core.errors import MigrationError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """The bounds of every wait.

    Attributes:
        lock_wait_seconds: How long to wait for another process that migrates the same database
            (`MIGRATION_LOCK_WAIT_SECONDS`, default 300).
        lock_timeout_ms: How long one statement waits for a table that is in use (`MIGRATION_LOCK_TIMEOUT_MS`, default
            3000). While it waits, everybody else who comes later waits behind it; so it gives up and tries again.
        lock_retries: How often a revision (on MySQL and MariaDB a statement) is tried again after that
            (`MIGRATION_LOCK_RETRIES`, default 10), with pauses that grow to 10 s.
        statement_timeout_ms: Limit of one statement (`MIGRATION_STATEMENT_TIMEOUT_MS`, none by default).
    """

    lock_wait_seconds: float = 300
    lock_timeout_ms: int = 3000
    lock_retries: int = 10
    statement_timeout_ms: int | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Limits:
        """Read the variables.

        >>> Limits.from_environ({"MIGRATION_LOCK_TIMEOUT_MS": "500"}).lock_timeout_ms
        500

        Raises:
            MigrationError: A value is no number, or negative.
        """
        return cls(
            _number(environ, "MIGRATION_LOCK_WAIT_SECONDS", 300),
            int(_number(environ, "MIGRATION_LOCK_TIMEOUT_MS", 3000)),
            int(_number(environ, "MIGRATION_LOCK_RETRIES", 10)),
            int(_number(environ, "MIGRATION_STATEMENT_TIMEOUT_MS", 0)) or None,
        )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise MigrationError(f"{name} must be a number that is not negative, got {text!r}")
    return value
