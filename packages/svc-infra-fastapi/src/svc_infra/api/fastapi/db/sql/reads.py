"""The cheapest way to run one statement: no transaction where nothing asks for one, and for reads the driver itself.

A lone statement is atomic and consistent by itself, so BEGIN and COMMIT around it are two round trips for nothing. On
asyncpg a lone SELECT also goes past SQLAlchemy's cursor and result, on a connection of the same pool: the repository's
prebuilt statement is compiled once, and its rows are the driver's records. That is half of the CPU time of a read.

A session is opened instead where a transaction has a meaning: for a statement timeout (`SET LOCAL`), for read replicas
(which a session chooses and whose read-your-writes it keeps), and on databases other than PostgreSQL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

from sqlalchemy import Connection, Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.util import await_only, greenlet_spawn

from svc_infra.db.sql.database import Database

__all__ = ["Reader", "SingleStatements"]

R = TypeVar("R")

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

Reader: TypeAlias = AsyncConnection | AsyncSession
"""What the row form of a repository runs on."""

_KEPT: Final = 1024


class SingleStatements:
    """Opens what one statement runs on.

    Args:
        database: The open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: AsyncEngine | None = None
        self._reader: _DriverReader | None = None
        dialect = database.engine.dialect
        needs_transaction = database.settings.statement_timeout_ms is not None or database.replicas is not None
        if dialect.name == "postgresql" and not needs_transaction:
            self._engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
            if dialect.driver == "asyncpg":
                self._reader = _DriverReader(self._engine)

    def reader(self) -> AbstractAsyncContextManager[Reader]:
        """Open what one SELECT runs on; it takes the row form of a repository only."""
        if self._engine is None:
            return self._database.session(readonly=True)
        self._database.enter()
        if self._reader is not None:
            return cast("AbstractAsyncContextManager[Reader]", self._reader)
        return self._engine.connect()

    def writer(self) -> AbstractAsyncContextManager[Reader]:
        """Open what one INSERT, UPDATE or DELETE runs on, committed when it returns or when the block ends."""
        if self._engine is None:
            return self._database.session()
        self._database.enter()
        return self._engine.connect()


class _Compiled:
    """A SELECT as asyncpg takes it.

    Attributes:
        sql: The text, or None when only SQLAlchemy can run the statement.
    """

    __slots__ = ("_columns", "_dialect", "_parameters", "_results", "sql")

    def __init__(self, statement: Select[Any], engine: AsyncEngine) -> None:
        dialect = engine.dialect
        compiled: Any = statement.compile(dialect=dialect)
        self.sql: str | None = str(compiled)
        self._parameters: list[tuple[str, Callable[[Any], Any] | None]] = []
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            kind = bind.type.dialect_impl(dialect)
            self._parameters.append((bind.key, kind.bind_processor(dialect)))
            if bind.expanding or bind.literal_execute or not bind.required:
                # Values that stand in the statement, and lists that change its text, are SQLAlchemy's to place.
                self.sql = None
        self._dialect = dialect
        self._columns = [column.type.dialect_impl(dialect) for column in statement.selected_columns]
        self._results: list[Callable[[Any], Any] | None] | None = None

    @property
    def is_described(self) -> bool:
        """Whether `describe` was called."""
        return self._results is not None

    def describe(self, oids: Sequence[int]) -> None:
        """Learn the types of the result's columns, which decide how SQLAlchemy reads their values."""
        found: list[Callable[[Any], Any] | None] = [
            kind.result_processor(self._dialect, oid) for kind, oid in zip(self._columns, oids, strict=True)
        ]
        self._results = found if any(found) else []

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of their places."""
        return [
            parameters[name] if process is None else process(parameters[name]) for name, process in self._parameters
        ]

    def rows(self, records: Sequence[Any]) -> Sequence[Any]:
        """Return the records with the values that SQLAlchemy would give."""
        if not self._results:
            return records
        return [
            tuple(
                value if process is None else process(value)
                for process, value in zip(self._results, record, strict=True)
            )
            for record in records
        ]


class _Rows:
    """The result of a statement, as far as a repository looks at it."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def all(self) -> Sequence[Any]:
        """Return every row."""
        return self._rows

    def scalar(self) -> Any:
        """Return the first value of the first row, or None."""
        return self._rows[0][0] if self._rows else None


class _DriverReader:
    """Stands where an AsyncConnection is expected, and checks a connection out for each statement alone."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._compiled: dict[Select[Any], _Compiled] = {}
        self.dialect = engine.dialect

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def run_sync(self, program: Callable[..., R], *arguments: object) -> R:
        """Run a program of SQLAlchemy's synchronous half, as AsyncConnection.run_sync does."""
        return await greenlet_spawn(program, self, *arguments)

    def execute(self, statement: Select[Any], parameters: Mapping[str, Any]) -> _Rows:
        """Run a SELECT; in the synchronous half, as Connection.execute."""
        compiled = self._compiled.get(statement)
        if compiled is None:
            if len(self._compiled) >= _KEPT:
                self._compiled.clear()
            compiled = self._compiled[statement] = _Compiled(statement, self._engine)
        if compiled.sql is not None:
            try:
                return _Rows(compiled.rows(self._fetch(compiled, compiled.arguments(parameters))))
            except Exception as error:  # noqa: BLE001 (reading again is harmless; SQLAlchemy tells what the matter is)
                logger.debug("reading again through SQLAlchemy after %s", type(error).__name__)
        with self._engine.sync_engine.connect() as connection:
            return self._as_usual(connection, statement, parameters)

    def _fetch(self, compiled: _Compiled, arguments: list[Any]) -> Sequence[Any]:
        fairy = self._engine.sync_engine.raw_connection()
        driver: Any = fairy.driver_connection
        try:
            if not compiled.is_described:
                prepared = await_only(driver.prepare(compiled.sql))
                compiled.describe([attribute.type.oid for attribute in prepared.get_attributes()])
            records: Sequence[Any] = await_only(driver.fetch(compiled.sql, *arguments))
        except BaseException:
            fairy.invalidate()
            raise
        fairy.close()
        return records

    def _as_usual(self, connection: Connection, statement: Select[Any], parameters: Mapping[str, Any]) -> _Rows:
        return _Rows(connection.execute(statement, parameters).all())
