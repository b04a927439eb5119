"""MySQL and MariaDB: connections that end at once, and statements that end with their task.

These servers run a statement to its end, its transaction and locks held, when their client goes away. So a cancelled
statement is ended by a KILL from another connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util import greenlet_spawn

from svc_infra.db.sql._wait import start

#: Seconds that a KILL may take, connecting included.
KILL_SECONDS = 10.0


def drop_without_goodbye(engine: Engine) -> None:
    """Have the engine drop a connection that it gives up, instead of waiting for its goodbye to be sent.

    A connection is given up when it was cancelled, lost or frozen: there is nobody to hear the goodbye. The drivers'
    own `close()` keeps the socket until what was written to it has been sent.
    """

    def do_terminate(dbapi_connection: Any) -> None:
        driver = dbapi_connection.driver_connection
        transport = getattr(driver, "_transport", None) or getattr(getattr(driver, "_writer", None), "transport", None)
        if transport is not None:
            transport.abort()
        driver.close()

    engine.dialect.do_terminate = do_terminate  # type: ignore[method-assign]


def kill_cancelled_statements(engine: Engine, side_engine: Engine) -> None:
    """End the statement of a cancelled task by a KILL.

    Args:
        engine: The engine of the statements.
        side_engine: Connects to the same server, past the pool, which may be exhausted.
    """
    # A KILL asks nothing about the server, so its connection does not either.
    side_engine.dialect.initialize = lambda connection: None  # type: ignore[method-assign]  # noqa: ARG005

    def failed(failure: ExceptionContext) -> None:
        if isinstance(failure.original_exception, asyncio.CancelledError) and failure.connection is not None:
            driver: Any = failure.connection.connection.driver_connection
            start(_kill(side_engine, int(driver.thread_id())))

    event.listen(engine, "handle_error", failed)


async def _kill(side_engine: Engine, number: int) -> None:
    # The server may be gone, which is why the task was cancelled, or the statement may have ended by itself.
    with suppress(SQLAlchemyError, OSError):
        async with asyncio.timeout(KILL_SECONDS):
            await greenlet_spawn(_execute, side_engine, f"KILL {number}")


def _execute(engine: Engine, statement: str) -> None:
    """Run one statement in SQLAlchemy's greenlet; whatever happens, the connection is gone when it returns."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
    finally:
        connection.invalidate()
