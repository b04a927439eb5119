"""The lock that lets only one process migrate a database at a time.

It belongs to a session, so the database frees it when the process dies; a row in a table would stay for ever. The
session is a connection of its own in autocommit mode, and the lock is asked for again and again instead of waited
for in the database: a waiting statement holds a snapshot, which `CREATE INDEX CONCURRENTLY` in the other process waits
for in turn, and both would stand still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from svc_infra.db.sql.core.errors import LockNotObtained
from svc_infra.db.sql.core.file_lock import FileLock
from svc_infra.db.sql.core.holder import FREED, Holder
from svc_infra.db.sql.core.progress import Progress
from svc_infra.db.sql.core.session_locks import AdvisoryLock, ApplicationLock, NamedLock, SessionLock

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Lock", "MigrationLock", "acquire", "database_lock", "migration_lock"]

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_KINDS: dict[str, type[SessionLock]] = {
    "postgresql": AdvisoryLock,
    "mysql": NamedLock,
    "mariadb": NamedLock,
    "mssql": ApplicationLock,
}


class Lock(Protocol):
    """A lock that can be asked for."""

    def try_acquire(self) -> bool:
        """Take the lock when it is free, without waiting."""
        ...

    def holder(self) -> Holder:
        """Say who holds the lock."""
        ...


class MigrationLock(Lock, Protocol):
    """A lock that can be lost with the session that holds it."""

    def verify(self) -> None:
        """Make sure that the session that holds the lock is alive.

        Raises:
            LockNotObtained: It is not, so that another process may be migrating already.
        """


@contextmanager
def migration_lock(
    connection: Connection,
    name: str,
    *,
    wait_seconds: float,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[MigrationLock]:
    """Hold the migration lock of the database that `connection` is connected to.

    Args:
        connection: The connection that will migrate; the lock takes another one of its engine.
        name: What is migrated, usually the version table; different names don't exclude each other.
        wait_seconds: How long to wait for another process, in seconds.
        progress: Hears about once a second that the run waits.
        clock: Seconds since any beginning.
        sleep: Pauses for a number of seconds.

    Raises:
        LockNotObtained: Another process held the lock until the deadline; the message says which one.
        TargetNotResolved: The connection goes through a pooler that hands out a session per transaction.
    """
    with database_lock(connection, name, suffix="migrate-lock") as lock:
        if lock is None:
            progress.note(
                f"No migration lock on {connection.dialect.name}: make sure that one process migrates at a time"
            )
            yield _NoLock()
            return
        acquire(lock, "the migration lock", wait_seconds=wait_seconds, progress=progress, clock=clock, sleep=sleep)
        yield lock


@contextmanager
def database_lock(connection: Connection, name: str, *, suffix: str) -> Iterator[SessionLock | FileLock | None]:
    """Give a lock in the database that `connection` is connected to; the block's end frees it, the process's end too.

    Args:
        connection: A connection that is in no transaction; the lock takes another one of its engine.
        name: Which lock, on a server; different names don't exclude each other.
        suffix: Which lock, for a database that is a file: what its lock file's name has behind the database's.

    Yields:
        The lock, not yet asked for; None where the database has none.

    Raises:
        TargetNotResolved: The connection goes through a pooler that hands out a session per transaction.
    """
    dialect = connection.dialect.name
    lock: SessionLock | FileLock
    if dialect in _KINDS:
        lock = _KINDS[dialect](connection, name)
    elif dialect in {"sqlite", "duckdb"} and _is_file(connection.engine.url.database):
        lock = FileLock(Path(str(connection.engine.url.database)).absolute(), suffix)
    else:
        yield None
        return
    with lock:
        yield lock


def acquire(
    lock: Lock,
    what: str,
    *,
    wait_seconds: float,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask for a lock until it is obtained, after 0.05 s and then ever more seldom, at last once a second.

    Args:
        lock: The lock.
        what: What it is, for the one who waits.
        wait_seconds: How long to wait for another process, in seconds.
        progress: Hears about once a second that the run waits.
        clock: Seconds since any beginning.
        sleep: Pauses for a number of seconds.

    Raises:
        LockNotObtained: Another process held it until the deadline; the message says which one.
    """
    began = told = clock()
    pause = _FIRST_PAUSE_SECONDS
    while not lock.try_acquire():
        now = clock()
        if now - began >= wait_seconds:
            holder = lock.holder()
            end_it = f"; if it hangs, end it: {holder.remedy}" if holder.remedy else ""
            raise LockNotObtained(
                f"another process holds {what}: {holder.who}. Gave up after {now - began:.0f} s, nothing was changed. "
                "If it is a long migration, run this again later or wait longer (--lock-wait, "
                f"MIGRATION_LOCK_WAIT_SECONDS){end_it}"
            )
        if now - told >= 1:
            told = now
            progress.waiting(f"{what} ({lock.holder().who})", now - began)
        sleep(min(pause, max(0.0, wait_seconds - (now - began))))
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


class _NoLock:
    def try_acquire(self) -> bool:
        return True

    def holder(self) -> Holder:
        return FREED

    def verify(self) -> None:
        """There is nothing to lose."""


def _is_file(database: str | None) -> bool:
    return bool(database) and database != ":memory:" and not str(database).startswith("file:")
