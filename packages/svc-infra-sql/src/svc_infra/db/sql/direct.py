"""A kept statement run on the driver itself, past SQLAlchemy's cursor and result.

SQLAlchemy spends more on running a statement again than the driver does: it makes an execution context, a cursor and a
result, and with aiosqlite hops to the connection's thread five times. Here the statement is compiled once, at its
second run; its parameters and rows go through the same type processors. A row is the same `Row`, or the driver's own
record where no value needs a processor. That is about half of the time of a short statement.

Only where nobody can tell the difference: on asyncpg and aiosqlite, inside a transaction that SQLAlchemy has begun (or
where a lone statement needs none), while nothing listens to statements (tracing, a slow log, `echo`), and for
statements that return rows or, on asyncpg, the number of rows written. Everything else goes the usual way. Errors are
SQLAlchemy's own, made by its connection: it tells its listeners, ends the connection when it is gone or the task was
cancelled, and wraps the driver's error. So a statement that was sent is never sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Executable, Table
from sqlalchemy.util import await_only

from svc_infra.db.sql._begun import begin
from svc_infra.db.sql._deadline import arms_of, disarm_deadline
from svc_infra.db.sql._turns import turn_of
from svc_infra.db.sql.driver_statements import DriverStatement, DriverStatements

__all__ = [
    "begin_directly",
    "begins_directly",
    "count_directly",
    "counts_directly",
    "raise_as_sqlalchemy",
    "run_directly",
    "runs_directly",
    "send_many_directly",
]

_DRIVERS: Final = frozenset({("postgresql", "asyncpg"), ("sqlite", "aiosqlite")})

_of_dialect: WeakKeyDictionary[Dialect, DriverStatements] = WeakKeyDictionary()


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

    Of a row only the values in their order are promised.

    Args:
        connection: The connection, in SQLAlchemy's synchronous half.
        statement: A statement that is kept and run again; one that is built for one run gains nothing.
        parameters: Its bound parameters.
        alone: Whether it runs without a transaction, committed when it returns.

    Raises:
        sqlalchemy.exc.DBAPIError: As `Connection.execute` does.
    """
    sent = _sent(connection, statement, parameters, DriverStatements.fetch, alone=alone)
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
    sent = _sent(connection, statement, parameters, DriverStatements.count, alone=alone)
    return None if sent is None else sent[1]


def begins_directly(connection: Connection) -> bool:
    """Whether statements can be begun on the driver, so that the caller does other things until they are answered."""
    return counts_directly(connection.dialect) and connection.in_transaction() and _unobserved(connection) is not None


def begin_directly(
    connection: Connection, statement: Executable, parameters: Mapping[str, Any]
) -> Callable[[], Sequence[Any]] | None:
    """Begin a statement that returns rows on asyncpg; otherwise as `run_directly`.

    Returns:
        What waits for the rows and returns them, which must be called, and before anything else is sent on the
        connection.
    """
    found = _found(connection, statement, tuple(parameters))
    if found is None:
        return None
    _, direct, arms = found
    fairy = connection.connection
    driver: Any = fairy.driver_connection
    adapted: Any = fairy.dbapi_connection
    if not (counts_directly(connection.dialect) and direct.is_described and driver.is_in_transaction()):
        return None
    try:
        arguments = direct.arguments(parameters)
    except Exception:  # noqa: BLE001 (as in `_sent`)
        return None
    call = begin(driver.fetch(direct.sql, *arguments))

    def answer() -> Sequence[Any]:
        run = _armed(connection, direct, arms)
        try:
            try:
                records = await_only(call)
            except Exception as error:
                adapted._handle_exception(error)  # noqa: SLF001 (as in `DriverStatements.fetch`)
                raise
        except BaseException as error:
            _fail(connection, direct.sql, arguments, run, error)
            raise
        disarm_deadline(run)
        return direct.rows(records)

    return answer


def _found(
    connection: Connection, statement: Executable, names: tuple[str, ...]
) -> tuple[DriverStatements, DriverStatement, list[Any]] | None:
    """The statement as the driver takes it, and what arms its deadlines; None when it has to go the usual way."""
    dialect = connection.dialect
    statements = _of_dialect.get(dialect)
    if statements is None:
        if not runs_directly(dialect):
            return None
        statements = _of_dialect[dialect] = DriverStatements(dialect)
    direct = statements.find(statement, names)
    arms = None if direct is None or statements.are_outdated(connection) else _unobserved(connection)
    return None if direct is None or arms is None else (statements, direct, arms)


