"""DuckDB under `create_async_engine`, on top of duckdb-sqlalchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckdb_sqlalchemy import Dialect as SyncDialect
from duckdb_sqlalchemy import DuckDBExecutionContext
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, StaticPool

from svc_infra.db.sql.dialects.adapter import ThreadConnection, ThreadCursor
from svc_infra.db.sql.dialects.dialect import ThreadDialect, ThreadExecutionContext
from svc_infra.db.sql.dialects.worker import Worker

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["DuckDBDialect", "DuckDBDialectAsync"]


class DuckDBCursor(ThreadCursor):
    """A cursor that reports a write's row count as such, and not as a row of the result."""

    __slots__ = ()

    def _describe(self) -> Any:
        return None if self._cursor._is_dml_count else self._cursor.description  # noqa: SLF001


class DuckDBConnection(ThreadConnection):
    """A connection whose running query ends when its task is cancelled."""

    __slots__ = ("readonly",)

    cursor_class = DuckDBCursor

    def __init__(self, connection: Any, worker: Worker) -> None:
        super().__init__(connection, worker)
        self.readonly: bool = False

    def begin(self) -> None:
        """Begin a transaction, one that refuses writes when `readonly` is set."""
        if not self.readonly or self.autocommit:
            self.run(self._connection.begin)
        else:
            self.run(lambda: self._connection.execute("BEGIN TRANSACTION READ ONLY"))

    def interrupt(self) -> None:
        """Interrupt the running query; DuckDB allows this from another thread."""
        self._connection.interrupt()


class _DuckDBContextAsync(ThreadExecutionContext, DuckDBExecutionContext):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Reads the row count of a write with RETURNING off the rows that its cursor has fetched."""

    def _setup_result_proxy(self) -> Any:
        if (self.isinsert or self.isupdate or self.isdelete) and getattr(self.compiled, "returning", None):
            rows = getattr(self, "_insertmanyvalues_rows", None)
            self._rowcount = len(self.cursor.rows if rows is None else rows)
        # duckdb-sqlalchemy's own step here reads rows off the driver's cursor, which happened in the thread already.
        return super(DuckDBExecutionContext, self)._setup_result_proxy()  # type: ignore[no-untyped-call]


class DuckDBDialectAsync(ThreadDialect, SyncDialect):
    """duckdb-sqlalchemy's dialect with each connection in a thread."""

    connection_class: type[ThreadConnection] = DuckDBConnection
    execution_ctx_cls: type[DuckDBExecutionContext] = _DuckDBContextAsync
    supports_statement_cache = True

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:
        """Return the pool: one shared connection for a database in memory, which is that connection."""
        return StaticPool if url.database in (None, "", ":memory:") else AsyncAdaptedQueuePool


class DuckDBDialect(SyncDialect):
    """duckdb-sqlalchemy's dialect, with an asynchronous side."""

    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[DuckDBDialectAsync]:  # noqa: ARG003 (SQLAlchemy's signature)
        """Return the dialect for `create_async_engine`."""
        return DuckDBDialectAsync
