"""Starting over with an empty database, where that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.errors import Refused
from svc_infra.db.sql.core.project import Project, find_project
from svc_infra.db.sql.core.steps import upgrade
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from svc_infra.dburl import ResolvedUrl

__all__ = ["refuse_unless_meant", "reset"]

_ENVIRONMENT_VARIABLES = ("APP_ENV", "ENVIRONMENT", "ENV")
_DEVELOPMENT = frozenset({"", "dev", "develop", "development", "local", "test", "testing", "ci"})
_LOCAL_HOSTS = frozenset({None, "", "localhost", "127.0.0.1", "::1"})


def reset(*, yes: str | None = None, database_url: str | None = None, project: Project | None = None) -> None:
    """Drop everything in the database and apply all revisions.

    Args:
        yes: The database's name, needed outside development: when the host is not this one, or when `APP_ENV`,
            `ENVIRONMENT` or `ENV` is set to anything but a development environment.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards.

    Raises:
        Refused: It is not a development database and `yes` is not its name; nothing was done.
    """
    project = project or find_project()
    target = resolve_target(project, database_url)
    refuse_unless_meant(project, target, yes, "reset")
    run_blocking(lambda: run_on_connection(target, _drop_everything))
    project.progress.note(f"Emptied {target.url}")
    upgrade("heads", database_url=database_url, project=project)


def refuse_unless_meant(project: Project, target: ResolvedUrl, yes: str | None, what: str) -> None:
    """Raise unless the database is one for development, or named.

    Raises:
        Refused: It is neither; the message shows the database without its secrets.
    """
    name = target.url.database or ""
    if yes is not None:
        if yes == name:
            return
        raise Refused(
            f"{what} was told to go on for {yes!r}, but the database is {name!r} ({target.url}); nothing was done"
        )
    variable = next((item for item in _ENVIRONMENT_VARIABLES if project.variables.get(item, "").strip()), None)
    environment = project.variables.get(variable, "").strip().lower() if variable else ""
    if target.url.host in _LOCAL_HOSTS and environment in _DEVELOPMENT:
        return
    why = f"{variable} is {environment!r}" if environment not in _DEVELOPMENT else f"its host is {target.url.host}"
    raise Refused(
        f"{what} destroys the data of {target.url}, and this is not a development database ({why}); "
        f"if it is meant, pass its name: --yes {name}"
    )


def _drop_everything(connection: Connection) -> None:
    from sqlalchemy import MetaData

    if connection.dialect.name == "postgresql":
        schema = connection.dialect.identifier_preparer.quote(str(connection.dialect.default_schema_name))
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        connection.commit()
        return
    metadata = MetaData()
    metadata.reflect(connection, views=False)
    connection.rollback()
    if connection.dialect.name in {"mysql", "mariadb"}:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
    for table in reversed(metadata.sorted_tables):
        table.drop(connection)
    connection.commit()
