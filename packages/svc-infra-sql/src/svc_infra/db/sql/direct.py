"""A kept statement run on the driver itself, past SQLAlchemy's cursor and result.

SQLAlchemy spends more on running a statement again than the driver does: it makes an execution context, a cursor and a
result, and with aiosqlite hops to the connection's thread five times. Here the statement is compiled once, at its
second run; its parameters and rows go through the same type processors, and a row is the same `Row`. That is about half
of the time of a short statement.

Only where nobody can tell the difference: on asyncpg and aiosqlite, inside a transaction that SQLAlchemy has begun (or
where a lone statement needs none), while nothing listens to statements (tracing, a slow log, `echo`), and for
statements that return rows or, on asyncpg, the number of rows written. Everything else goes the usual way. Errors are
SQLAlchemy's own, made by its connection: it tells its listeners, ends the connection when it is gone or the task was
cancelled, and wraps the driver's error. So a statement that was sent is never sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Executable, Row
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.util import await_only

from svc_infra.db.sql._deadline import arms_of, disarm_deadline
from svc_infra.db.sql.copying import default_of

__all__ = ["count_directly", "counts_directly", "run_directly", "runs_directly", "send_many_directly"]

_DRIVERS: Final = frozenset({("postgresql", "asyncpg"), ("sqlite", "aiosqlite")})

_NEVER: Final = "never"
"""Stands for a statement that only SQLAlchemy can run."""


def runs_directly(dialect: Dialect) -> bool:
    """Whether statements can be run on the driver of a dialect."""
    return (dialect.name, dialect.driver) in _DRIVERS


def counts_directly(dialect: Dialect) -> bool:
    """Whether the driver tells how many rows a statement wrote, so that none need come back (asyncpg)."""
    return dialect.driver == "asyncpg" and runs_directly(dialect)


def run_directly(
    connection: Connection, statement: Executable, parameters: Mapping[str, Any], *, alone: bool = False
) -> Sequence[Any] | None:
    """Run a statement that returns rows on the driver; None when it has to go the usual way, nothing being sent yet.

    Args:
        connection: The connection, in SQLAlchemy's synchronous half.
        statement: A statement that is kept and run again; one that is built for one run gains nothing.
        parameters: Its bound parameters.
        alone: Whether it runs without a transaction, committed when it returns.

    Raises:
        sqlalchemy.exc.DBAPIError: As `Connection.execute` does.
    """
    sent = _sent(connection, statement, parameters, _Statements.fetch, alone=alone)
    return None if sent is None else sent[0].rows(sent[1])


def count_directly(
    connection: Connection, statement: Executable, parameters: Mapping[str, Any], *, alone: bool = False
) -> int | None:
    """Run a statement that writes and returns no rows, and return how many it wrote; otherwise as `run_directly`.

    Args:
        connection: A connection whose dialect `counts_directly`; None is returned for any other.
        statement: As in `run_directly`.
        parameters: As in `run_directly`.
        alone: As in `run_directly`.

    Raises:
        sqlalchemy.exc.DBAPIError: As `Connection.execute` does.
    """
    if not counts_directly(connection.dialect):
        return None
    sent = _sent(connection, statement, parameters, _Statements.count, alone=alone)
    return None if sent is None else sent[1]


def _sent(
    connection: Connection,
    statement: Executable,
    parameters: Mapping[str, Any],
    send: Callable[..., Any],
    *,
    alone: bool,
) -> tuple[_Direct, Any] | None:
    """Send a statement, and return what the driver did; None when it has to go the usual way."""
    dialect = connection.dialect
    statements = _of_dialect.get(dialect)
    if statements is None:
        if not runs_directly(dialect):
            return None
        statements = _of_dialect[dialect] = _Statements(dialect)
    direct = statements.find(statement, tuple(parameters))
    if direct is None or not (alone or connection.in_transaction()):
        return None
    arms = _unobserved(connection)
    if arms is None:
        return None
    try:
        arguments = direct.arguments(parameters)
    except Exception:  # noqa: BLE001 (a value that does not fit: SQLAlchemy tells what the matter is)
        return None
    run = _Run(direct)
    for arm in arms:
        arm(connection, run)
    try:
        found = send(statements, connection, direct, arguments, alone=alone)
    except BaseException as error:
        _fail(connection, direct, arguments, run, error)
        raise
    disarm_deadline(run)
    return direct, found


def send_many_directly(
    connection: Connection, statement: Executable, names: Sequence[str], columns: Sequence[Sequence[Any]]
) -> bool:
    """Run an INSERT of many rows on SQLite's driver, in two hops to its thread; False when that can't be done.

    Args:
        connection: The connection, in SQLAlchemy's synchronous half, in a transaction.
        statement: The INSERT, which returns nothing and is kept.
        names: The keys of the columns.
        columns: The values of each column, all of one length.

    Raises:
        sqlalchemy.exc.DBAPIError: As `Connection.execute` does.
    """
    dialect = connection.dialect
    if dialect.name != "sqlite" or not runs_directly(dialect) or not connection.in_transaction():
        return False
    statements = _of_dialect.get(dialect)
    if statements is None:
        statements = _of_dialect[dialect] = _Statements(dialect)
    direct = statements.find(statement, tuple(names))
    arms = None if direct is None else _unobserved(connection)
    if direct is None or arms is None:
        return False
    try:
        rows = direct.many(dict(zip(names, columns, strict=True)))
    except Exception:  # noqa: BLE001 (as above)
        return False
    run = _Run(direct, executemany=True)
    for arm in arms:
        arm(connection, run)
    fairy = connection.connection
    driver: Any = fairy.driver_connection
    adapted: Any = fairy.dbapi_connection
    try:
        try:
            cursor = await_only(driver.executemany(direct.sql, rows))
            await_only(cursor.close())
        except Exception as error:
            adapted._handle_exception(error)  # noqa: SLF001 (as in `_Statements.fetch`)
            raise
    except BaseException as error:
        _fail(connection, direct, (), run, error)
        raise
    disarm_deadline(run)
    return True


def _fail(connection: Connection, direct: _Direct, arguments: Sequence[Any], run: _Run, error: BaseException) -> None:
    """Raise what `Connection.execute` would have raised, the connection being dealt with as it would have been.

    This is the one way to SQLAlchemy's own treatment of a driver's error: its listeners, the test for a lost
    connection, the end of it and of the pool's others, the wrapping. Its arguments are the same in 2.0 and 2.1.
    """
    handle: Any = connection._handle_dbapi_exception  # noqa: SLF001
    handle(error, direct.sql, tuple(arguments), None, run)


def _unobserved(connection: Connection) -> list[Any] | None:
    """What arms the statement's deadlines, when nobody misses a statement that SQLAlchemy does not run; else None."""
    if connection.closed or connection.invalidated or "schema_translate_map" in connection.get_execution_options():
        return None
    # A connection's events are joined from its own and its engine's at their first use, which costs more than all of
    # this. SQLAlchemy notes that it has some of its own (2.0: or of its engine's).
    is_listened_to = getattr(connection, "_has_events", True)
    events: Any = (connection if is_listened_to else connection.engine).dispatch
    if events.before_execute or events.after_execute:
        return None
    for listener in connection.dialect.dispatch.handle_error:
        if not listener.__module__.startswith(_OWN):
            return None
    if connection.engine.logger.isEnabledFor(logging.INFO):
        return None
    return arms_of(events)


