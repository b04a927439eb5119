"""Filling a column of a big table in small steps while the service goes on writing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Table, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.core.backfill_state import BackfillState
from svc_infra.db.sql.core.effects import Effects
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.keyset import Key, Keyset
from svc_infra.db.sql.core.limits import Limits
from svc_infra.db.sql.core.progress import LoggedProgress, Progress
from svc_infra.db.sql.core.timeouts import is_lock_conflict, pause_seconds, timeouts
from svc_infra.db.sql.errors import StatementTimeout
from svc_infra.db.sql.translate import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BackfillProgress", "backfill"]

_LONGEST_STREAK = 10  # failures one after the other


@dataclass(frozen=True)
class BackfillProgress:
    """How far a backfill has come.

    Attributes:
        batches: Number of batches done by this run.
        rows: Number of rows changed, those of an earlier run that was cut off included.
        last_key: The last key that was looked at, the value itself for a key of one column; hand it to `after` to go on
            there.
        seconds: How long this run has taken, in seconds.
        share: Part of the key range that is done, from 0 to 1; None when keys are no numbers, UUIDs or times.
    """

    batches: int
    rows: int
    last_key: object
    seconds: float
    share: float | None


def backfill(
    connection: Connection,
    table: Table,
    values: Mapping[str, object],
    *,
    where: ColumnElement[bool] | None = None,
    key: str | Sequence[str] | None = None,
    name: str | None = None,
    batch_rows: int = 5000,
    pause_seconds: float = 0.05,
    max_rows_per_second: float | None = None,
    max_batch_seconds: float = 1.0,
    max_statement_seconds: float = 5.0,
    after: object = None,
    progress: Progress | None = None,
    on_progress: Callable[[BackfillProgress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> BackfillProgress:
    """Update all rows of a table, a batch of neighbouring keys at a time, each in a transaction of its own.

    Each statement touches one range of the key, so that none runs long, locks much, or reads what is done already. The
    number of rows in a batch adapts to `max_batch_seconds`; a batch that runs into `max_statement_seconds` or into
    another transaction is tried again with half the rows. Rows that are inserted behind the last key after the
    beginning are not touched: have the service fill them.

    In a revision it remembers how far it has come: a run that was cut off goes on behind its last batch, and no row is
    changed twice. Elsewhere that needs a `name`; while a backfill runs, a second one of the same name is refused.

    Args:
        connection: A connection that is in no transaction; in a revision `op.get_bind()` inside an autocommit block.
            The batches run on another one of its engine.
        table: The table, with at least its key and the columns in `values` and `where`.
        values: New values by column, usually expressions, as `{"full_name": t.c.first + " " + t.c.last}`.
        where: Which rows, usually those that are not done: `t.c.full_name.is_(None)`.
        key: Columns that together are unique, not nullable and indexed in this order, by default the primary key.
        name: Under which name to remember how far it has come.
        batch_rows: Rows in the first batch, at least 1.
        pause_seconds: Pause after each batch, for the rest of the service, in seconds.
        max_rows_per_second: Upper limit of the rows looked at per second, none by default.
        max_batch_seconds: How long one batch should take at most, in seconds.
        max_statement_seconds: When a statement is ended by the database, in seconds (PostgreSQL, MariaDB).
        after: Begin behind this key; a tuple for a key of several columns.
        progress: Shows a bar or lines; in a revision the one of the run, else the logger `svc_infra.migrate`.
        on_progress: Called after each batch.
        clock: Seconds since any beginning.
        sleep: Pauses for a number of seconds.

    Raises:
        LockNotObtained: Another process runs the backfill of this `name`.
        MigrationError: The table has no primary key and `key` names none, or the connection is in a transaction.
        ValueError: `batch_rows` is below 1.
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
    autocommits = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    if connection.in_transaction() and not autocommits:
        raise MigrationError(
            "backfill commits each batch, but the connection is in a transaction; in a revision put it into "
            "`with op.get_context().autocommit_block():`"
        )
    keyset = Keyset(table, key)
    effects = Effects.of(connection)
    title = f"{table.fullname} ({', '.join(values)})"
    if name is None and effects is not None:
        name = f"{effects.revision}: {title}"
    shown = progress or (effects.progress if effects is not None else LoggedProgress())
    limit_ms = int(max_statement_seconds * 1000)
    limits = Limits(lock_timeout_ms=limit_ms, lock_retries=0, statement_timeout_ms=limit_ms)
    with ExitStack() as stack:
        own = stack.enter_context(_own(connection))
        state = BackfillState(own, name, shown) if name is not None else None
        if state is not None and effects is None:  # a revision runs under the migration lock
            stack.enter_context(state.alone())
        stack.enter_context(timeouts(own, limits, shown))
        last, rows = state.open() if state is not None else (None, 0)
        if after is not None:
            last = after if isinstance(after, tuple) else (after,)
        first, end = keyset.first(own), keyset.last(own)
        own.commit()
        batches = _Batches(own, keyset, table, values, where, state, shown, sleep)
        rows_before, share_before = rows, keyset.share(first, last, end) if first and last and end else 0.0
        done = BackfillProgress(0, rows, _plain(last), 0.0, 1.0 if end is None else 0.0)
        began, size = clock(), batch_rows
        while first is not None and end is not None and last != end:
            batch_began = clock()
            last, rows, size = batches.next(last, end, size, rows)
            took = clock() - batch_began
            share = keyset.share(first, last, end)
            seconds = clock() - began
            done = BackfillProgress(done.batches + 1, rows, _plain(last), seconds, share)
            gained = (share or 0.0) - (share_before or 0.0)
            left = (1 - share) * seconds / gained if share is not None and gained > 0 else None
            shown.advanced(title, rows, share, rate=(rows - rows_before) / seconds if seconds > 0 else 0.0, left=left)
            if effects is not None:
                effects.keep(title, f"backfill of {title}: {rows} rows, up to the key {done.last_key} (goes on there)")
            if on_progress is not None:
                on_progress(done)
            rest = size / max_rows_per_second - took if max_rows_per_second else 0.0
            sleep(max(pause_seconds, rest))
            size = _next_size(size, took, max_batch_seconds)
        if state is not None:
            state.close()
    return done


