"""Running a revision without a database, to learn its operations and its SQL."""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext

if TYPE_CHECKING:
    from alembic.script import Script

__all__ = ["Recorded", "record"]


@dataclass
class Recorded:
    """What a revision does when it is applied.

    Attributes:
        operations: Each operation with its line in the file and whether it runs in an autocommit block.
        sql: The statements.
        failure: Why the recording ended early, or None: the revision needs a database.
        failed_line: Where it ended in the file, from 1; 0 when it is unknown.
    """

    operations: list[tuple[ops.MigrateOperation, int, bool]] = field(default_factory=list)
    sql: str = ""
    failure: str | None = None
    failed_line: int = 0


def record(script: Script, dialect: str) -> Recorded:
    """Run `upgrade()` of a revision in offline mode.

    Args:
        script: The revision.
        dialect: Name of the database's dialect. SQLite's batch operations need a database; their operations are taken
            as PostgreSQL's.
    """
    recorded = Recorded()
    buffer = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql" if dialect == "sqlite" else dialect,
        dialect_opts={"paramstyle": "named"},
        opts={"as_sql": True, "output_buffer": buffer, "literal_binds": True, "transaction_per_migration": True},
    )
    in_autocommit = [False]
    original_block = context.autocommit_block

    @contextmanager
    def autocommit_block() -> Iterator[None]:
        in_autocommit[0] = True
        try:
            with original_block():
                yield
        finally:
            in_autocommit[0] = False

    context.autocommit_block = autocommit_block  # type: ignore[method-assign]
    with Operations.context(context) as operations, redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _watch(operations, recorded, script.path, in_autocommit)
        try:
            script.module.upgrade()
        except Exception as error:  # noqa: BLE001  whatever needs a database ends the recording, and is told
            recorded.failure = f"{type(error).__name__}: {error}"
            frames = traceback.extract_tb(error.__traceback__)
            recorded.failed_line = next((item.lineno or 0 for item in frames if item.filename == script.path), 0)
    recorded.sql = buffer.getvalue()
    return recorded


def _watch(operations: Operations, recorded: Recorded, path: str, in_autocommit: list[bool]) -> None:
    invoke, batch_alter_table = operations.invoke, operations.batch_alter_table

    def watched(operation: ops.MigrateOperation) -> object:
        recorded.operations.append((operation, _line_in(path), in_autocommit[0]))
        return invoke(operation)

    @contextmanager
    def batch(table_name: str, schema: str | None = None, **options: object) -> Iterator[object]:
        with batch_alter_table(table_name, schema, **{**options, "recreate": "never"}) as batch_operations:  # type: ignore[arg-type]
            inner = batch_operations.invoke

            def watched_in_batch(operation: ops.MigrateOperation) -> object:
                recorded.operations.append((operation, _line_in(path), in_autocommit[0]))
                return inner(operation)

            batch_operations.invoke = watched_in_batch  # type: ignore[method-assign, assignment]
            yield batch_operations

    operations.invoke = watched  # type: ignore[method-assign, assignment]
    operations.batch_alter_table = batch  # type: ignore[method-assign, assignment]


def _line_in(path: str) -> int:
    """Return the line of the revision file that is running."""
    frame = sys._getframe()  # noqa: SLF001
    while frame is not None:
        if frame.f_code.co_filename == path:
            return frame.f_lineno
        if frame.f_back is None:
            break
        frame = frame.f_back
    return 0
