"""From models to a migrated database in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svc_infra.db.sql.core.connectivity import create_database
from svc_infra.db.sql.core.errors import ProjectNotFound
from svc_infra.db.sql.core.progress import Progress
from svc_infra.db.sql.core.project import Project, find_project
from svc_infra.db.sql.core.revisions import Revision, revision
from svc_infra.db.sql.core.scaffolding import init_alembic
from svc_infra.db.sql.core.state import current, heads
from svc_infra.db.sql.core.steps import upgrade

__all__ = ["SetupResult", "setup_and_migrate"]


@dataclass(frozen=True)
class SetupResult:
    """What was done.

    Attributes:
        database_created: Whether the database was not there before.
        environment_created: Whether the migration environment was not there before.
        revision: The revision that was written, or None when the models needed none.
        current: The revisions that the database is at now.
    """

    database_created: bool
    environment_created: bool
    revision: Revision | None
    current: tuple[Revision, ...]


def setup_and_migrate(
    *,
    overwrite_scaffold: bool = False,
    create_db_if_missing: bool = True,
    create_followup_revision: bool = True,
    initial_message: str = "initial schema",
    followup_message: str = "autogen",
    database_url: str | None = None,
    discover_packages: Sequence[str] | None = None,
    project: Project | None = None,
    progress: Progress | None = None,
) -> SetupResult:
    """Create what is missing of database, environment and revision, and apply all revisions.

    Args:
        overwrite_scaffold: Write `alembic.ini`, `env.py` and `script.py.mako` anew.
        create_db_if_missing: Create the database.
        create_followup_revision: Write a revision when the models differ from the revisions that are there.
        initial_message: Message of a first revision.
        followup_message: Message of a later one.
        database_url: The database, by default as `resolve_target` finds it.
        discover_packages: Packages to look for models in, for a new environment.
        project: The project, by default found from the working directory upwards, or made there.
        progress: Receives what happens when no project is given, the logger `svc_infra.migrate` by default.

    Raises:
        Refused: A revision that would lose data is needed; write it by `revision` and look at it.
    """
    made = False
    if project is None:
        try:
            project = find_project(progress=progress)
        except ProjectNotFound:
            init_alembic(discover_packages=discover_packages, progress=progress)
            project, made = find_project(progress=progress), True
    if overwrite_scaffold and not made:
        location = project.alembic_config().get_alembic_option("script_location") or "migrations"
        init_alembic(Path(str(location)), discover_packages=discover_packages, overwrite=True, directory=project.root)
    created = create_db_if_missing and create_database(database_url=database_url, project=project)
    upgrade("heads", database_url=database_url, project=project)
    first = not heads(project=project)
    written = None
    if first or create_followup_revision:
        written = revision(
            initial_message if first else followup_message,
            autogenerate=True,
            database_url=database_url,
            project=project,
        )
    if written is not None:
        upgrade("heads", database_url=database_url, project=project)
    return SetupResult(created, made, written, tuple(current(database_url=database_url, project=project)))
