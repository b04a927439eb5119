"""The locks of databases that are files: another file beside them, and for DuckDB the database's file itself."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.holder import FREED, Holder, name_this_process

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from svc_infra.dburl import ResolvedUrl

__all__ = ["FileLock", "OpenFile"]

T = TypeVar("T")


class FileLock:
    """SQLite and DuckDB.

    Args:
        database: The database's file.
        suffix: What the lock's file has behind the database's name and a dot.
    """

    def __init__(self, database: Path, suffix: str) -> None:
        self._path = database.with_name(f"{database.name}.{suffix}")
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
        """Take the lock when it is free, without waiting.

        Raises:
            MigrationError: The folder can't be written to.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise MigrationError(
                f"can't write {self._path}, which keeps other processes from doing the same ({error.strerror}); "
                "the user that migrates must be allowed to write the database file and its folder"
            ) from error
        if _lock_file(descriptor) and _is_same_file(descriptor, self._path):
            os.ftruncate(descriptor, 0)
            began = dt.datetime.now(dt.UTC).isoformat(" ", "seconds")
            os.write(descriptor, f"{name_this_process()} since {began}".encode())
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def holder(self) -> Holder:
        """Read what the process that holds it has written into it."""
        try:
            return Holder(self._path.read_text(encoding="utf-8") or str(self._path))
        except OSError:
            return FREED

    def verify(self) -> None:
        """Do nothing: the system keeps the lock as long as the process lives."""


class OpenFile(Generic[T]):
    """A run on a DuckDB file, which one process at a time can have open for writing.

    Args:
        target: The database.
        work: What to do with the connection.

    Attributes:
        results: What the work returned, once it has been done.
    """

    def __init__(self, target: ResolvedUrl, work: Callable[[Connection], T]) -> None:
        self._target, self._work = target, work
        self._is_open = False
        self._conflict = ""
        self.results: list[T] = []

    def try_acquire(self) -> bool:
        """Connect and do the work, unless another process has the file open."""
        from sqlalchemy.exc import DBAPIError

        from svc_infra.db.sql.core.connection import run_on_connection

        try:
            self.results.append(run_on_connection(self._target, self._run))
        except DBAPIError as error:
            # DuckDB has no codes, and one class for every trouble with a file.
            if self._is_open or "lock on file" not in str(error.orig):
                raise
            self._conflict = str(error.orig)
            return False
        return True

    def holder(self) -> Holder:
        """Say what DuckDB tells: the program and the number of the process."""
        found = re.search(r"held in (.+?)\.? See also", self._conflict)
        return Holder(found[1] if found else self._conflict)

    def _run(self, connection: Connection) -> T:
        self._is_open = True
        return self._work(connection)


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
