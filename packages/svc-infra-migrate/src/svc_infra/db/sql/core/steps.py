"""Moving the database along the revisions: upgrade, downgrade, stamp."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from svc_infra.db.sql.core.command import Command
from svc_infra.db.sql.core.errors import RevisionError
from svc_infra.db.sql.core.project import Project

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

__all__ = ["downgrade", "stamp", "upgrade"]


def upgrade(
    revision: str = "head",
    *,
    database_url: str | None = None,
    sql: bool = False,
    tag: str | None = None,
    project: Project | None = None,
    output: TextIO | None = None,
) -> None:
    """Apply the revisions up to `revision`, each in a transaction of its own.

    Works from sync code and from inside a running event loop, which waits until it is done.

    Args:
        revision: A revision, its unambiguous beginning, `head`, `heads`, `+2`, `branch@head`, or with `sql` a range
            `from:to`.
        database_url: The database, by default as `resolve_target` finds it.
        sql: Write the SQL instead of running it; needs neither database nor driver.
        tag: Handed to the project's own `env.py`.
        project: The project, by default found from the working directory upwards.
        output: Where SQL goes, stdout by default; what a revision prints goes to stdout too.

    Raises:
        MigrationFailed: A revision failed; the message says what is applied and what stayed of it.
        UnknownRevision: There is no such revision, or the database records one that has no file.
        MultipleHeads: `head` is ambiguous; merge the heads or ask for `heads`.
    """
    command = Command(project, database_url, output=output)
    start, target = _split_range(revision, sql=sql)

    def work(heads: tuple[str, ...], _: MigrationContext) -> Iterable[RevisionStep]:
        return command.scripts._upgrade_revs(target, heads)  # type: ignore[arg-type]  # noqa: SLF001  alembic.command's own way

    command.run(work, as_sql=sql, starting_rev=start, destination_rev=target, tag=tag)


def downgrade(
    revision: str | None = None,
    *,
    steps: int | None = None,
    database_url: str | None = None,
    sql: bool = False,
    tag: str | None = None,
    project: Project | None = None,
    output: TextIO | None = None,
) -> None:
    """Undo revisions down to `revision`, or the last `steps` of them; one step by default.

    Args:
        revision: A revision to end at, `base`, `-2`, or with `sql` a range `from:to`.
        steps: Number of revisions to undo, at least 1; not together with `revision`.
        database_url: The database, by default as `resolve_target` finds it.
        sql: Write the SQL instead of running it.
        tag: Handed to the project's own `env.py`.
        project: The project, by default found from the working directory upwards.
        output: Where SQL goes, stdout by default.

    Raises:
        ValueError: Both `revision` and `steps` are given, or `steps` is below 1.
        MigrationFailed: A revision failed; the message says what is undone and what stayed of it.
    """
    if revision is not None and steps is not None:
        raise ValueError(f"downgrade takes a revision or steps, not both (got {revision!r} and {steps})")
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    command = Command(project, database_url, output=output)
    start, target = _split_range(revision or f"-{steps or 1}", sql=sql)
    if sql and start is None:
        raise RevisionError("downgrade with --sql needs a range, from:to, because it does not ask the database")

    def work(heads: tuple[str, ...], _: MigrationContext) -> Iterable[RevisionStep]:
        return command.scripts._downgrade_revs(target, heads)  # type: ignore[arg-type]  # noqa: SLF001  alembic.command's own way

    command.run(work, as_sql=sql, starting_rev=start, destination_rev=target, tag=tag)


def stamp(
    revision: str | Sequence[str] = "head",
    *,
    database_url: str | None = None,
    sql: bool = False,
    tag: str | None = None,
    purge: bool = False,
    project: Project | None = None,
    output: TextIO | None = None,
) -> None:
    """Record that the database is at `revision` without running anything; for a database that is there already.

    Args:
        revision: One revision or several (for several branches), `head`, `heads` or `base`.
        database_url: The database, by default as `resolve_target` finds it.
        sql: Write the SQL instead of running it.
        tag: Handed to the project's own `env.py`.
        purge: Forget every recorded revision first, also such that have no file.
        project: The project, by default found from the working directory upwards.
        output: Where SQL goes, stdout by default.
    """
    command = Command(project, database_url, output=output)
    named = (revision,) if isinstance(revision, str) else tuple(revision)
    ranges = [_split_range(name, sql=sql) for name in named]
    starts = {start for start, _ in ranges if start is not None}
    if len(starts) > 1:
        raise RevisionError(f"stamp with --sql takes one starting revision, got {', '.join(sorted(starts))}")
    targets = tuple(target for _, target in ranges)

    def work(heads: tuple[str, ...], _: MigrationContext) -> Iterable[RevisionStep]:
        return command.scripts._stamp_revs(targets, heads)  # type: ignore[return-value]  # noqa: SLF001  alembic.command's own way

    command.run(work, as_sql=sql, starting_rev=next(iter(starts), None), destination_rev=targets, tag=tag, purge=purge)


def _split_range(revision: str, *, sql: bool) -> tuple[str | None, str]:
    """Split `from:to`, which only offline mode takes."""
    start, colon, target = revision.partition(":")
    if not colon:
        return None, revision
    if not sql:
        raise RevisionError(f"a range like {revision} is for --sql; name the revision to end at")
    return start or None, target
