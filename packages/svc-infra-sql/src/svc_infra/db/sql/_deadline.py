"""The limit of a statement on this side of the connection.

PostgreSQL, MySQL, SQL Server and Snowflake end a statement at its limit by themselves. The deadline here comes a little
later and matters when their answer can't arrive: a frozen server, a network that swallows packets. A statement without
a limit, and each fetch of rows that stream, has the database's `answer_timeout`. SQLite and DuckDB have no limit of
their own and run in this process: the deadline interrupts them.

It costs one timer of the event loop per statement.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.cursor import BufferedRowCursorFetchStrategy
from sqlalchemy.util import await_only

from svc_infra.db.sql._options import STATEMENT_TIMEOUT_MS
from svc_infra.db.sql._wait import start
from svc_infra.db.sql.errors import Disconnected

T = TypeVar("T")

#: Seconds after its limit in which the server's own answer, that it ended the statement, should arrive.
ANSWER_SECONDS = 5.0
#: Seconds between two interruptions of a cancelled statement of SQLite, and how many follow the first at most.
INSIST_SECONDS, INSISTENCE = 0.05, 200
#: Seconds that an interrupted statement of SQLite may take to end and be rolled back.
INTERRUPT_SECONDS = 5.0
_OWN_LIMIT = "svc_infra_own_limit"
_DEADLINE = "_svc_infra_deadline"
_ARMS = "_svc_infra_arms"

#: PostgreSQL's SET statement_timeout: a number and its unit, milliseconds when there is none ("Numeric with Unit").
_SET_LIMIT = re.compile(r"SET\s.*\bstatement_timeout\s*(?:=|TO)\s*'?\s*(\d+)\s*(us|ms|s|min|h|d)?\b", re.IGNORECASE)
_SET = ("SET ", "set ", "Set ")
_UNIT_SECONDS = {"us": 1e-6, "": 1e-3, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class _Deadline:
    """Cancels the running task at its time, so that the driver lets go of the connection."""

    __slots__ = ("_cancelling", "_connection", "_handle", "_task", "expired", "seconds")

    def __init__(self, seconds: float, connection: Connection) -> None:
        self.seconds = seconds
        self.expired = False
        self._connection = connection
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._handle = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.expired = True
        if self._task is not None and not _hang_up(self._connection):
            self._task.cancel()

    def disarm(self) -> None:
        self._handle.cancel()

    def ended(self, error: BaseException) -> bool:
        """Whether the error comes from this deadline; takes the cancellation of the task back."""
        if not self.expired or self._task is None:
            return False
        if not isinstance(error, asyncio.CancelledError):
            return True
        return self._task.uncancel() <= self._cancelling  # else it was cancelled by somebody else as well


class _Interrupt(_Deadline):
    """Interrupts the query of an embedded database, which then raises its own error."""

    __slots__ = ("_interrupted",)

    def __init__(self, seconds: float, connection: Connection) -> None:
        super().__init__(seconds, connection)
        self._interrupted = _INTERRUPTS[connection.dialect.name](connection)

    def _expire(self) -> None:
        self._interrupted.interrupt()


def _hang_up(connection: Connection) -> bool:
    """End psycopg's wait by ending its connection: a cancelled wait of it goes on for ten seconds."""
    if connection.dialect.driver != "psycopg":
        return False
    with contextlib.suppress(Exception):
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=socket.dup(driver.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
        return True
    return False


class _BoundedFetch(BufferedRowCursorFetchStrategy):
    """Fetches the rows of a server-side cursor, each batch by its deadline."""

    __slots__ = ("_seconds",)

    def __init__(self, cursor: Any, context: Any, seconds: float) -> None:
        self._seconds = seconds
        with_first_row = super().__init__
        self._in_time(context, cursor, lambda: with_first_row(cursor, context.execution_options))

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        """Return the next row, or None."""
        if self._rowbuffer:
            return self._rowbuffer.popleft()
        fetch = super().fetchone
        return self._in_time(result.context, dbapi_cursor, lambda: fetch(result, dbapi_cursor, hard_close))

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        """Return the next rows."""
        fetch = super().fetchmany
        return self._in_time(result.context, dbapi_cursor, lambda: fetch(result, dbapi_cursor, size))

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        """Return the rows that are left."""
        fetch = super().fetchall
        return self._in_time(result.context, dbapi_cursor, lambda: fetch(result, dbapi_cursor))

    def _in_time(self, context: Any, cursor: Any, fetch: Callable[[], T]) -> T:
        deadline = _Deadline(self._seconds, context.root_connection)
        setattr(context, _DEADLINE, deadline)
        try:
            return fetch()
        except BaseException:
            if context.dialect.name == "postgresql" and context.root_connection.invalidated:
                # SQLAlchemy leaves the cursor of a lost connection open, about which psycopg complains.
                with contextlib.suppress(Exception):
                    cursor.close()
            raise
        finally:
            deadline.disarm()


def listen_for_deadlines(engine: Engine, default_limit_ms: int | None, answer_timeout: float) -> None:
    """Arm a deadline for each statement.

    Args:
        engine: The engine of the statements.
        default_limit_ms: The limit of a statement whose session has none of its own.
        answer_timeout: Seconds for a statement without any limit, and for a fetch; 0 is no limit.
    """
    backend = engine.dialect.name
    own_limits = _OwnLimits()

    def arm(connection: Connection, context: object, statement: str = "") -> None:
        limit_ms = connection.get_execution_options().get(STATEMENT_TIMEOUT_MS, default_limit_ms)
        if backend in _INTERRUPTS:
            if limit_ms:
                setattr(context, _DEADLINE, _Interrupt(limit_ms / 1000, connection))
            return
        seconds = limit_ms / 1000 if limit_ms else 0.0
        if backend == "postgresql":
            seconds = own_limits.get(connection, statement, seconds)
        seconds = seconds + ANSWER_SECONDS if seconds else answer_timeout
        if seconds:
            setattr(context, _DEADLINE, _Deadline(seconds, connection))

    def before(
        connection: Connection, _cursor: object, statement: str, parameters: object, context: Any, _many: bool
    ) -> tuple[str, object]:
        arm(connection, context, statement)
        return statement, parameters

    setattr(before, _ARMS, arm)

    def after(
        _connection: object, cursor: object, _statement: str, _parameters: object, context: Any, _many: bool
    ) -> None:
        disarm_deadline(context)
        if answer_timeout and backend not in _INTERRUPTS:
            is_stream = context._is_server_side  # noqa: SLF001 (SQLAlchemy has no public name for it)
            if is_stream:
                context.cursor_fetch_strategy = _BoundedFetch(cursor, context, answer_timeout)

    def failed(failure: ExceptionContext) -> BaseException | None:
        deadline: _Deadline | None = getattr(failure.execution_context, _DEADLINE, None)
        if deadline is None:
            return None
        deadline.disarm()
        if deadline.ended(failure.original_exception):
            return Disconnected(
                f"no answer from {engine.url!r} to a statement within {deadline.seconds:g} s, its limit "
                f"and {ANSWER_SECONDS:g} s or answer_timeout; the connection was given up"
            )
        return None

    setattr(after, _ARMS, arm)
    # With retval SQLAlchemy keeps the function as it is, so that its mark is found again.
    event.listen(engine, "before_cursor_execute", before, retval=True)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


class _OwnLimits:
    """The limits that transactions gave themselves by SET LOCAL."""

    __slots__ = ("_are_used",)

    def __init__(self) -> None:
        self._are_used = False

    def get(self, connection: Connection, statement: str, seconds: float) -> float:
        """Return the limit of the transaction's own, in seconds; `seconds` when it has none."""
        if statement[:4] in _SET and (match := _SET_LIMIT.match(statement)):
            limit = int(match[1]) * _UNIT_SECONDS[(match[2] or "").lower()]
            connection.info[_OWN_LIMIT] = (connection.get_transaction(), limit)
            self._are_used = True
        if not self._are_used:
            return seconds
        transaction, limit = connection.info.get(_OWN_LIMIT, (None, 0.0))
        return limit if transaction is not None and transaction is connection.get_transaction() else seconds


def arms_of(events: Any) -> list[Any] | None:
    """What arms the deadlines of statements that SQLAlchemy does not run itself.

    Args:
        events: The events of the connection, or of its engine when nobody can listen to the connection itself.

    Returns:
        Functions to be called with the connection and an object that takes the deadline, for `disarm_deadline` and for
        the listener to `handle_error`; None when somebody else listens to statements, who would miss this one.
    """
    for listener in events.after_cursor_execute:
        if not hasattr(listener, _ARMS):
            return None
    arms = []
    for listener in events.before_cursor_execute:
        arm = getattr(listener, _ARMS, None)
        if arm is None:
            return None
        arms.append(arm)
    return arms


class _Sending:
    """Stands where a statement has its execution context."""

    __slots__ = (_DEADLINE,)


@contextlib.contextmanager
def answered_in_time(connection: Connection) -> Iterator[None]:
    """Give what the block sends on the driver itself, a COPY, the deadline of a statement.

    Raises:
        Disconnected: When it passes; the connection is given up, as when the task is cancelled.
    """
    sending = _Sending()
    for listener in connection.dispatch.before_cursor_execute:
        if hasattr(listener, _ARMS):
            getattr(listener, _ARMS)(connection, sending)
    try:
        yield
    except BaseException as error:
        deadline: _Deadline | None = getattr(sending, _DEADLINE, None)
        is_late = deadline is not None and deadline.ended(error)
        if is_late or isinstance(error, asyncio.CancelledError):
            # As SQLAlchemy does: of a COPY that the database has refused by now asyncpg awaits a second answer.
            connection.invalidate()
        if deadline is None or not is_late:
            raise
        raise Disconnected(
            f"no answer from {connection.engine.url!r} within {deadline.seconds:g} s; the connection was given up"
        ) from error
    finally:
        disarm_deadline(sending)


def disarm_deadline(context: object) -> None:
    """End the deadline that was given to the context, if there is one."""
    deadline: _Deadline | None = getattr(context, _DEADLINE, None)
    if deadline is not None:
        deadline.disarm()


def interrupt_cancelled_statements(engine: Engine) -> None:
    """Interrupt SQLite's statement when its task is cancelled, and roll back.

    aiosqlite leaves it to run on in its thread, and closing the connection would wait for its end. An interruption that
    comes just before the statement begins has no effect, so it is repeated until the rollback is done.

    The transaction is rolled back here, as a closed connection keeps its locks while anything, a traceback for example,
    still refers to one of its cursors. The rollback waits in the thread's line before the first interruption: what is
    interrupted between two of its rows stays so until it is closed, and the rollback that follows it is, too
    (sqlite.org/c3ref/interrupt.html).
    """

    def failed(failure: ExceptionContext) -> None:
        if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
            interruption = _SqliteInterrupt(failure.connection)
            rollback = start(interruption.driver.rollback())
            loop = asyncio.get_running_loop()
            loop.call_later(INSIST_SECONDS, _insist, loop, interruption, rollback, INSISTENCE)
            await_only(asyncio.wait({rollback}, timeout=INTERRUPT_SECONDS))

    event.listen(engine, "handle_error", failed)


def _insist(
    loop: asyncio.AbstractEventLoop, interruption: _SqliteInterrupt, rollback: asyncio.Task[object], times: int
) -> None:
    if rollback.done():
        return
    try:
        interruption.interrupt()
    except (ValueError, sqlite3.Error):
        return  # it is closed
    if times and not loop.is_closed():
        loop.call_later(INSIST_SECONDS, _insist, loop, interruption, rollback, times - 1)


class _SqliteInterrupt:
    """Interrupts a SQLite connection from the event loop's thread, which SQLite allows."""

    __slots__ = ("driver",)

    def __init__(self, connection: Connection) -> None:
        self.driver: Any = connection.connection.driver_connection

    def interrupt(self) -> None:
        # aiosqlite's interrupt() is a coroutine that never waits.
        interrupting = self.driver.interrupt()
        try:
            interrupting.send(None)
        except StopIteration:
            return
        interrupting.close()


_INTERRUPTS: dict[str, Callable[[Connection], Any]] = {
    "duckdb": lambda connection: connection.connection.dbapi_connection,
    "sqlite": _SqliteInterrupt,
}
