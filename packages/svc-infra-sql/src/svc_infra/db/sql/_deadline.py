"""The limit of a statement on this side of the connection.

PostgreSQL, MySQL, SQL Server and Snowflake end a statement at its limit by themselves. The deadline here comes a little
later and matters when their answer can't arrive: a frozen server, a network that swallows packets. SQLite and DuckDB
have no limit of their own and run in this process: the deadline interrupts them.

It is armed only when there is a limit, and costs one timer of the event loop per statement.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from svc_infra.db.sql._options import STATEMENT_TIMEOUT_MS
from svc_infra.db.sql._wait import bounded
from svc_infra.db.sql.errors import Disconnected

#: Seconds after its limit in which the server's own answer, that it ended the statement, should arrive.
ANSWER_SECONDS = 5.0
#: Seconds between two interruptions of a cancelled statement of SQLite, and how many there are at most.
INSIST_SECONDS, INSISTENCE = 0.05, 200
#: Seconds that an interrupted statement of SQLite may take to end and be rolled back.
INTERRUPT_SECONDS = 5.0
#: Seconds that a KILL of a cancelled statement may take.
KILL_SECONDS = 10.0
_OWN_LIMIT = "svc_infra_own_limit"
_DEADLINE = "_svc_infra_deadline"
_ARMS = "_svc_infra_arms"
_EMBEDDED = frozenset({"duckdb", "sqlite"})


class _Deadline:
    """Cancels the running task at its time, so that the driver lets go of the connection."""

    __slots__ = ("_cancelling", "_handle", "_task", "expired", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._handle = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.expired = True
        if self._task is not None:
            self._task.cancel()

    def disarm(self) -> None:
        self._handle.cancel()

    def takes_back(self) -> bool:
        """Take the cancellation back; False when the task was cancelled by somebody else as well."""
        return self.expired and self._task is not None and self._task.uncancel() <= self._cancelling


class _Interrupt(_Deadline):
    """Interrupts the query of an embedded database, which then raises its own error."""

    __slots__ = ("_connection",)

    def __init__(self, seconds: float, connection: Any) -> None:
        super().__init__(seconds)
        self._connection = connection

    def _expire(self) -> None:
        self._connection.interrupt()

    def takes_back(self) -> bool:
        return False


def listen_for_deadlines(engine: Engine, default_limit_ms: int | None) -> None:
    """Arm a deadline for each statement that has a limit."""
    backend = engine.dialect.name

    def arm(connection: Connection, context: object) -> None:
        limit_ms = connection.get_execution_options().get(STATEMENT_TIMEOUT_MS, default_limit_ms)
        if not limit_ms:
            return
        if backend == "sqlite":
            deadline: _Deadline = _Interrupt(limit_ms / 1000, _SqliteInterrupt(connection))
        elif backend == "duckdb":
            deadline = _Interrupt(limit_ms / 1000, connection.connection.dbapi_connection)
        else:
            transaction = connection.get_transaction()
            if transaction is not None and connection.info.get(_OWN_LIMIT) is transaction:
                return
            deadline = _Deadline(limit_ms / 1000 + ANSWER_SECONDS)
        setattr(context, _DEADLINE, deadline)

    def before(
        connection: Connection, _cursor: object, statement: str, parameters: object, context: Any, _many: bool
    ) -> tuple[str, object]:
        if statement[:4].upper() == "SET " and "statement_timeout" in statement and backend not in _EMBEDDED:
            # SET LOCAL: the transaction's own limit holds from here
            connection.info[_OWN_LIMIT] = connection.get_transaction()
        arm(connection, context)
        return statement, parameters

    setattr(before, _ARMS, arm)

    def after(
        _connection: object, _cursor: object, _statement: str, _parameters: object, context: Any, _many: bool
    ) -> None:
        disarm_deadline(context)

    def failed(failure: ExceptionContext) -> BaseException | None:
        deadline: _Deadline | None = getattr(failure.execution_context, _DEADLINE, None)
        if deadline is None:
            return None
        deadline.disarm()
        if isinstance(failure.original_exception, asyncio.CancelledError) and deadline.takes_back():
            return Disconnected(
                f"no answer to a statement within {deadline.seconds:g} s, its limit and {ANSWER_SECONDS:g} s; "
                "the connection was given up"
            )
        return None

    setattr(after, _ARMS, arm)
    # With retval SQLAlchemy keeps the function as it is, so that its mark is found again.
    event.listen(engine, "before_cursor_execute", before, retval=True)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def arm_deadline(connection: Connection, context: object) -> bool:
    """Arm the deadline of a statement that SQLAlchemy does not run itself.

    Args:
        connection: Where it is about to run.
        context: Takes the deadline, for `disarm_deadline` and for the listener to `handle_error`.

    Returns:
        Whether that is all; False when somebody else listens to statements, who would miss this one.
    """
    dispatch = connection.dispatch
    if not dispatch.before_cursor_execute and not dispatch.after_cursor_execute:
        return True
    if not all(hasattr(listener, _ARMS) for listener in dispatch.after_cursor_execute):
        return False
    if not all(hasattr(listener, _ARMS) for listener in dispatch.before_cursor_execute):
        return False
    for listener in dispatch.before_cursor_execute:
        getattr(listener, _ARMS)(connection, context)
    return True


def disarm_deadline(context: object) -> None:
    """End the deadline that `arm_deadline` gave to the context, if there is one."""
    deadline: _Deadline | None = getattr(context, _DEADLINE, None)
    if deadline is not None:
        deadline.disarm()


def interrupt_cancelled_statements(engine: Engine) -> None:
    """Interrupt SQLite's statement when its task is cancelled.

    aiosqlite leaves it to run on in its thread, and closing the connection would wait for its end. An interruption that
    comes just before the statement begins has no effect, so it is repeated until the connection is closed.

    The transaction is rolled back here, as a closed connection keeps its locks while anything, a traceback for example,
    still refers to one of its cursors.
    """

    def failed(failure: ExceptionContext) -> None:
        if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
            interruption = _SqliteInterrupt(failure.connection)
            _insist(asyncio.get_running_loop(), interruption, INSISTENCE)
            with contextlib.suppress(ValueError, sqlite3.Error, TimeoutError):
                await_only(bounded(interruption.driver.rollback(), INTERRUPT_SECONDS))

    event.listen(engine, "handle_error", failed)


def _insist(loop: asyncio.AbstractEventLoop, interruption: _SqliteInterrupt, times: int) -> None:
    try:
        interruption.interrupt()
    except (ValueError, sqlite3.Error):
        return  # it is closed
    if times and not loop.is_closed():
        loop.call_later(INSIST_SECONDS, _insist, loop, interruption, times - 1)


def kill_cancelled_statements(engine: Engine, side_engine: AsyncEngine) -> None:
    """End MySQL's and MariaDB's statement when its task is cancelled, by a KILL from another connection.

    These servers run a statement to its end, its transaction and locks held, when their client goes away.

    Args:
        engine: The engine of the statements.
        side_engine: Connects to the same server, past the pool, which may be exhausted.
    """
    killings: set[asyncio.Task[None]] = set()

    async def kill(number: int) -> None:
        # The server may be gone, which is why the task was cancelled, or the statement may have ended by itself.
        with contextlib.suppress(SQLAlchemyError, OSError):
            await bounded(_execute(side_engine, f"KILL {number}"), KILL_SECONDS)

    def failed(failure: ExceptionContext) -> None:
        if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
            driver: Any = failure.connection.connection.driver_connection
            killing = asyncio.get_running_loop().create_task(kill(int(driver.thread_id())))
            killings.add(killing)
            killing.add_done_callback(killings.discard)

    event.listen(engine, "handle_error", failed)


async def _execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.connect() as connection:
        await connection.exec_driver_sql(statement)


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
