"""Whether the database answers, waiting until it does, and creating it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.target import resolve_target
from svc_infra.dburl import redact

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from svc_infra.dburl import ResolvedUrl

__all__ = ["create_database", "ping", "wait"]

_PAUSE_SECONDS = 0.5


def ping(*, database_url: str | None = None, project: Project | None = None) -> float:
    """Connect and ask the database for 1.

    Returns:
        How long it took, in seconds.

    Raises:
        MigrationError: It does not answer; the message has the reason.
    """
    project = project or any_project()
    target = resolve_target(project, database_url)
    began = time.monotonic()
    try:
        run_blocking(lambda: run_on_connection(target, _ask))
    except Exception as error:
        raise MigrationError(
            f"{redact(target.url)} (from {target.source}) does not answer: {_reason(error)}; "
            "`svc-infra url check` tries each step and says what to do"
        ) from error
    return time.monotonic() - began


def wait(
    timeout_seconds: float = 60,
    *,
    database_url: str | None = None,
    project: Project | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until the database answers.

    Args:
        timeout_seconds: How long to wait, in seconds.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.
        clock: Seconds since any beginning.
        sleep: Pauses for a number of seconds.

    Returns:
        How long it took, in seconds.

    Raises:
        MigrationError: It did not answer in time; the message has the last reason.
    """
    project = project or any_project()
    began = told = clock()
    while True:
        try:
            ping(database_url=database_url, project=project)
        except MigrationError as error:
            now = clock()
            if now - began >= timeout_seconds:
                raise MigrationError(f"gave up after {now - began:.0f} s: {error}") from error
            if now - told >= 1:
                told = now
                project.progress.waiting("the database", now - began)
            sleep(min(_PAUSE_SECONDS, max(0.0, timeout_seconds - (now - began))))
        else:
            return clock() - began


def create_database(*, database_url: str | None = None, project: Project | None = None) -> bool:
    """Create the database when it is not there: on the server that its URL names, or as a file.

    Returns:
        Whether it was created.

    Raises:
        MigrationError: The server does not answer, or the user may not create databases.
    """
    target = resolve_target(project or any_project(), database_url)
    name = target.url.database
    if target.dialect in {"sqlite", "duckdb"}:
        path = Path(name or "")
        if not name or name == ":memory:" or path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # an empty file is an empty SQLite database
        if target.dialect == "duckdb":
            path.unlink()
            run_blocking(lambda: run_on_connection(target, _ask))
        return True
    if not name:
        raise MigrationError(f"{redact(target.url)} names no database to create")
    try:
        return run_blocking(lambda: run_on_connection(_server_of(target), lambda connection: _create(connection, name)))
    except Exception as error:
        raise MigrationError(f"can't create {name}: {_reason(error)}") from error


def _create(connection: Connection, name: str) -> bool:
    from sqlalchemy import text

    dialect = connection.dialect.name
    quoted = connection.dialect.identifier_preparer.quote(name)
    lists = {
        "postgresql": "SELECT 1 FROM pg_database WHERE datname = :name",
        "mssql": "SELECT 1 FROM sys.databases WHERE name = :name",
    }
    query = lists.get(dialect, "SELECT 1 FROM information_schema.schemata WHERE schema_name = :name")
    exists = connection.execute(text(query), {"name": name}).first() is not None
    connection.rollback()
    if not exists:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"CREATE DATABASE {quoted}")
    return not exists


def _server_of(target: ResolvedUrl) -> ResolvedUrl:
    """Return the URL of a database that is always there."""
    from dataclasses import replace

    other = {"postgresql": "postgres", "mssql": "master"}.get(target.dialect)
    # URL.set() can't take a name away.
    url = target.url.set(database=other) if other else target.url._replace(database=None)
    return replace(target, url=url)


def _ask(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT 1")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip() or type(error).__name__
