"""The key by which a table is walked through in batches: its order, its ranges, and how far along one is."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, Executable, Table, and_, or_, select, tuple_

from svc_infra.db.sql.core.errors import MigrationError

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

__all__ = ["Key", "Keyset"]

Key = tuple[object, ...]

# They read an index from a row value on; MySQL's optimizer does that only for the comparison written out.
# https://dev.mysql.com/doc/refman/8.4/en/range-optimization.html#row-constructor-range-optimization
_COMPARES_ROWS = frozenset({"postgresql", "sqlite"})


class Keyset:
    """One or more columns that together are unique and not null.

    Args:
        table: The table.
        names: The columns, by default the primary key.

    Raises:
        MigrationError: The table has no primary key and no columns are named, or it has no such column.
    """

    def __init__(self, table: Table, names: str | Sequence[str] | None) -> None:
        named = [names] if isinstance(names, str) else list(names or table.primary_key.columns.keys())
        if not named:
            raise MigrationError(f"{table.fullname} has no primary key; name unique columns as key=")
        if unknown := [name for name in named if name not in table.columns]:
            raise MigrationError(f"{table.fullname} has no column {', '.join(unknown)}")
        self.columns: list[Column[object]] = [table.columns[name] for name in named]

    def first(self, connection: Connection) -> Key | None:
        """Return the lowest key, or None for an empty table."""
        return self._one(connection, select(*self.columns).order_by(*self.columns).limit(1))

    def last(self, connection: Connection) -> Key | None:
        """Return the highest key, or None for an empty table."""
        descending = [column.desc() for column in self.columns]
        return self._one(connection, select(*self.columns).order_by(*descending).limit(1))

    def at(self, connection: Connection, rows: int, *, after: Key | None, until: Key) -> Key:
        """Return the key that is `rows` rows behind `after`, or `until` when fewer rows are left."""
        walk = select(*self.columns).where(self.up_to(connection, until)).order_by(*self.columns)
        if after is not None:
            walk = walk.where(self.behind(connection, after))
        return self._one(connection, walk.offset(rows - 1).limit(1)) or until

    def behind(self, connection: Connection, key: Key) -> ColumnElement[bool]:
        """Return the condition that a row's key is greater."""
        if len(self.columns) == 1:
            return self.columns[0] > key[0]
        if connection.dialect.name in _COMPARES_ROWS:
            return tuple_(*self.columns) > tuple_(*key)
        return self._written_out(key, or_equal=False)

    def up_to(self, connection: Connection, key: Key) -> ColumnElement[bool]:
        """Return the condition that a row's key is less or equal."""
        if len(self.columns) == 1:
            return self.columns[0] <= key[0]
        if connection.dialect.name in _COMPARES_ROWS:
            return tuple_(*self.columns) <= tuple_(*key)
        return self._written_out(key, or_equal=True)

    def _written_out(self, key: Key, *, or_equal: bool) -> ColumnElement[bool]:
        """Return (a, b) > key, or (a, b) <= key, as a > x OR (a = x AND b > y)."""
        choices: list[ColumnElement[bool]] = []
        for depth, column in enumerate(self.columns):
            same = [before == value for before, value in zip(self.columns[:depth], key[:depth], strict=True)]
            differs = column < key[depth] if or_equal else column > key[depth]
            choices.append(and_(*same, differs))
        if or_equal:
            choices.append(and_(*(column == value for column, value in zip(self.columns, key, strict=True))))
        return or_(*choices)

    @staticmethod
    def _one(connection: Connection, query: Executable) -> Key | None:
        row = connection.execute(query).first()
        return tuple(row) if row is not None else None

    @staticmethod
    def share(first: Key, key: Key, last: Key) -> float | None:
        """Return which part of the way from `first` to `last` lies before `key`, judged by the first column.

        None when its values are no numbers, UUIDs or times.
        """
        low, here, high = (_position(one[0]) for one in (first, key, last))
        if low is None or here is None or high is None:
            return None
        return 1.0 if key == last or high == low else min((here - low) / (high - low), 1.0)


def _position(value: object) -> float | None:
    match value:
        case bool():
            return None
        case int() | float() | Decimal():
            return float(value)
        case uuid.UUID():
            return float(value.int)
        case dt.datetime():
            return value.timestamp()
        case dt.date():
            return float(value.toordinal())
        case _:
            return None
