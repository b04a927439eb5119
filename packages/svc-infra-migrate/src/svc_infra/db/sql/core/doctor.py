"""Looking for what would stop a migration, before one is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from svc_infra.db.sql.core.connectivity import ping
from svc_infra.db.sql.core.discovery import discover_models
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.limits import Limits
from svc_infra.db.sql.core.project import Project, find_project
from svc_infra.db.sql.core.state import current, heads, history
from svc_infra.db.sql.core.target import resolve_target

__all__ = ["Examination", "doctor"]


@dataclass(frozen=True)
class Examination:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        ok: Whether it is in order.
        detail: What was found, or what is wrong and what to do.
    """

    name: str
    ok: bool
    detail: str


def doctor(*, database_url: str | None = None, project: Project | None = None) -> list[Examination]:
    """Look at configuration, revision files, models, database and pooler.

    Args:
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards.

    Returns:
        What was found, in order; nothing is raised for what is wrong.
    """
    results: list[Examination] = []

    def examine(name: str, look: Callable[[], str]) -> bool:
        try:
            results.append(Examination(name, ok=True, detail=look()))
        except Exception as error:  # noqa: BLE001  each problem is a line of the answer
            results.append(Examination(name, ok=False, detail=str(getattr(error, "orig", None) or error).strip()))
        return results[-1].ok

    found: list[Project] = [project] if project is not None else []
    if not found and not examine("configuration", lambda: str(_remember(found).root)):
        return results
    chosen = found[0]
    examine("revisions", lambda: _revisions(chosen))
    examine("limits", lambda: _limits(chosen))
    examine("models", lambda: _models(chosen))
    if examine("database URL", lambda: _target(chosen, database_url)) and examine(
        "connection", lambda: f"answers in {ping(database_url=database_url, project=chosen) * 1000:.0f} ms"
    ):
        examine("recorded revision", lambda: _recorded(chosen, database_url))
    return results


def _remember(found: list[Project]) -> Project:
    found.append(find_project())
    return found[0]


def _revisions(project: Project) -> str:
    every, newest = history(project=project), heads(project=project)
    if len(newest) > 1:
        names = ", ".join(item.revision for item in newest)
        raise MigrationError(f"{len(newest)} heads ({names}); join them with `svc-infra sql merge heads`")
    too_long = [item.revision for item in every if len(item.revision) > 32]
    if too_long:
        raise MigrationError(f"longer than the 32 characters that the version table holds: {', '.join(too_long)}")
    return f"{len(every)} file{'s'[: len(every) != 1]}, head {newest[0].revision if newest else 'none'}"


def _limits(project: Project) -> str:
    limits = Limits.from_environ(project.variables)
    waits = f"lock timeout {limits.lock_timeout_ms} ms, {limits.lock_retries} tries more"
    return f"{waits}, wait for others {limits.lock_wait_seconds:.0f} s"


def _models(project: Project) -> str:
    named = [name.strip() for name in project.variables.get("ALEMBIC_DISCOVER_PACKAGES", "").split(",") if name.strip()]
    return discover_models(project.source_roots, named).describe()


def _target(project: Project, database_url: str | None) -> str:
    target = resolve_target(project, database_url)
    if target.pooler:
        raise MigrationError(
            f"{target.url} ({target.source}) is a pooler in transaction mode; "
            "set MIGRATION_DATABASE_URL to the direct URL"
        )
    return f"{target.url} (from {target.source})"


def _recorded(project: Project, database_url: str | None) -> str:
    recorded = current(database_url=database_url, project=project)
    unknown = [item.revision for item in recorded if not item.path]
    if unknown:
        raise MigrationError(
            f"the database records {', '.join(unknown)}, which no file has; get the branch that has it"
        )
    return ", ".join(item.revision for item in recorded) or "none yet"
