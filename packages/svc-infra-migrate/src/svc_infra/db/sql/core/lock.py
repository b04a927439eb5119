"""The lock that lets only one process migrate a database at a time.

It belongs to a session, so the database frees it when the process dies; a row in a table would stay for ever. The
session is a connection of its own in autocommit mode, and the lock is asked for again and again instead of waited
for in the database: a waiting statement holds a snapshot, which `CREATE INDEX CONCURRENTLY` in the other process waits
for in turn, and both would stand still.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from svc_infra.db.sql.core.errors import LockNotObtained, TargetNotResolved
from svc_infra.db.sql.core.progress import Progress

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MigrationLock", "migration_lock"]

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class MigrationLock(Protocol):
    """A lock that is held."""

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
    dialect = connection.dialect.name
    kinds: dict[str, type[_SessionLock]] = {"postgresql": _AdvisoryLock, "mysql": _NamedLock, "mariadb": _NamedLock}
    if dialect == "mssql":
        kinds[dialect] = _ApplicationLock
    lock: _SessionLock | _FileLock
    if dialect in kinds:
        lock = kinds[dialect](connection, name)
    elif dialect in {"sqlite", "duckdb"} and _is_file(connection.engine.url.database):
        lock = _FileLock(Path(str(connection.engine.url.database)).absolute())
    else:
        progress.note(f"No migration lock on {dialect}: make sure that one process migrates at a time")
        yield _NoLock()
        return
    with lock:
        _acquire(lock, wait_seconds, progress, clock, sleep)
        yield lock


def _acquire(
    lock: _SessionLock | _FileLock,
    wait_seconds: float,
    progress: Progress,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    began = told = clock()
    pause = _FIRST_PAUSE_SECONDS
    while not lock.try_acquire():
        now = clock()
        if now - began >= wait_seconds:
            raise LockNotObtained(
                f"another process held the migration lock for {now - began:.0f} s: {lock.holder()}. "
                "It may be a long migration; run again later, or wait longer (MIGRATION_LOCK_WAIT_SECONDS)"
            )
        if now - told >= 1:
            told = now
            progress.waiting(f"the migration lock ({lock.holder()})", now - began)
        sleep(min(pause, max(0.0, wait_seconds - (now - began))))
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


class _NoLock:
    def verify(self) -> None:
        """There is nothing to lose."""


class _SessionLock:
    """A lock of the database that ends with its session."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._other = connection
        self._name = name
        self._session: Connection

    def __enter__(self) -> Self:
        self._session = self._other.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Out of the pool of an engine that the caller brought, where it would keep the lock after it is given back.
        self._session.detach()
        try:
            self._prepare()
        except BaseException:
            self._session.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # It belongs to no pool: closing ends the session, and with it the lock.
        self._session.close()

    def _prepare(self) -> None:
        """Make the session fit to hold the lock for long."""

    def try_acquire(self) -> bool:
        raise NotImplementedError

    def holder(self) -> str:
        """Say who holds the lock, as far as the database tells."""
        return "the database does not tell which"

    def verify(self) -> None:
        from sqlalchemy.exc import DBAPIError

        try:
            self._session.exec_driver_sql("SELECT 1")
        except DBAPIError as error:
            raise LockNotObtained(
                "the connection that held the migration lock was closed, so another process may be migrating; "
                f"stopped before the next revision ({error.orig})"
            ) from error

    def _scalar(self, statement: str, **parameters: object) -> object:
        from sqlalchemy import text

        return self._session.execute(text(statement), parameters).scalar()


class _AdvisoryLock(_SessionLock):
    """PostgreSQL.

    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    """

    @property
    def _key(self) -> int:
        digest = hashlib.blake2b(f"svc-infra-migrate:{self._name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)

    def _prepare(self) -> None:
        major = (self._session.dialect.server_version_info or (0,))[0]
        if isinstance(major, int) and major >= 14:
            self._session.exec_driver_sql("SET idle_session_timeout = 0")
        self._refuse_pooler()

    def _refuse_pooler(self) -> None:
        """Refuse a pooler in transaction mode, where both of two clients get the lock and neither can give it back.

        Such a pooler shows in that two open connections share a server process, or one changes it.
        """
        if self._shares_a_session():
            raise TargetNotResolved(
                "the connection goes through a pooler in transaction mode, where a migration lock can't be held; "
                "set MIGRATION_DATABASE_URL to the database's direct URL (or a session-mode port)"
            )

    def _shares_a_session(self) -> bool:
        from sqlalchemy.exc import DBAPIError

        try:
            before = self._scalar("SELECT pg_backend_pid()")
            other = self._other.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            after = self._scalar("SELECT pg_backend_pid()")
        except DBAPIError as error:
            # invalid_sql_statement_name: the statement was prepared in another session than it is run in.
            if getattr(error.orig, "sqlstate", None) == "26000":
                return True
            raise
        finally:
            self._other.rollback()
        return before != after or other in {before, after}

    def try_acquire(self) -> bool:
        return bool(self._scalar("SELECT pg_try_advisory_lock(:key)", key=self._key))

    def holder(self) -> str:
        from sqlalchemy import text

        row = self._session.execute(
            text(
                "SELECT a.pid, a.usename, a.application_name, a.client_addr::text, a.backend_start::text"
                " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND (l.classid::bigint << 32 | l.objid::bigint) = :key"
            ),
            {"key": self._key},
        ).first()
        if row is None:
            return "it was freed just now"
        pid, user, application, address, since = row
        program = f" ({application})" if application else ""
        return f"server process {pid} of {user}{program} from {address or 'this host'} since {since}"


class _NamedLock(_SessionLock):
    """MySQL and MariaDB; the name counts for the whole server and has at most 64 characters.

    https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
    """

    @property
    def _key(self) -> str:
        database = self._session.engine.url.database or ""
        digest = hashlib.blake2b(f"{database}:{self._name}".encode(), digest_size=16).hexdigest()
        return f"svc-infra-migrate:{digest}"

    def _prepare(self) -> None:
        self._session.exec_driver_sql("SET SESSION wait_timeout = 604800")  # seconds; an idle session would be closed

    def try_acquire(self) -> bool:
        return self._scalar("SELECT GET_LOCK(:key, 0)", key=self._key) == 1

    def holder(self) -> str:
        connection = self._scalar("SELECT IS_USED_LOCK(:key)", key=self._key)
        return f"connection {connection} of the server" if connection is not None else "it was freed just now"


class _ApplicationLock(_SessionLock):
    """SQL Server.

    https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-getapplock-transact-sql
    """

    def try_acquire(self) -> bool:
        code = self._scalar(
            "DECLARE @code int; EXEC @code = sp_getapplock @Resource = :key, @LockMode = 'Exclusive', "
            "@LockOwner = 'Session', @LockTimeout = 0; SELECT @code",
            key=f"svc-infra-migrate:{self._name}"[:255],
        )
        return isinstance(code, int) and code >= 0


class _FileLock:
    """SQLite and DuckDB: a lock on a file beside the database, freed by the system when the process ends."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.migrate-lock")
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is None:
            return
        # Removed while it is locked: who opened it meanwhile notices in try_acquire that it is gone.
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def try_acquire(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if _lock_file(descriptor) and _is_same_file(descriptor, self._path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()}".encode())
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def holder(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8") or str(self._path)
        except OSError:
            return "it was freed just now"

    def verify(self) -> None:
        """The system keeps it as long as the process lives."""


def _lock_file(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_file(database: str | None) -> bool:
    return bool(database) and database != ":memory:" and not str(database).startswith("file:")
