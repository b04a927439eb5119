"""Statements as a driver takes them: compiled once, with their parameters in order and the rows that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Executable, Row
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.util import await_only

from svc_infra.db.sql._turns import turn_of
from svc_infra.db.sql.copying import default_of

__all__ = ["DriverStatement", "DriverStatements"]

_NEVER: Final = "never"
"""Stands for a statement that only SQLAlchemy can run."""

_MOST_SHAPES: Final = 64
"""Sets of parameters that one statement is compiled for; an UPDATE has one for each set of fields that it changes."""


class DriverStatement:
    """A statement as the driver takes it.

    Attributes:
        sql: Its text.
        table: The table that it writes to, or None. The statement itself is not kept, so that it can be forgotten.
        is_described: Whether `describe` was called.
    """

    __slots__ = ("_columns", "_dialect", "_make_row", "_names", "_parameters", "is_described", "sql", "table")

    def __init__(self, dialect: Dialect, statement: Any, keys: Sequence[str]) -> None:
        """Compile the statement.

        Raises:
            LookupError: When only SQLAlchemy can run it.
        """
        compiled: Any = statement.compile(dialect=dialect, column_keys=keys)
        given = set(keys)
        filled = {
            column.key: default_of(column) if compiled.isinsert else _updated_by(column)
            for column in (*compiled.insert_prefetch, *compiled.update_prefetch)
        }
        self._parameters: list[tuple[str, Callable[[Any], Any] | None, Callable[[], Any] | None]] = []
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            make = None if bind.key in given else filled.get(bind.key)
            if bind.key not in given and make is None:
                if bind.required or bind.callable is not None:
                    raise LookupError(bind.key)
                make = partial(getattr, bind, "value")
            if bind.expanding or bind.literal_execute:
                raise LookupError(bind.key)
            self._parameters.append((bind.key, process, make))
        columns = list(getattr(statement, "exported_columns", ()))  # a text has none
        self.sql: str = str(compiled)
        self.table: object = getattr(statement, "table", None)
        self._dialect = dialect
        self._names = tuple(column.key for column in columns)
        self._columns = [column.type.dialect_impl(dialect) for column in columns]
        self._make_row: Callable[[Any], Any] | None = None
        self.is_described: bool = False

    def describe(self, codes: Sequence[Any]) -> None:
        """Learn the driver's types of the result's columns, which decide how SQLAlchemy reads their values."""
        processors: list[Any] = [
            kind.result_processor(self._dialect, code) for kind, code in zip(self._columns, codes, strict=True)
        ]
        if any(processors):
            metadata = SimpleResultMetaData(self._names)
            # As SQLAlchemy's results make them; a result of its own for each run costs as much as a short statement.
            index = metadata._key_to_index  # noqa: SLF001
            self._make_row = partial(Row, metadata, processors, index)
        self.is_described = True

    def describe_untyped(self) -> None:
        """Do as `describe` where the driver has no types."""
        self.describe([None] * len(self._columns))

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The values in the order of their places."""
        found: list[Any] = []
        for name, process, make in self._parameters:
            value = parameters[name] if make is None else make()
            found.append(value if process is None else process(value))
        return found

    def many(self, columns: Mapping[str, Sequence[Any]]) -> list[tuple[Any, ...]]:
        """The values of many rows, each in the order of its places."""
        found: list[Iterable[Any]] = []
        for name, process, make in self._parameters:
            if make is not None:
                raise LookupError(name)
            found.append(columns[name] if process is None else map(process, columns[name]))
        return list(zip(*found, strict=True))

    def rows(self, records: Sequence[Any]) -> Sequence[Any]:
        """The driver's records, or rows of the values that SQLAlchemy would give where those are others."""
        return records if self._make_row is None else list(map(self._make_row, records))


_ALTERED_AT: Final = "_invalidate_schema_cache_asof"
"""Where asyncpg's dialect and its connections have the time at which they last noticed that tables were altered."""