_OWN: Final = "svc_infra.db.sql."


class _Run:
    """One run of a statement, for those who look at SQLAlchemy's execution context when it fails.

    Attributes:
        compiled: Has what is looked at of a compiled statement: `statement.table`.
        executemany: Whether it is of many rows.
    """

    __slots__ = ("_svc_infra_deadline", "compiled", "executemany")

    def __init__(self, direct: _Direct, *, executemany: bool = False) -> None:
        self.compiled = SimpleNamespace(statement=SimpleNamespace(table=direct.table))
        self.executemany = executemany

    def handle_dbapi_exception(self, error: BaseException) -> None:
        """Do nothing; SQLAlchemy tells the context of the error."""


class _Direct:
    """A statement as the driver takes it.

    Attributes:
        sql: Its text.
        table: The table that it writes to, or None. The statement itself is not kept, so that it can be forgotten.
    """

    __slots__ = ("_columns", "_dialect", "_make_row", "_names", "_parameters", "sql", "table")

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
        columns = list(statement.exported_columns)
        self.sql = str(compiled)
        self.table = getattr(statement, "table", None)
        self._dialect = dialect
        self._names = tuple(column.key for column in columns)
        self._columns = [column.type.dialect_impl(dialect) for column in columns]
        self._make_row: Callable[[Any], Any] | None = None

    @property
    def is_described(self) -> bool:
        """Whether `describe` was called."""
        return self._make_row is not None

    def describe(self, codes: Sequence[Any]) -> None:
        """Learn the driver's types of the result's columns, which decide how SQLAlchemy reads their values."""
        processors: list[Any] = [
            kind.result_processor(self._dialect, code) for kind, code in zip(self._columns, codes, strict=True)
        ]
        metadata = SimpleResultMetaData(self._names)
        # As SQLAlchemy's results make them; a result of its own for each run costs as much as a short statement.
        index = metadata._key_to_index  # noqa: SLF001
        self._make_row = partial(Row, metadata, processors if any(processors) else None, index)

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
        """The driver's records as rows, with the values that SQLAlchemy would give."""
        assert self._make_row is not None  # noqa: S101 (for the type checker: `send` describes)
        return list(map(self._make_row, records))


