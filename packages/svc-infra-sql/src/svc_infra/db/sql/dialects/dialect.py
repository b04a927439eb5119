"""The part of a thread-backed dialect that is the same for every driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool
from sqlalchemy.util import await_only

from svc_infra.db.sql.dialects.adapter import ThreadConnection, ThreadCursor

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.engine.default import DefaultDialect, DefaultExecutionContext

    _Dialect = DefaultDialect
    _Context = DefaultExecutionContext
else:
    _Dialect = _Context = object

__all__ = ["ThreadDialect", "ThreadExecutionContext"]


class ThreadExecutionContext(_Context):
    """Streams through a cursor whose rows stay in the driver."""

    def create_server_side_cursor(self) -> Any:
        """Return the cursor for `stream_results`."""
        return self._dbapi_connection.cursor(server_side=True)


class ThreadDialect(_Dialect):
    """Mixin that turns a synchronous dialect into an asynchronous one; put it before that dialect.

    The synchronous dialect's own work on a cursor, retries and bulk paths included, runs in the connection's thread
    with the driver's own cursor.
    """

    is_async = True
    has_terminate = True
    supports_server_side_cursors: bool = True
    connection_class: type[ThreadConnection] = ThreadConnection

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """Open a connection in a thread of its own."""
        connect = partial(super().connect, *cargs, **cparams)
        return await_only(self.connection_class.open(connect, self.name))

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:  # noqa: ARG003 (SQLAlchemy's signature)
        """Return the pool that waits without blocking the event loop."""
        return AsyncAdaptedQueuePool

    def get_driver_connection(self, connection: Any) -> Any:
        """Return the driver's own connection; it belongs to its thread, so use it through `connection.run`."""
        return connection.driver_connection

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close a connection that may be in the middle of a call."""
        dbapi_connection.terminate()

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute a statement in the thread."""
        self._call(cursor, partial(super().do_execute, statement=statement, parameters=parameters, context=context))

    def do_execute_no_params(self, cursor: Any, statement: str, context: Any = None) -> None:
        """Execute a statement without parameters in the thread."""
        self._call(cursor, partial(super().do_execute_no_params, statement=statement, context=context))

    def do_executemany(self, cursor: Any, statement: str, parameters: Sequence[Any], context: Any = None) -> None:
        """Execute a statement for each of the parameters in the thread."""
        self._call(cursor, partial(super().do_executemany, statement=statement, parameters=parameters, context=context))

    @staticmethod
    def _call(cursor: ThreadCursor, work: Callable[..., None]) -> None:
        cursor.call(work)
