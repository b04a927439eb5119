"""A synchronous driver's connection and cursor as SQLAlchemy's asyncio extension wants them: every call in a thread.

SQLAlchemy runs its synchronous core in a greenlet and lets drivers suspend it (`await_only`) while a coroutine works.
Here that coroutine waits for a call in the connection's own thread, see `Worker`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Self, TypeVar

from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from svc_infra.db.sql._turns import Turn
from svc_infra.db.sql._wait import bounded
from svc_infra.db.sql.dialects.worker import Worker

__all__ = ["ThreadConnection", "ThreadCursor"]

T = TypeVar("T")

#: Seconds that closing a connection may take before it is left to its thread.
CLOSE_SECONDS = 5.0

_numbers = count(1)


class ThreadCursor:
    """A cursor whose calls run in its connection's thread.

    Rows are fetched in the same hop as the statement that produces them, because a result is read outside the greenlet;
    with `server_side` (streaming) each fetch is a hop of its own.
    """

    __slots__ = ("_connection", "_cursor", "_description", "_position", "_rows", "server_side")

    def __init__(self, connection: ThreadConnection, cursor: Any, *, server_side: bool = False) -> None:
        self._connection = connection
        self._cursor = cursor
        self._rows: Sequence[Any] | None = None
        self._position = 0
        self._description: Any = None
        self.server_side: bool = server_side

    @property
    def rows(self) -> Sequence[Any]:
        """The rows fetched with the statement; empty when it returned none, or with `server_side`."""
        return self._rows or ()

    def call(self, work: Callable[[Any], T]) -> T:
        """Run `work(driver's cursor)`, which executes a statement, in the thread, and fetch its rows there."""
        return self._connection.run(lambda: self._execute(work))

    def _execute(self, work: Callable[[Any], T]) -> T:
        self._rows = None
        self._position = 0
        result = work(self._cursor)
        self._description = self._describe()
        if self._description is not None and not self.server_side:
            self._rows = self._cursor.fetchall()
        return result

    def _describe(self) -> Any:
        """Return the description of the rows that the statement returned, or None; runs in the thread."""
        return self._cursor.description

    @property
    def description(self) -> Any:
        """The columns of the result (PEP 249), or None when there is none."""
        return self._description

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed or returned, -1 when the driver does not tell."""
        return int(self._cursor.rowcount)

    @property
    def lastrowid(self) -> Any:
        """The driver's last inserted key."""
        return self._cursor.lastrowid

    @property
    def arraysize(self) -> int:
        """How many rows `fetchmany()` fetches by default."""
        return int(self._cursor.arraysize)

    @arraysize.setter
    def arraysize(self, size: int) -> None:
        self._cursor.arraysize = size

    def execute(self, statement: str, parameters: Any = None) -> None:
        """Execute a statement."""
        if parameters is None:
            self.call(lambda cursor: cursor.execute(statement))
        else:
            self.call(lambda cursor: cursor.execute(statement, parameters))

    def executemany(self, statement: str, parameters: Any) -> None:
        """Execute a statement once for each of the parameters."""
        self.call(lambda cursor: cursor.executemany(statement, parameters))

    def nextset(self) -> Any:
        """Go to the next result of a statement that returns several."""
        return self.call(lambda cursor: cursor.nextset())

    def setinputsizes(self, *sizes: Any) -> Any:
        """Tell the driver the types of the parameters."""
        return self._connection.run(lambda: self._cursor.setinputsizes(*sizes))

    def fetchone(self) -> Any:
        """Return the next row or None."""
        if self._rows is None:
            return self._connection.run(self._cursor.fetchone)
        if self._position == len(self._rows):
            return None
        self._position += 1
        return self._rows[self._position - 1]

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        """Return the next `size` rows, fewer at the end."""
        wanted = self.arraysize if size is None else size
        if self._rows is None:
            rows: Sequence[Any] = self._connection.run(lambda: self._cursor.fetchmany(wanted))
            return rows
        start, self._position = self._position, min(self._position + wanted, len(self._rows))
        return self._rows[start : self._position]

    def fetchall(self) -> Sequence[Any]:
        """Return all rows that are left."""
        if self._rows is None:
            rows: Sequence[Any] = self._connection.run(self._cursor.fetchall)
            return rows
        rows = self._rows if self._position == 0 else self._rows[self._position :]
        self._rows, self._position = (), 0
        return rows

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    async def _async_soft_close(self) -> None:
        """SQLAlchemy's hook for a result that leaves the greenlet: all its rows are here already."""

    def close(self) -> None:
        """Let go of the rows and of the driver's cursor; does not wait, as it is also called outside the greenlet."""
        self._rows, self._position = (), 0
        self._connection.worker.post(self._cursor.close)


