"""Where the database and the revision files stand: current, heads, history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.command import Command, alembic_errors
from svc_infra.db.sql.core.errors import RevisionError
from svc_infra.db.sql.core.project import Project
from svc_infra.db.sql.core.revisions import Revision

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

__all__ = ["Status", "branches", "current", "ensure_version", "heads", "history", "show", "status"]


@dataclass(frozen=True)
class Status:
    """Where a database stands.

    Attributes:
        database: Its URL, secrets hidden.
        source: The variable, file or argument that the URL came from.
        current: The revisions that it records, one for each branch.
        heads: The newest revisions.
        pending: The revisions that are not applied, oldest first.
        differences: What differs from the models, a line each; None when it was not compared: when it was not asked
            for, and while revisions are pending, whose changes the comparison would repeat.
    """

    database: str
    source: str
    current: tuple[Revision, ...]
    heads: tuple[Revision, ...]
    pending: tuple[Revision, ...]
    differences: tuple[str, ...] | None

    @property
    def ok(self) -> bool:
        """Whether nothing is pending, nothing differs, and every recorded revision has a file."""
        return not self.pending and not self.differences and all(item.path for item in self.current)


def status(*, drift: bool = True, database_url: str | None = None, project: Project | None = None) -> Status:
    """Tell which database is meant, where it stands, and what is missing.

    Args:
        drift: Compare with the models too, which imports them.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards.
    """
    from svc_infra.db.sql.core.drift import check
    from svc_infra.db.sql.core.target import resolve_target
    from svc_infra.dburl import redact

    command = Command(project, database_url)
    target = resolve_target(command.project, database_url, config=command.config)
    recorded = current(database_url=database_url, project=command.project)
    known = all(item.path for item in recorded)
    found = (
        check(drift=drift, raise_on_difference=False, database_url=database_url, project=command.project)
        if known
        else None
    )
    return Status(
        redact(target.url),
        target.source,
        tuple(recorded),
        tuple(heads(project=command.project)),
        found.pending if found else (),
        found.differences if found and drift and not found.pending else None,
    )


def show(revision: str, *, database_url: str | None = None, project: Project | None = None) -> list[Revision]:
    """Return the revisions that a name stands for: an id or its beginning, `head`, `heads`, `current`.

    Raises:
        UnknownRevision: There is none.
    """
    command = Command(project, database_url)
    if revision == "current":
        return current(database_url=database_url, project=command.project)
    with alembic_errors():
        return [Revision.of(script) for script in command.scripts.get_revisions(revision)]


def branches(*, project: Project | None = None) -> list[Revision]:
    """Return the revisions that more than one other builds upon."""
    command = Command(project)
    with alembic_errors():
        return [Revision.of(script) for script in command.scripts.walk_revisions() if script.is_branch_point]


def ensure_version(*, sql: bool = False, database_url: str | None = None, project: Project | None = None) -> None:
    """Create the version table when it is not there, or with `sql` write the statement to stdout."""
    command = Command(project, database_url)

    def work(_recorded: tuple[str, ...], context: MigrationContext) -> Iterable[RevisionStep]:
        context._ensure_version_table()  # noqa: SLF001  as alembic.command does
        return ()

    command.run(work, as_sql=sql)


def current(*, database_url: str | None = None, project: Project | None = None) -> list[Revision]:
    """Return the revisions that the database records, one for each branch; empty for a database without any.

    A revision that no file has is returned too, with an empty path.
    """
    command = Command(project, database_url)
    found: list[Revision] = []

    def work(recorded: tuple[str, ...], _: MigrationContext) -> None:
        found.extend(_describe(command, name) for name in recorded)

    command.read(work)
    return found


def heads(*, resolve_dependencies: bool = False, project: Project | None = None) -> list[Revision]:
    """Return the revisions that no other builds upon; more than one means that branches wait to be merged.

    Args:
        resolve_dependencies: Leave out those that another head depends on.
        project: The project, by default found from the working directory upwards.
    """
    command = Command(project)
    with alembic_errors():
        names = "heads" if resolve_dependencies else tuple(command.scripts.get_heads())
        return [Revision.of(script) for script in command.scripts.get_revisions(names)]


def history(
    rev_range: str | None = None, *, database_url: str | None = None, project: Project | None = None
) -> list[Revision]:
    """Return the revisions, newest first.

    Args:
        rev_range: `from:to`, each a revision, `base`, `head`, `current` or empty; None is all of them.
        database_url: The database to ask when the range says `current`.
        project: The project, by default found from the working directory upwards.

    Raises:
        RevisionError: The range has no colon or names no revision.
    """
    command = Command(project)
    base, colon, head = (rev_range or ":").strip().partition(":")
    if not colon:
        raise RevisionError(f"a history range is from:to, from: or :to, got {rev_range!r}")
    if "current" in {base, head}:
        recorded = [item.revision for item in current(database_url=database_url, project=command.project)]
        base, head = ((",".join(recorded) or "base") if name == "current" else name for name in (base, head))
    with alembic_errors():
        walked = command.scripts.walk_revisions(base=base or "base", head=head or "heads")
        return [Revision.of(script) for script in walked]


def _describe(command: Command, name: str) -> Revision:
    """Describe a recorded revision, which may have no file."""
    from alembic.util import CommandError

    try:
        return Revision.of(command.scripts.get_revision(name))
    except CommandError:
        return Revision.without_file(name)
