"""Copying a whole database into a file and back, by the database's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.reset import refuse_unless_meant
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from svc_infra.dburl import ResolvedUrl

__all__ = ["dump", "restore"]

_LONGEST_SECONDS = 24 * 3600


def dump(path: str | os.PathLike[str], *, database_url: str | None = None, project: Project | None = None) -> Path:
    """Write the database into a file: `pg_dump`'s custom format, `mysqldump`'s SQL, or a copy of the SQLite file.

    Args:
        path: The file; it must not be there yet. It appears only when it is complete.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.

    Raises:
        MigrationError: The file is there, the program is not installed or it failed; no file is left.
    """
    target = resolve_target(project or any_project(), database_url)
    final = Path(path).absolute()
    if final.exists():
        raise MigrationError(f"{final} is there already; choose another name")
    partial = final.with_name(f"{final.name}.partial")
    try:
        if target.dialect == "sqlite":
            _copy_sqlite(Path(str(target.url.database)), partial)
        elif target.dialect == "postgresql":
            _run(["pg_dump", "--format=custom", "--no-owner", f"--file={partial}"], target)
        elif target.dialect in {"mysql", "mariadb"}:
            program = "mariadb-dump" if shutil.which("mariadb-dump") else "mysqldump"
            _run([program, "--single-transaction", "--routines", f"--result-file={partial}", *_mysql(target)], target)
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

    Args:
        path: A file that `dump` wrote.
        yes: The database's name, needed outside development.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.

    Raises:
        MigrationError: The file is missing, the program is not installed or it failed.
        Refused: It is not a development database and `yes` is not its name; nothing was done.
    """
    project = project or any_project()
    target = resolve_target(project, database_url)
    source = Path(path).absolute()
    if not source.is_file():
        raise MigrationError(f"there is no file {source} to restore from")
    refuse_unless_meant(project, target, yes, "restore")
    if target.dialect == "sqlite":
        _copy_sqlite(source, Path(str(target.url.database)))
    elif target.dialect == "postgresql":
        name = target.url.database or ""
        _run(
            [
                "pg_restore",
                "--clean",
                "--if-exists",
                "--no-owner",
                "--single-transaction",
                f"--dbname={name}",
                str(source),
            ],
            target,
        )
    elif target.dialect in {"mysql", "mariadb"}:
        program = "mariadb" if shutil.which("mariadb") else "mysql"
        with source.open("rb") as stream:
            _run([program, *_mysql(target)], target, stdin=stream.fileno())
    else:
        raise MigrationError(f"restore does not know {target.dialect}; use the database's own tools")


def _copy_sqlite(source: Path, destination: Path) -> None:
    """Copy by SQLite's backup interface, which is consistent while others write."""
    import sqlite3
    from contextlib import closing

    if not source.is_file():
        raise MigrationError(f"there is no database {source}")
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(destination)) as new:
            old.backup(new)
    except sqlite3.Error as error:
        raise MigrationError(f"can't copy {source} to {destination}: {error}") from error


def _mysql(target: ResolvedUrl) -> list[str]:
    url = target.url
    options = [f"--host={url.host or 'localhost'}", f"--port={url.port or 3306}", f"--user={url.username or ''}"]
    return [*options, str(url.database)]


def _run(command: list[str], target: ResolvedUrl, stdin: int | None = None) -> None:
    """Run a program of the database; the password goes by the environment, where other users don't see it."""
    program = shutil.which(command[0])
    if program is None:
        raise MigrationError(f"{command[0]} is not installed; it comes with the database's client programs")
    password = target.password() if target.password is not None else str(target.url.password or "")
    url = target.url
    environ = {**os.environ, "PGPASSWORD": password, "MYSQL_PWD": password}
    environ |= {
        "PGHOST": url.host or "",
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username or "",
        "PGDATABASE": url.database or "",
    }
    ssl = target.with_mode("async").connect_args.get("ssl")
    environ["PGSSLMODE"] = ssl if isinstance(ssl, str) else "disable" if ssl is False else "prefer"
    done = subprocess.run(  # noqa: S603
        [program, *command[1:]],
        env=environ,
        stdin=stdin if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise MigrationError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