class ThreadConnection(AdaptedConnection):
    """A connection whose calls run in its own thread.

    Attributes that it does not have are the driver's; the driver's methods run in the thread as well.
    """

    __slots__ = ("_turn", "worker")

    _connection: Any

    cursor_class = ThreadCursor

    def __init__(self, connection: Any, worker: Worker) -> None:
        self._connection = connection
        self._turn = Turn()
        self.worker: Worker = worker

    @classmethod
    async def open(cls, connect: Callable[[], Any], name: str) -> Self:
        """Start a thread and connect in it.

        Args:
            connect: The blocking call that returns the driver's connection.
            name: What the thread is called, followed by a number.
        """
        worker = Worker(f"{name}-{next(_numbers)}")
        opened: list[Any] = []
        try:
            await worker.run(lambda: opened.append(connect()))
        except asyncio.CancelledError:
            # The thread connects later than anybody waits, and must close again.
            worker.post(lambda: opened and opened[0].close())
            worker.stop()
            raise
        except BaseException:
            worker.stop()
            worker.join(1.0)
            raise
        connection = cls(opened[0], worker)
        worker.interrupt = connection.interrupt
        return connection

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._connection, name)
        if not callable(attribute):
            return attribute

        def in_thread(*args: Any, **keywords: Any) -> Any:
            return self.run(lambda: attribute(*args, **keywords))

        return in_thread

    def run(self, call: Callable[[], T]) -> T:
        """Make a blocking call in the thread while the event loop goes on; for use inside SQLAlchemy's greenlet.

        Raises:
            sqlalchemy.exc.InvalidRequestError: When another task waits for a call.
        """
        with self._turn:
            result: T = await_only(self.worker.run(call))
        return result

    def interrupt(self) -> None:
        """Make the running call return early, where the driver can; called in the event loop's thread."""

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction of its own."""
        return bool(self._connection.autocommit)

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self.run(lambda: setattr(self._connection, "autocommit", value))

    def cursor(self, *, server_side: bool = False) -> ThreadCursor:
        """Make a cursor; with `server_side` its rows stay in the driver until they are fetched."""
        return self.cursor_class(self, self.run(self._connection.cursor), server_side=server_side)

    def commit(self) -> None:
        """Commit the transaction."""
        self.run(self._connection.commit)

    def rollback(self) -> None:
        """Roll the transaction back."""
        self.run(self._connection.rollback)

    def close(self) -> None:
        """Close the connection and end its thread."""
        await_only(self._shut())

    def terminate(self) -> None:
        """Close the connection whatever it is doing; without waiting when there is no greenlet (garbage collection)."""
        self.interrupt()
        if in_greenlet():
            await_only(asyncio.shield(self._shut()))
        else:
            self.worker.post(self._connection.close)
            self.worker.stop()

    async def _shut(self) -> None:
        try:
            await bounded(self.worker.run(self._connection.close), CLOSE_SECONDS)
        except (TimeoutError, asyncio.CancelledError):
            # The running call can't be interrupted, or there is no time: the thread closes and ends when the call does.
            self.worker.post(self._connection.close)
            self.worker.stop()
            raise
        except RuntimeError:
            return  # closed before
        self.worker.stop()
        self.worker.join(1.0)
