"""The database that migrations run on."""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.errors import TargetNotResolved
from svc_infra.db.sql.core.project import Project

if TYPE_CHECKING:
    from alembic.config import Config
    from svc_infra.dburl import ResolvedUrl

__all__ = ["resolve_target"]

# What Alembic's own template writes; it stands for "not set".
_PLACEHOLDER = "driver://"
# Their SQLAlchemy drivers for sync code do the same work with one layer less.
_SYNC_BACKENDS = frozenset({"sqlite", "duckdb", "mssql", "snowflake"})


def resolve_target(
    project: Project, database_url: str | None = None, *, config: Config | None = None
) -> ResolvedUrl:
    """Resolve the URL of the database to migrate.

    Order: `database_url`; `sqlalchemy.url` in the configuration file, which one file per environment may set; the
    variable `MIGRATION_DATABASE_URL`, for a direct connection where the service goes through a pooler; then the order
    of `svc_infra.dburl`. A relative SQLite path counts from the working directory in `database_url`, from the
    project's root anywhere else, so that every folder of the project means the same file.

    Raises:
        TargetNotResolved: None of them is set, or the URL can't be used; the message lists the places.
    """
    from svc_infra.dburl import DatabaseUrlError, resolve_database_url, resolve_url

    named = [
        ("argument", database_url),
        (f"sqlalchemy.url in {project.ini_file}", _configured_url(config or project.alembic_config(), project.section)),
        ("MIGRATION_DATABASE_URL", _variable(project, "MIGRATION_DATABASE_URL")),
    ]
    try:
        for source, text in named:
            if text:
                resolved = resolve_url(text, environ=project.environ, source=source)
                return _for_migrations(resolved, None if source == "argument" else project)
        env_file = project.root / ".env"
        resolved = resolve_database_url(project.environ, env_file=env_file if env_file.is_file() else None)
        return _for_migrations(resolved, project)
    except DatabaseUrlError as error:
        raise TargetNotResolved(str(error)) from error


def _for_migrations(resolved: ResolvedUrl, project: Project | None) -> ResolvedUrl:
    """Choose the sync driver where that is the simpler way, and anchor a relative SQLite path."""
    from dataclasses import replace
    from pathlib import Path

    backend = resolved.url.get_backend_name()
    if backend in _SYNC_BACKENDS:
        resolved = resolved.with_mode("sync")
    path = resolved.url.database
    is_file = backend in {"sqlite", "duckdb"} and path and path != ":memory:" and not path.startswith("file:")
    if project is not None and is_file and path and not Path(path).is_absolute():
        resolved = replace(resolved, url=resolved.url.set(database=str(project.root / path)))
    return resolved


def _configured_url(config: Config, section: str) -> str | None:
    """Return `sqlalchemy.url`, also where a % of a password was not doubled as the file format asks."""
    parser = config.file_config
    if not parser.has_option(section, "sqlalchemy.url"):
        return None
    try:
        text = parser.get(section, "sqlalchemy.url")
    except configparser.InterpolationError:
        text = parser.get(section, "sqlalchemy.url", raw=True).replace("%%", "%")
    return text if text.strip() and not text.startswith(_PLACEHOLDER) else None


def _variable(project: Project, name: str) -> str | None:
    """Read a variable from the environment, else from the project's `.env`."""
    value = project.environ.get(name, "").strip()
    return value or None
