"""Applying revisions one by one, each in a transaction of its own, by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from svc_infra.db.sql.core.effects import Effects
from svc_infra.db.sql.core.errors import MigrationError, MigrationFailed, RevisionError
from svc_infra.db.sql.core.failure import describe_failure, invalid_indexes
from svc_infra.db.sql.core.journal import Journal
from svc_infra.db.sql.core.limits import Limits
from svc_infra.db.sql.core.lock import MigrationLock, migration_lock
from svc_infra.db.sql.core.progress import Progress
from svc_infra.db.sql.core.session_locks import pooler_refused
from svc_infra.db.sql.core.timeouts import is_lock_conflict, pause_seconds, timeouts

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

__all__ = ["run_steps"]

StepFunction = Callable[["tuple[str, ...]", "MigrationContext"], "Iterable[RevisionStep]"]


@dataclass
class _Run:
    """How far a run has come."""

    progress: Progress
    effects: Effects
    lock: MigrationLock
    journal: Journal | None = None
    applied: list[str] = field(default_factory=list)
    revision: str | None = None
    message: str = ""
    upgrading: bool = True
    began: float = 0.0
    verified: float = field(default_factory=time.monotonic)

    def watch(self, steps: Iterable[RevisionStep]) -> Iterator[RevisionStep]:
        """Yield the steps; Alembic runs and commits each before it asks for the next one."""
        for step in steps:
            info = step.info
            self._verify_lock()
            self.revision, self.upgrading = str(info.up_revision_id), info.is_upgrade
            self.message = "stamp" if info.is_stamp else str(step.doc or "")
            self.effects.begin(self.revision)
            if self.journal is not None:
                self.journal.begin(self.revision)
            self.progress.started(self.revision, self.message, upgrading=self.upgrading)
            self.began = time.monotonic()
            yield step
            self.progress.finished(
                self.revision, self.message, upgrading=self.upgrading, seconds=time.monotonic() - self.began
            )
            if self.journal is not None:
                self.journal.finish()
            self.applied.append(self.revision)
            self.revision = None

    def _verify_lock(self) -> None:
        """Ask for the lock's session at most once a second: many small revisions take less."""
        now = time.monotonic()
        if now - self.verified >= 1:
            self.lock.verify()
            self.verified = now

    def fail(self, connection: Connection, error: Exception) -> MigrationFailed:
        """Tell that the run stops, and return its error; the transaction is rolled back already."""
        if self.revision is not None:
            seconds = time.monotonic() - self.began
            self.progress.failed(self.revision, self.message, upgrading=self.upgrading, seconds=seconds)
        return describe_failure(connection, self, error)


def run_steps(
    connection: Connection,
    progress: Progress,
    limits: Limits,
    configure: Callable[..., None],
    *,
    goes_through_pooler: bool = False,
) -> None:
    """Run the steps of an upgrade, downgrade or stamp.

    Nothing to do is found out without the lock. Otherwise the lock is taken, the steps are worked out again from what
    the database then records, and each is run in a transaction; one that did not get a table in time is run again.

    Args:
        connection: The connection to migrate on. When it is in a transaction, everything runs in that one, without lock
            and without another try: it is its owner who commits.
        progress: Hears of each step.
        limits: The bounds of the waits.
        configure: Alembic's `context.configure` with its options; called again for each attempt.
        goes_through_pooler: Whether the URL says so; other poolers are found out when the lock is taken.

    Raises:
        MigrationFailed: A step failed.
        LockNotObtained: Another process migrates.
        TargetNotResolved: The connection goes through a pooler that hands out a session per transaction.
    """
    migration_context = context.get_context()
    steps_of: StepFunction = migration_context.opts["fn"]
    if connection.in_transaction():
        context.run_migrations()
        return
    purges = bool(migration_context.opts.get("purge"))
    heads = () if purges else migration_context.get_current_heads()
    has_steps = bool(list(steps_of(heads, migration_context)))
    connection.rollback()
    if heads and not has_steps:
        progress.note(f"Nothing to do: the database is at {', '.join(heads)}")
        return
    if goes_through_pooler:
        raise pooler_refused()
    relative = _is_relative(migration_context.opts["destination_rev"])
    schema = migration_context.version_table_schema
    name = f"{schema}.{migration_context.version_table}" if schema else migration_context.version_table
    with ExitStack() as stack:
        lock = stack.enter_context(
            migration_lock(connection, name, wait_seconds=limits.lock_wait_seconds, progress=progress)
        )
        journal = None
        if connection.dialect.name in {"mysql", "mariadb"}:
            journal = stack.enter_context(Journal.open(connection.engine))
        effects = Effects(connection, progress, journal)
        run = _Run(progress, effects, lock, journal)

        def watched(recorded: tuple[str, ...], current: MigrationContext) -> Iterator[RevisionStep]:
            if relative and not run.applied and set(recorded) != set(heads):
                raise RevisionError(
                    f"another process moved the database from {', '.join(heads) or 'base'} to "
                    f"{', '.join(recorded) or 'base'} meanwhile; look at `svc-infra sql current` and decide again"
                )
            return run.watch(steps_of(recorded, current))

        with timeouts(connection, limits, progress), effects.watching():
            _attempts(connection, run, limits, configure=lambda: configure(fn=watched))
        if has_steps and not run.applied:
            progress.note("Nothing left to do: another process has migrated the database meanwhile")
        for index in invalid_indexes(connection):
            # IF NOT EXISTS passes over what a killed CREATE INDEX CONCURRENTLY left.
            progress.note(
                f"The index {index} is invalid: PostgreSQL maintains it and never uses it. Run DROP INDEX CONCURRENTLY "
                f"{index} and build it again"
            )


def _attempts(connection: Connection, run: _Run, limits: Limits, *, configure: Callable[[], None]) -> None:
    conflicts = 0
    last: str | None = None
    while True:
        configure()
        try:
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
        except SQLAlchemyError as error:
            _roll_back(connection)
            if run.journal is not None and run.effects.failed and run.revision is not None:
                run.journal.failed()
            if run.revision != last:
                conflicts, last = 0, run.revision
            conflicts += 1
            if conflicts > limits.lock_retries or run.effects.kept or not is_lock_conflict(error):
                raise run.fail(connection, error) from error
            pause = pause_seconds(conflicts)
            run.progress.note(
                f"A table that {run.revision} needs is in use; "
                f"trying again in {pause:.1f} s ({conflicts}/{limits.lock_retries})"
            )
            time.sleep(pause)
        except MigrationError:
            _roll_back(connection)
            raise
        except Exception as error:
            _roll_back(connection)
            if run.revision is None:
                raise
            raise run.fail(connection, error) from error
        else:
            return


def _roll_back(connection: Connection) -> None:
    """End the transaction, also on a connection that is lost."""
    try:
        connection.rollback()
    except SQLAlchemyError:
        connection.invalidate()


def _is_relative(destination: object) -> bool:
    """Tell whether a target counts from the revision that the database is at."""
    return isinstance(destination, str) and destination.startswith(("+", "-"))