def _armed(connection: Connection, direct: DriverStatement, arms: Iterable[Any], *, executemany: bool = False) -> _Run:
    """A run whose deadlines begin now."""
    run = _Run(connection.dialect, direct.table, executemany=executemany)
    for arm in arms:
        arm(connection, run)
    return run


def _sent(
    connection: Connection,
    statement: Executable,
    parameters: Mapping[str, Any],
    send: Callable[..., Any],
    *,
    alone: bool,
) -> tuple[DriverStatement, Any] | None:
    """Send a statement, and return what the driver did; None when it has to go the usual way."""
    found = _found(connection, statement, tuple(parameters))
    if found is None or not (alone or connection.in_transaction()):
        return None
    statements, direct, arms = found
    try:
        arguments = direct.arguments(parameters)
    except Exception:  # noqa: BLE001 (a value that does not fit: SQLAlchemy tells what the matter is)
        return None
    run = _armed(connection, direct, arms)
    try:
        done = send(statements, connection, direct, arguments, alone=alone)
    except BaseException as error:
        _fail(connection, direct.sql, arguments, run, error)
        raise
    disarm_deadline(run)
    return direct, done


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
    if connection.dialect.name != "sqlite" or not connection.in_transaction():
        return False
    found = _found(connection, statement, tuple(names))
    if found is None:
        return False
    _, direct, arms = found
    try:
        rows = direct.many(dict(zip(names, columns, strict=True)))
    except Exception:  # noqa: BLE001 (as above)
        return False
    run = _armed(connection, direct, arms, executemany=True)
    fairy = connection.connection
    driver: Any = fairy.driver_connection
    adapted: Any = fairy.dbapi_connection
    try:
        try:
            with turn_of(adapted):
                cursor = await_only(driver.executemany(direct.sql, rows))
                await_only(cursor.close())
        except Exception as error:
            adapted._handle_exception(error)  # noqa: SLF001 (as in `DriverStatements.fetch`)
            raise
    except BaseException as error:
        _fail(connection, direct.sql, (), run, error)
        raise
    disarm_deadline(run)
    return True


def _fail(connection: Connection, sql: str, arguments: Sequence[Any], run: _Run, error: BaseException) -> None:
    """Raise what `Connection.execute` would have raised, the connection being dealt with as it would have been.

    This is the one way to SQLAlchemy's own treatment of a driver's error: its listeners, the test for a lost
    connection, the end of it and of the pool's others, the wrapping. Its arguments are the same in 2.0 and 2.1.
    """
    handle: Any = connection._handle_dbapi_exception  # noqa: SLF001
    handle(error, sql, tuple(arguments), None, run)


def raise_as_sqlalchemy(connection: Connection, error: Exception, sql: str, table: Table) -> NoReturn:
    """Raise what a driver raised, that was called past SQLAlchemy, as `Connection.execute` would have raised it.

    Args:
        connection: The connection.
        error: The error; one that is not the driver's own is raised as it is.
        sql: What was sent, for the text of the error.
        table: The table that it is about.

    Raises:
        sqlalchemy.exc.DBAPIError: Always, but for errors that are none of the driver's.
    """
    if type(error).__module__.partition(".")[0] != connection.dialect.driver:
        raise error
    if connection.dialect.driver == "asyncpg":
        adapted: Any = connection.connection.dbapi_connection
        try:
            adapted._handle_exception(error)  # noqa: SLF001 (as in `DriverStatements.fetch`)
        except Exception as translated:  # noqa: BLE001 (it always raises)
            error = translated
    _fail(connection, sql, (), _Run(connection.dialect, table), error)
    raise error


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
        executemany: Whether it is of many rows.
    """

    __slots__ = ("_dialect", "_svc_infra_deadline", "_table", "executemany")

    def __init__(self, dialect: Dialect, table: object, *, executemany: bool = False) -> None:
        self._dialect: Any = dialect
        self._table = table
        self.executemany = executemany

    @property
    def compiled(self) -> SimpleNamespace:
        """What is looked at of a compiled statement: `statement.table`."""
        return SimpleNamespace(statement=SimpleNamespace(table=self._table))

    def handle_dbapi_exception(self, error: BaseException) -> None:
        """Do as the context of asyncpg's dialect: note that tables were altered, for all of its connections."""
        dbapi = self._dialect.dbapi
        if self._dialect.driver == "asyncpg" and isinstance(
            error, (dbapi.InvalidCachedStatementError, dbapi.InternalServerError)
        ):
            self._dialect._invalidate_schema_cache()  # noqa: SLF001
