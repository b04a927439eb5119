"""Databases that are files.

Opening one through its driver proves nothing: SQLite creates a file that is missing and answers `SELECT 1` on one that
is garbage, and DuckDB locks the file against the application that owns it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from svc_infra.health.errors import CheckFailed

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["path_of", "probe", "require"]


def path_of(url: URL) -> Path | None:
    """Return the file that the URL names; None for a server, and for a database in memory."""
    if url.get_backend_name() not in ("sqlite", "duckdb"):
        return None
    database = url.database or ""
    if database in ("", ":memory:") or database.startswith(("md:", "motherduck:")) or "mode=memory" in database:
        return None
    if database.startswith("file:"):
        database = database.removeprefix("file:").partition("?")[0]
    return Path(database)


def require(path: Path) -> None:
    """Raise unless the file exists.

    Raises:
        CheckFailed: There is no such file.
    """
    if not path.is_file():
        raise CheckFailed("missing", f"there is no database file at {path.resolve()}")


def probe(kind: str, path: Path, statement: str | None) -> object:
    """Read the database's own structures without creating or locking anything.

    Args:
        kind: "sqlite" or "duckdb".
        path: The file.
        statement: What to run on SQLite after its header was read.

    Raises:
        CheckFailed: The file is missing, or is no database.
    """
    require(path)
    return _probe_sqlite(path, statement) if kind == "sqlite" else _probe_duckdb(path)


def _probe_sqlite(path: Path, statement: str | None) -> object:
    # mode=rw never creates a file. The database is opened anew each time: a connection that was kept would go on
    # answering from a file that has been deleted.
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=0.5)
    try:
        value: object = connection.execute("PRAGMA schema_version").fetchone()[0]
        if statement is not None:
            row = connection.execute(statement).fetchone()
            value = row[0] if row else None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise CheckFailed("corrupt", f"{path} is not a readable SQLite database: {error}") from error
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return None  # another connection holds the file; the database is in use, so it is there
        raise
    else:
        return value
    finally:
        connection.close()


def _probe_duckdb(path: Path) -> object:
    # DuckDB allows one process to have a file open; opening it here could keep the application out.
    with path.open("rb") as file:
        header = file.read(12)
    # https://duckdb.org/docs/stable/internals/storage: a checksum of 8 bytes, then the magic.
    if header[8:12] != b"DUCK":
        raise CheckFailed("corrupt", f"{path} is not a DuckDB database")
    return None
