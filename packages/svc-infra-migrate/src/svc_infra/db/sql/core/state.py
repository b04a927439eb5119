"""Where the database and the revision files stand: current, heads, history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svc_infra.db.sql.core.command import Command, alembic_errors
from svc_infra.db.sql.core.errors import RevisionError
from svc_infra.db.sql.core.project import Project
from svc_infra.db.sql.core.revisions import Revision

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

__all__ = ["current", "heads", "history"]


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


def heads(*, project: Project | None = None) -> list[Revision]:
    """Return the revisions that no other builds upon; more than one means that branches wait to be merged."""
    command = Command(project)
    with alembic_errors():
        return [Revision.of(script) for script in command.scripts.get_revisions("heads")]


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
