"""The database that migrations run on."""

from __future__ import annotations

import configparser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from svc_infra.db.sql.core.errors import TargetNotResolved
from svc_infra.db.sql.core.project import Project

if TYPE_CHECKING:
    from alembic.config import Config

    from svc_infra.dburl import ResolvedUrl

__all__ = ["resolve_target"]

# What Alembic's own template writes; it stands for "not set".
_PLACEHOLDER = "driver://"
# Their drivers for sync code do the same work with one layer less.
_SYNC_DIALECTS = frozenset({"sqlite", "duckdb", "mssql", "snowflake"})


def resolve_target(
    project: Project, database_url: str | None = None, *, config: Config | None = None, needs_driver: bool = True
) -> ResolvedUrl:
    """Resolve the URL of the database to migrate.

    Order: `database_url`; `sqlalchemy.url` in the configuration file, which one file per environment may set; the
    variable `MIGRATION_DATABASE_URL`, for a direct connection where the service goes through a pooler; then the order
    of `svc_infra.dburl`. A relative SQLite path counts from the working directory in `database_url`, from the
    project's root anywhere else, so that every folder of the project means the same file.

    Args:
        project: Whose configuration and environment are asked.
        database_url: A URL that goes before all of them.
        config: Alembic's configuration, when it is read already.
        needs_driver: False takes the driver that would be chosen if every one were installed, for offline mode.

    Raises:
        TargetNotResolved: None of them is set, or the URL can't be used; the message lists the places.
    """
    from svc_infra.dburl import DatabaseUrlError, MissingDriver, resolve_database_url, resolve_url

    places = (
        ("--database-url", database_url),
        (f"sqlalchemy.url in {project.ini_file}", _configured_url(project, config)),
        ("MIGRATION_DATABASE_URL", project.variables.get("MIGRATION_DATABASE_URL", "").strip()),
    )
    find, parse = resolve_database_url, resolve_url
    if not needs_driver:
        find, parse = partial(find, installed=_is_assumed), partial(parse, installed=_is_assumed)

    def resolve(mode: Literal["async", "sync"]) -> ResolvedUrl:
        for source, text in places:
            if text:
                return parse(text, environ=project.variables, mode=mode, source=source)
        return find(project.environ, env_file=project.env_file, mode=mode)

    try:
        try:
            resolved = resolve("async")
        except MissingDriver as missing:
            try:
                resolved = resolve("sync")
            except MissingDriver:
                raise missing from None
        if resolved.dialect in _SYNC_DIALECTS:
            resolved = resolved.with_mode("sync")
    except DatabaseUrlError as error:
        raise TargetNotResolved(str(error)) from error
    return _anchored(resolved, Path.cwd() if database_url else project.root)


def _is_assumed(_module: str) -> bool:
    return True


def _anchored(resolved: ResolvedUrl, folder: Path) -> ResolvedUrl:
    """Make the path of a database file absolute."""
    path = resolved.url.database
    is_file = resolved.dialect in {"sqlite", "duckdb"} and path and path != ":memory:" and ":" not in path.split("/")[0]
    if not is_file or not path or Path(path).is_absolute():
        return resolved
    return resolved.with_database(str(folder / path))


def _configured_url(project: Project, config: Config | None) -> str | None:
    """Return `sqlalchemy.url`, also where a % of a password was not doubled as the file format asks."""
    if project.ini_file is None:
        return None
    parser, section = (config or project.alembic_config()).file_config, project.section
    if not parser.has_option(section, "sqlalchemy.url"):
        return None
    try:
        text = parser.get(section, "sqlalchemy.url")
    except configparser.InterpolationError:
        text = parser.get(section, "sqlalchemy.url", raw=True).replace("%%", "%")
    return text if text.strip() and not text.startswith(_PLACEHOLDER) else None
