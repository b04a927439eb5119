"""How far a backfill has come, kept in the database, so that the next run goes on after a `kill -9`."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from sqlalchemy import BigInteger, Column, Connection, MetaData, String, Table, Text, delete, insert, inspect, select
from sqlalchemy import update as update_rows

from svc_infra.db.sql.core.errors import LockNotObtained, MigrationError
from svc_infra.db.sql.core.keyset import Key
from svc_infra.db.sql.core.lock import acquire, database_lock
from svc_infra.db.sql.core.progress import Progress

__all__ = ["STATE_TABLE", "BackfillState"]

STATE_TABLE = "svc_infra_backfill"
"""The table that is there while a backfill runs, and stays when one was cut off."""

_TABLE_WAIT_SECONDS = 60.0  # who holds it runs a handful of short statements

_STATE = Table(
    STATE_TABLE,
    MetaData(),
    Column("name", String(200), primary_key=True),
    Column("last_key", Text, nullable=True),
    Column("row_count", BigInteger, nullable=False),
)

_READERS: dict[str, Callable[[str], object]] = {
    "uuid": uuid.UUID,
    "decimal": Decimal,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "bytes": bytes.fromhex,
}


class BackfillState:
    """One row of the table, which backfills that run at the same time share.

    Args:
        connection: The connection of the batches; the row is written in their transactions.
        name: Which backfill it is, at most 200 characters.
        progress: Hears of waits for another backfill's beginning or end.
    """

    def __init__(self, connection: Connection, name: str, progress: Progress) -> None:
        self._connection, self._name, self._progress = connection, name[:200], progress

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from running the same backfill meanwhile.

        Raises:
            LockNotObtained: Another process runs it.
        """
        with database_lock(self._connection, f"backfill:{self._name}", suffix=_suffix(self._name)) as lock:
            if lock is not None and not lock.try_acquire():
                holder = lock.holder()
                end_it = f", or if it hangs, end it: {holder.remedy}" if holder.remedy else ""
                raise LockNotObtained(
                    f"the backfill {self._name!r} is running already: {holder.who}. Nothing was changed. Wait for its "
                    f"end{end_it}"
                )
            yield

    def open(self) -> tuple[Key | None, int]:
        """Return behind which key to go on, and how many rows earlier runs have changed."""
        # A commit behind each look: a SQLite transaction that has read can't write when another one wrote meanwhile.
        with self._table_to_itself():
            is_there = inspect(self._connection).has_table(STATE_TABLE)
            self._connection.commit()
            if not is_there:
                _STATE.create(self._connection, checkfirst=False)
                self._connection.commit()
            row = self._connection.execute(select(_STATE).where(_STATE.c.name == self._name)).first()
            self._connection.commit()
            if row is None:
                self._connection.execute(insert(_STATE).values(name=self._name, row_count=0))
                self._connection.commit()
        return (_read(row.last_key), row.row_count) if row is not None else (None, 0)

    def advance(self, key: Key, rows: int) -> None:
        """Write down that all rows up to `key` are done, `rows` of them changed by this and earlier runs."""
        self._connection.execute(
            update_rows(_STATE).where(_STATE.c.name == self._name).values(last_key=_written(key), row_count=rows)
        )

    def close(self) -> None:
        """Forget the backfill, which is complete; the last one takes the table with it."""
        with self._table_to_itself():
            self._connection.execute(delete(_STATE).where(_STATE.c.name == self._name))
            is_last = self._connection.execute(select(_STATE.c.name)).first() is None
            self._connection.commit()
            if is_last:
                _STATE.drop(self._connection, checkfirst=False)
                self._connection.commit()

    @contextmanager
    def _table_to_itself(self) -> Iterator[None]:
        """Keep others from making or dropping the table between two of our statements."""
        with database_lock(self._connection, STATE_TABLE, suffix="backfill-lock") as lock:
            if lock is not None:
                acquire(lock, f"the table {STATE_TABLE}", wait_seconds=_TABLE_WAIT_SECONDS, progress=self._progress)
            yield


def _suffix(name: str) -> str:
    """Name the lock file of a backfill, whose own name may be no file's."""
    return f"backfill-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}-lock"


def _written(key: Key) -> str:
    return json.dumps([_tagged(value) for value in key])


def _tagged(value: object) -> object:
    match value:
        case int() | float() | str():
            return value
        case uuid.UUID():
            return {"uuid": str(value)}
        case Decimal():
            return {"decimal": str(value)}
        case dt.datetime():
            return {"datetime": value.isoformat()}
        case dt.date():
            return {"date": value.isoformat()}
        case bytes():
            return {"bytes": value.hex()}
        case _:
            raise MigrationError(
                f"a key of the type {type(value).__name__} can't be kept for the next run; name another key="
            )


def _read(text: str | None) -> Key | None:
    if text is None:
        return None
    values = json.loads(text)
    return tuple(
        next(_READERS[kind](written) for kind, written in value.items()) if isinstance(value, dict) else value
        for value in values
    )
