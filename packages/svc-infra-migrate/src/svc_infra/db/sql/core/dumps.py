"""Copying a whole database into a file and back, by the database's own programs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.client_programs import ClientPrograms
from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.errors import MigrationError, Refused
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.reset import refuse_unless_meant
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from sqlalchemy import Connection


__all__ = ["dump", "restore"]

_BUSY_SECONDS = 60
_MYSQL_END = b"-- Dump completed"


def dump(path: str | os.PathLike[str], *, database_url: str | None = None, project: Project | None = None) -> Path:
    """Write the database into a file: `pg_dump`'s custom format, `mysqldump`'s SQL, or a copy of the SQLite file.

    Args:
        path: The file; it must not be there yet. It appears only when it is complete.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.

    Raises:
        MigrationError: The file is there, the program is not installed or it failed; no file is left.
    """
    project = project or any_project()
    target = resolve_target(project, database_url)
    programs = ClientPrograms(target, project.environ)
    final = Path(path).absolute()
    if final.exists():
        raise MigrationError(f"{final} is there already; choose another name")
    partial = final.with_name(f"{final.name}.partial")
    try:
        if target.dialect == "sqlite":
            _copy_sqlite(Path(str(target.url.database)), partial)
        elif target.dialect == "postgresql":
            programs.dump_postgresql(partial)
        elif target.dialect in {"mysql", "mariadb"}:
            programs.dump_mysql(partial)
        else:
            raise MigrationError(f"dump does not know {target.dialect}; use the database's own tools")
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)
    return final


def restore(
    path: str | os.PathLike[str],
    *,
    yes: str | None = None,
    database_url: str | None = None,
    project: Project | None = None,
) -> None:
    """Replace the database's content by a dump.

    PostgreSQL's is replaced in one transaction, SQLite's by one copy; MySQL's statement by statement, so that a failure
    leaves half of it. Tables that the dump does not have stay, on SQLite they go.

    Args:
        path: A file that `dump` wrote.
        yes: The database's name, needed outside development, and everywhere for a database that has tables.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.

    Raises:
        MigrationError: The file is missing or cut off, the program is not installed or it failed.
        Refused: The database is not empty or not one for development, and `yes` is not its name; nothing was done.
    """
    project = project or any_project()
    target = resolve_target(project, database_url)
    source = Path(path).absolute()
    if not source.is_file():
        raise MigrationError(f"there is no file {source} to restore from")
    refuse_unless_meant(project, target, yes, "restore")
    if target.dialect not in {"sqlite", "postgresql", "mysql", "mariadb"}:
        raise MigrationError(f"restore does not know {target.dialect}; use the database's own tools")
    if yes is None and (names := run_blocking(lambda: run_on_connection(target, _table_names))):
        raise Refused(
            f"{target.url} is not empty: it has {len(names)} tables ({', '.join(names[:5])} ...), which restore would "
            f"replace; if it is meant, pass its name: --yes {target.url.database}"
        )
    programs = ClientPrograms(target, project.environ)
    if target.dialect == "sqlite":
        _copy_sqlite(source, Path(str(target.url.database)))
    elif target.dialect == "postgresql":
        programs.restore_postgresql(source)
    else:
        with source.open("rb") as stream:
            stream.seek(max(0, source.stat().st_size - 200))
            if _MYSQL_END not in stream.read():
                raise MigrationError(f"{source} is cut off, or no dump: its end is missing; nothing was done")
        programs.restore_mysql(source)


def _table_names(connection: Connection) -> list[str]:
    from sqlalchemy import inspect

    return inspect(connection).get_table_names()


def _copy_sqlite(source: Path, destination: Path) -> None:
    """Copy by SQLite's backup interface: one moment of the source, also while others write."""
    import sqlite3
    from contextlib import closing

    if not source.is_file():
        raise MigrationError(f"there is no database {source}")
    deadline = time.monotonic() + _BUSY_SECONDS

    def give_up_when_late(status: int, _remaining: int, _total: int) -> None:
        # The interface itself tries a locked destination again without end.
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > deadline:
            raise MigrationError(f"{destination} was in use for {_BUSY_SECONDS} s; stop what uses it and try again")

    try:
        with (
            closing(sqlite3.connect(source, timeout=_BUSY_SECONDS, isolation_level=None)) as old,
            closing(sqlite3.connect(destination)) as new,
        ):
            # A read transaction keeps writers from getting ahead of the copy again and again.
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_master").fetchone()
            old.backup(new, progress=give_up_when_late)
    except sqlite3.Error as error:
        raise MigrationError(f"can't copy {source} to {destination}: {error}") from error
