"""Whether the database is what the revisions and the models say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.command import Command
from svc_infra.db.sql.core.errors import Drift, Pending
from svc_infra.db.sql.core.project import Project
from svc_infra.db.sql.core.revisions import Revision, new_revision_context

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from sqlalchemy import Dialect

__all__ = ["CheckResult", "check"]


@dataclass(frozen=True)
class CheckResult:
    """What stands between the database and the models.

    Attributes:
        pending: Revisions that are not applied, oldest first.
        differences: What autogenerate would still write, a line of words for each operation; empty while
            revisions are pending, because the comparison would repeat their changes.
    """

    pending: tuple[Revision, ...]
    differences: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is pending and nothing differs."""
        return not self.pending and not self.differences


def check(
    *,
    pending: bool = True,
    drift: bool = True,
    raise_on_difference: bool = True,
    database_url: str | None = None,
    project: Project | None = None,
) -> CheckResult:
    """Compare the database with the revisions, and then with the models.

    Args:
        pending: Look for revisions that are not applied.
        drift: Look for differences from the models.
        raise_on_difference: Raise instead of only returning what was found.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards.

    Raises:
        Pending: Revisions are not applied.
        Drift: The database differs from the models.
    """
    command = Command(project, database_url)
    unapplied: list[Revision] = []

    def work(recorded: tuple[str, ...], _: MigrationContext) -> None:
        steps = command.scripts._upgrade_revs("heads", recorded)  # type: ignore[arg-type]  # noqa: SLF001  as alembic.command does
        unapplied.extend(Revision.of(step.revision) for step in steps)

    command.read(work)
    differences = _differences(command) if drift and not unapplied else ()
    result = CheckResult(tuple(unapplied) if pending else (), differences)
    if raise_on_difference and result.pending:
        names = ", ".join(f"{item.revision} ({item.message})" for item in result.pending)
        raise Pending(f"{len(result.pending)} not applied: {names}; run `svc-infra sql upgrade`")
    if raise_on_difference and result.differences:
        raise Drift(
            "the database differs from the models:\n  "
            + "\n  ".join(result.differences)
            + '\nrun `svc-infra sql revision --autogenerate -m "..."`'
        )
    return result


def _differences(command: Command) -> tuple[str, ...]:
    from svc_infra.db.sql.core.operations import describe_operation, leaf_operations

    context = new_revision_context(command, autogenerate=True)

    dialects: list[Dialect] = []

    def work(recorded: tuple[str, ...], migration_context: MigrationContext) -> Iterable[RevisionStep]:
        context.run_autogenerate(recorded, migration_context)
        dialects.append(migration_context.dialect)
        return ()

    command.run(work, template_args=context.template_args, revision_context=context, dont_mutate=True)
    return tuple(
        describe_operation(operation, dialects[0])
        for script in context.generated_revisions
        for group in script.upgrade_ops_list
        for operation in leaf_operations(group)
    )
