"""A connection serves one task at a time, and says so.

A session is one transaction, for one task. Where tasks share one, as under `asyncio.gather`, asyncpg refuses what comes
while it waits for an answer. With the other drivers the second statement waits its turn, and is sent on a connection
that may be another session's by then. MySQL's even send COMMIT and ROLLBACK meanwhile, so that one task takes the
other's answer, who waits for ever. Here every driver refuses as asyncpg does, but for SQLite's under SQLAlchemy 2.0,
whose adapter has no lock to take the place of: there the tasks' statements come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidRequestError

__all__ = ["Turn", "serve_one_task", "turn_of"]

_WITH_SQLALCHEMYS_LOCK = frozenset({"aiomysql", "aiosqlite", "asyncmy"})


class Turn:
    """Stands where a driver or its adapter has a lock, and refuses where that waits."""

    __slots__ = ("_is_taken",)

    def __init__(self) -> None:
        self._is_taken = False

    def __enter__(self) -> None:
        if self._is_taken:
            raise InvalidRequestError(
                "another task waits for an answer on this connection; a session serves one task: open one for each"
            )
        self._is_taken = True

    def __exit__(self, *_: object) -> None:
        self._is_taken = False

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self._is_taken = False


def turn_of(dbapi_connection: Any) -> AbstractContextManager[object]:
    """The turn of one of SQLAlchemy's adapted connections, for what is sent past it; of no effect where it has none."""
    lock = getattr(dbapi_connection, "_execute_mutex", None)
    return lock if type(lock) is Turn else _NO_TURN


_NO_TURN: Final = nullcontext()


def serve_one_task(engine: Engine) -> None:
    """Refuse what a task sends on a connection on which another one waits for an answer."""
    dialect = engine.dialect
    has_lock = dialect.driver in _WITH_SQLALCHEMYS_LOCK
    if not has_lock and dialect.driver != "psycopg":
        return  # asyncpg does so by itself, a connection in a thread of ours has its Turn

    def connect(dbapi_connection: Any, _record: object) -> None:
        if not has_lock:
            dbapi_connection.driver_connection.lock = Turn()
        elif hasattr(dbapi_connection, "_execute_mutex"):
            dbapi_connection._execute_mutex = Turn()  # noqa: SLF001 (SQLAlchemy's adapters have no public name for it)

    # Before SQLAlchemy's own listener, which looks at the first connection and rolls back.
    event.listen(engine, "connect", connect, insert=True)
    if has_lock:  # which psycopg takes for these, too
        dialect.do_commit = _in_turn(dialect.do_commit)  # type: ignore[method-assign,assignment]
        dialect.do_rollback = _in_turn(dialect.do_rollback)  # type: ignore[method-assign,assignment]


def _in_turn(end: Callable[[Any], None]) -> Callable[[Any], None]:
    def end_in_turn(dbapi_connection: Any) -> None:
        with turn_of(dbapi_connection):
            end(dbapi_connection)

    return end_in_turn
