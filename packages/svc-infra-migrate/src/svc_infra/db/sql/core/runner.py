"""Applying revisions one by one, each in a transaction of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import Connection

from svc_infra.db.sql.core.project import Project

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

__all__ = ["run_steps"]

StepFunction = Callable[["tuple[str, ...]", "MigrationContext"], "Iterable[RevisionStep]"]


def run_steps(connection: Connection, project: Project, configure: Callable[..., None]) -> None:
    """Run the steps of an upgrade, downgrade or stamp.

    Args:
        connection: The connection to migrate on, not in a transaction.
        project: Whose progress hears of each step.
        configure: Alembic's `context.configure` with its options; called again for each attempt.
    """
    steps_of: StepFunction = context.get_context().opts["fn"]

    def watched(heads: tuple[str, ...], migration_context: MigrationContext) -> Iterator[RevisionStep]:
        for step in steps_of(heads, migration_context):
            yield from _watch(step, project)

    configure(fn=watched)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


def _watch(step: RevisionStep, project: Project) -> Iterator[RevisionStep]:
    """Yield the step, and tell its beginning and its end."""
    info = step.info
    revision = (info.up_revision_ids if info.is_upgrade else info.down_revision_ids or info.up_revision_ids)[0]
    message = str(step.doc or "") if not info.is_stamp else "stamp"
    project.progress.started(revision, message, upgrading=info.is_upgrade)
    began = time.monotonic()
    yield step
    project.progress.finished(revision, message, upgrading=info.is_upgrade, seconds=time.monotonic() - began)