class DriverStatements:
    """The statements that were run on one dialect."""

    __slots__ = ("_altered_at", "_dialect", "_is_sqlite", "_seen")

    def __init__(self, dialect: Dialect) -> None:
        self._altered_at = 0.0
        self._dialect = dialect
        self._is_sqlite = dialect.name == "sqlite"
        self._seen: WeakKeyDictionary[Executable, dict[tuple[str, ...], DriverStatement | str | None]] = (
            WeakKeyDictionary()
        )

    def find(self, statement: Executable, keys: tuple[str, ...]) -> DriverStatement | None:
        """The statement as the driver takes it; None at its first run, and when only SQLAlchemy can run it."""
        altered_at = getattr(self._dialect, _ALTERED_AT, 0.0)
        if altered_at != self._altered_at:
            self._altered_at = altered_at
            self._seen.clear()  # what they return may be of other types by now
        by_keys = self._seen.get(statement)
        if by_keys is None:
            by_keys = self._seen[statement] = {}
        found = by_keys.get(keys, _NEVER if len(by_keys) >= _MOST_SHAPES else "")
        if found == "":
            by_keys[keys] = None
            return None
        if found is None:
            try:
                found = DriverStatement(self._dialect, statement, keys)
            except (LookupError, AttributeError):
                found = _NEVER
            by_keys[keys] = found
        return found if isinstance(found, DriverStatement) else None

    def are_outdated(self, connection: Connection) -> bool:
        """Whether a connection may have prepared statements before tables were altered, which it is told then.

        SQLAlchemy's own way, which the statement has to go, renews what it has prepared itself.
        """
        if not self._altered_at:
            return False
        fairy = connection.connection
        noticed_at: float = getattr(fairy.dbapi_connection, _ALTERED_AT, 0.0)
        if self._altered_at <= noticed_at:
            return False
        driver: Any = fairy.driver_connection
        driver._drop_local_statement_cache()  # noqa: SLF001 (asyncpg does so itself, where it has noticed)
        return True

    def fetch(
        self, connection: Connection, sent: DriverStatement, arguments: list[Any], *, alone: bool
    ) -> Sequence[Any]:
        """Send it and return the driver's records."""
        fairy = connection.connection
        driver: Any = fairy.driver_connection
        adapted: Any = fairy.dbapi_connection
        try:
            if self._is_sqlite:
                if not sent.is_described:
                    sent.describe_untyped()
                with turn_of(adapted):
                    records: Sequence[Any] = await_only(driver.execute_fetchall(sent.sql, arguments))
                return records
            if alone or driver.is_in_transaction():
                if not sent.is_described:
                    prepared = await_only(driver.prepare(sent.sql))
                    sent.describe([attribute.type.oid for attribute in prepared.get_attributes()])
                fetched: Sequence[Any] = await_only(driver.fetch(sent.sql, *arguments))
                return fetched
        except Exception as error:
            adapted._handle_exception(error)  # noqa: SLF001 (the adapter's own translation, as its cursor calls it)
            raise
        with closing(fairy.cursor()) as cursor:  # SQLAlchemy's adapter sends BEGIN with the first statement of its own
            cursor.execute(sent.sql, arguments)
            if not sent.is_described:
                sent.describe([column[1] for column in cursor.description or ()])
            return cursor.fetchall()

    def count(self, connection: Connection, sent: DriverStatement, arguments: list[Any], *, alone: bool) -> int:
        """Send it by asyncpg and return how many rows it wrote."""
        fairy = connection.connection
        driver: Any = fairy.driver_connection
        adapted: Any = fairy.dbapi_connection
        if alone or driver.is_in_transaction():
            try:
                tag: str = await_only(driver.execute(sent.sql, *arguments))
            except Exception as error:
                adapted._handle_exception(error)  # noqa: SLF001 (as in `fetch`)
                raise
            number = tag.rpartition(" ")[2]  # such as "DELETE 1" or "UPDATE 1", but also "SAVEPOINT"
            return int(number) if number.isdigit() else 0
        with closing(fairy.cursor()) as cursor:  # as in `fetch`
            cursor.execute(sent.sql, arguments)
            written: int = cursor.rowcount
            return written


def _updated_by(column: Any) -> Callable[[], Any] | None:
    """What gives a column's value in Python at every UPDATE."""
    default = column.onupdate
    make: Any = default.arg
    if default.is_scalar:
        return lambda: make
    if default.is_callable:
        return lambda: make(None)
    raise LookupError(column.key)