@dataclass
class _Batches:
    """The batches, one after the other."""

    connection: Connection
    keyset: Keyset
    table: Table
    values: Mapping[str, object]
    where: ColumnElement[bool] | None
    state: BackfillState | None
    progress: Progress
    sleep: Callable[[float], None]

    def next(self, last: Key | None, end: Key, size: int, rows: int) -> tuple[Key, int, int]:
        """Do the batch behind `last` and return its last key, the rows changed so far, and its size in the end."""
        for failures in range(1, _LONGEST_STREAK + 2):
            try:
                upper = self.keyset.at(self.connection, size, after=last, until=end)
                rows_then = rows + self._update(last, upper)
                if self.state is not None:
                    self.state.advance(upper, rows_then)
                self.connection.commit()
            except DBAPIError as error:
                self.connection.rollback()
                if failures > _LONGEST_STREAK or not _is_too_big(error):
                    raise
                size, pause = max(1, size // 2), pause_seconds(failures)
                self.progress.note(
                    f"A batch of {self.table.fullname} ran into its limit or another transaction; "
                    f"trying {size} rows in {pause:.1f} s ({failures}/{_LONGEST_STREAK})"
                )
                self.sleep(pause)
            else:
                return upper, rows_then, size
        raise AssertionError("unreachable")

    def _update(self, last: Key | None, upper: Key) -> int:
        statement = update(self.table).where(self.keyset.up_to(self.connection, upper)).values(dict(self.values))
        if last is not None:
            statement = statement.where(self.keyset.behind(self.connection, last))
        if self.where is not None:
            statement = statement.where(self.where)
        return self.connection.execute(statement).rowcount


@contextmanager
def _own(connection: Connection) -> Iterator[Connection]:
    """Open another connection for the batches, whose settings end with it."""
    options = {**connection.get_execution_options()}
    options.pop("isolation_level", None)
    with connection.engine.connect().execution_options(**options) as own:
        own.detach()
        yield own


def _is_too_big(error: BaseException) -> bool:
    """Tell whether a smaller batch may succeed."""
    return is_lock_conflict(error) or isinstance(translate(error), StatementTimeout)


def _plain(key: Key | None) -> object:
    return key[0] if key is not None and len(key) == 1 else key


def _next_size(size: int, took: float, limit: float) -> int:
    """Halve after a batch that took too long, grow by half after a quick one."""
    if took > limit:
        return max(1, size // 2)
    return size + size // 2 if took < limit / 2 else size
