"""Microsoft SQL Server under `create_async_engine` through mssql-python, which brings its own ODBC driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.mssql.base import MSExecutionContext
from sqlalchemy.dialects.mssql.mssqlpython import MSDialect_mssqlpython

from svc_infra.db.sql.dialects.adapter import ThreadConnection, ThreadCursor
from svc_infra.db.sql.dialects.dialect import ThreadDialect, ThreadExecutionContext

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["MSSQLDialect", "MSSQLDialectAsync"]


class MSSQLCursor(ThreadCursor):
    """A cursor that can be cancelled while it runs."""

    __slots__ = ()

    def cancel(self) -> None:
        """Ask the server to end the running statement (ODBC's SQLCancel, which any thread may call)."""
        handle: Any = getattr(self._cursor, "hstmt", None)
        if handle is not None:
            handle._cancel()  # noqa: SLF001 (mssql-python 1.16 has no public call for it)


class MSSQLConnection(ThreadConnection):
    """A connection whose running statement ends when its task is cancelled."""

    __slots__ = ("_running",)

    cursor_class = MSSQLCursor

    def interrupt(self) -> None:
        """Cancel the statement of the cursor made last."""
        running: MSSQLCursor | None = getattr(self, "_running", None)
        if running is not None:
            running.cancel()

    def cursor(self, *, server_side: bool = False) -> ThreadCursor:
        """Make a cursor and remember it as the one to interrupt."""
        cursor = super().cursor(server_side=server_side)
        object.__setattr__(self, "_running", cursor)
        return cursor


class MSSQLContextAsync(ThreadExecutionContext, MSExecutionContext):
    """SQL Server's execution context with streaming."""


class MSSQLDialectAsync(ThreadDialect, MSDialect_mssqlpython):
    """SQLAlchemy's dialect for mssql-python with each connection in a thread."""

    connection_class: type[ThreadConnection] = MSSQLConnection
    execution_ctx_cls: type[MSExecutionContext] = MSSQLContextAsync
    supports_statement_cache = True


class MSSQLDialect(MSDialect_mssqlpython):
    """SQLAlchemy's dialect for mssql-python, with an asynchronous side."""

    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[MSSQLDialectAsync]:  # noqa: ARG003 (SQLAlchemy's signature)
        """Return the dialect for `create_async_engine`."""
        return MSSQLDialectAsync