class _Statements:
    """The statements that were run on one dialect."""

    __slots__ = ("_dialect", "_is_sqlite", "_seen")

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._is_sqlite = dialect.name == "sqlite"
        self._seen: WeakKeyDictionary[Executable, dict[tuple[str, ...], _Direct | str | None]] = WeakKeyDictionary()

    def find(self, statement: Executable, keys: tuple[str, ...]) -> _Direct | None:
        """The statement as the driver takes it; None at its first run, and when only SQLAlchemy can run it."""
        by_keys = self._seen.get(statement)
        if by_keys is None:
            by_keys = self._seen[statement] = {}
        found = by_keys.get(keys, _NEVER if len(by_keys) >= _MOST_SHAPES else "")
        if found == "":
            by_keys[keys] = None
            return None
        if found is None:
            try:
                found = _Direct(self._dialect, statement, keys)
            except (LookupError, AttributeError):
                found = _NEVER
            by_keys[keys] = found
        return found if isinstance(found, _Direct) else None

    def fetch(self, connection: Connection, direct: _Direct, arguments: list[Any], *, alone: bool) -> Sequence[Any]:
        """Send it and return the driver's records."""
        fairy = connection.connection
        driver: Any = fairy.driver_connection
        adapted: Any = fairy.dbapi_connection
        try:
            if self._is_sqlite:
                if not direct.is_described:
                    direct.describe_untyped()
                records: Sequence[Any] = await_only(driver.execute_fetchall(direct.sql, arguments))
                return records
            if alone or driver.is_in_transaction():
                if not direct.is_described:
                    prepared = await_only(driver.prepare(direct.sql))
                    direct.describe([attribute.type.oid for attribute in prepared.get_attributes()])
                fetched: Sequence[Any] = await_only(driver.fetch(direct.sql, *arguments))
                return fetched
        except Exception as error:
            adapted._handle_exception(error)  # noqa: SLF001 (the adapter's own translation, as its cursor calls it)
            raise
        # SQLAlchemy's adapter sends BEGIN with the first statement of its own cursor.
        cursor = fairy.cursor()
        try:
            cursor.execute(direct.sql, arguments)
            if not direct.is_described:
                direct.describe([column[1] for column in cursor.description or ()])
            return cursor.fetchall()
        finally:
            cursor.close()

    def count(self, connection: Connection, direct: _Direct, arguments: list[Any], *, alone: bool) -> int:
        """Send it by asyncpg and return how many rows it wrote."""
        fairy = connection.connection
        driver: Any = fairy.driver_connection
        adapted: Any = fairy.dbapi_connection
        if alone or driver.is_in_transaction():
            try:
                tag: str = await_only(driver.execute(direct.sql, *arguments))
            except Exception as error:
                adapted._handle_exception(error)  # noqa: SLF001 (as in `fetch`)
                raise
            return int(tag.rpartition(" ")[2])  # such as "DELETE 1" or "UPDATE 1"
        cursor = fairy.cursor()  # as in `fetch`
        try:
            cursor.execute(direct.sql, arguments)
            written: int = cursor.rowcount
            return written
        finally:
            cursor.close()


_MOST_SHAPES: Final = 64
"""Sets of parameters that one statement is compiled for; an UPDATE has one for each set of fields that it changes."""

_of_dialect: WeakKeyDictionary[Dialect, _Statements] = WeakKeyDictionary()


def _updated_by(column: Any) -> Callable[[], Any] | None:
    """What gives a column's value in Python at every UPDATE."""
    default = column.onupdate
    make: Any = default.arg
    if default.is_scalar:
        return lambda: make
    if default.is_callable:
        return lambda: make(None)
    raise LookupError(column.key)
