"""Filling a column of a big table in small steps while the service goes on writing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, Table, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.core.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BackfillProgress", "backfill"]


@dataclass(frozen=True)
class BackfillProgress:
    """How far a backfill has come.

    Attributes:
        batches: Number of batches done.
        rows: Number of rows changed.
        last_key: The last key that was looked at; hand it to `after` to go on there.
        seconds: How long it has taken, in seconds.
        share: Part of the key range that is done, from 0 to 1; None when keys are no numbers.
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
    key: str | None = None,
    batch_rows: int = 5000,
    pause_seconds: float = 0.05,
    max_batch_seconds: float = 1.0,
    after: object = None,
    on_progress: Callable[[BackfillProgress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> BackfillProgress:
    """Update all rows of a table, a batch of neighbouring keys at a time, each in a transaction of its own.

    Each statement touches one range of the key, so that none runs long, locks much, or reads what is done already. The
    number of rows in a batch adapts to `max_batch_seconds`. Interrupted, it goes on from `after`, or from the beginning
    with a `where` that leaves out the rows that are done.

    Args:
        connection: A connection that is in no transaction; in a revision `op.get_bind()` inside an autocommit block.
        table: The table, with at least its key and the columns in `values` and `where`.
        values: New values by column, usually expressions, as `{"full_name": t.c.first + " " + t.c.last}`.
        where: Which rows, usually those that are not done: `t.c.full_name.is_(None)`.
        key: A unique, not nullable column with an index, by default the primary key.
        batch_rows: Rows in the first batch, at least 1.
        pause_seconds: Pause after each batch, for the rest of the service, in seconds.
        max_batch_seconds: How long one batch should take at most, in seconds.
        after: Begin behind this key.
        on_progress: Called after each batch.
        clock: Seconds since any beginning.
        sleep: Pauses for a number of seconds.

    Raises:
        MigrationError: The table has no single-column primary key and `key` names none, or the connection is in a
            transaction.
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
    column = _key_of(table, key)
    began = clock()
    first, end = connection.execute(select(func.min(column), func.max(column))).one()
    _commit(connection, autocommits)
    done = BackfillProgress(0, 0, after, 0.0, 1.0 if end is None else 0.0)
    size = batch_rows
    while end is not None:
        batch_began = clock()
        upper = _end_of_batch(connection, column, done.last_key, size, end)
        if upper is None:
            _commit(connection, autocommits)
            break
        statement = update(table).where(column <= upper).values(dict(values))
        if done.last_key is not None:
            statement = statement.where(column > done.last_key)
        if where is not None:
            statement = statement.where(where)
        changed = connection.execute(statement).rowcount
        _commit(connection, autocommits)
        took = clock() - batch_began
        done = BackfillProgress(
            done.batches + 1, done.rows + changed, upper, clock() - began, _share(first, upper, end)
        )
        if on_progress is not None:
            on_progress(done)
        size = _next_size(size, took, max_batch_seconds)
        sleep(pause_seconds)
    return done


def _end_of_batch(connection: Connection, column: Column[object], last: object, size: int, end: object) -> object:
    """Return the last key of the next batch, or None when no rows are left below the end."""
    keys = select(column).where(column <= end).order_by(column).limit(size)
    if last is not None:
        keys = keys.where(column > last)
    bounded = keys.subquery()
    return connection.execute(select(func.max(bounded.c[0]))).scalar()


def _next_size(size: int, took: float, limit: float) -> int:
    """Halve after a batch that took too long, grow by half after a quick one."""
    if took > limit:
        return max(1, size // 2)
    return size + size // 2 if took < limit / 2 else size


def _share(first: object, upper: object, end: object) -> float | None:
    if isinstance(first, (int, float)) and isinstance(upper, (int, float)) and isinstance(end, (int, float)):
        return 1.0 if end == first else (upper - first) / (end - first)
    return None


def _key_of(table: Table, key: str | None) -> Column[object]:
    if key is not None:
        return table.columns[key]
    columns = list(table.primary_key.columns)
    if len(columns) != 1:
        raise MigrationError(f"{table.fullname} has no single-column primary key; name a unique column as key=")
    return columns[0]


def _commit(connection: Connection, autocommits: bool) -> None:
    if not autocommits:
        connection.commit()
