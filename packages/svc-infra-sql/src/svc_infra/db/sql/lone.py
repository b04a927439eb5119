"""One statement, no transaction: the cheapest way to run a method of a repository's row form.

A statement by itself is atomic and consistent, so BEGIN and COMMIT around it are round trips for nothing.

    async with database.lone(readonly=True) as lone:
        row = await users.rows.get(lone, "user-123")

Every statement takes a connection of the pool for itself, is committed when it returns, and runs on the driver where
that is the same (see `svc_infra.db.sql.direct`). Pool, limits, listeners, typed errors, read replicas and
read-your-writes are those of a session; while somebody listens to the class of sessions, it is one. What takes several
statements to be whole (`create_many`, `upsert_many`, a stream) is refused: it needs a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import CursorResult, Dialect, Executable, Result
from sqlalchemy.exc import NotSupportedError
from sqlalchemy.util import await_only

from svc_infra.db.sql._engine import EngineFamily
from svc_infra.db.sql._options import READONLY, Wishes
from svc_infra.db.sql._synchronous import run_synchronously
from svc_infra.db.sql.direct import count_directly, counts_directly, run_directly
from svc_infra.db.sql.errors import Disconnected, PoolTimeout, ReadOnlyViolation, SchemaChanged
from svc_infra.db.sql.translate import translate

if TYPE_CHECKING:
    from svc_infra.db.sql.database import Database

__all__ = ["LoneConnection", "LoneStatements"]

R = TypeVar("R")


class LoneStatements:
    """Stands where the row form takes a session; made by `Database.lone()`. It may be shared between tasks.

    Args:
        database: Where the statements run.
        readonly: Whether they only read, so that a replica may answer.
    """

    def __init__(self, database: Database, *, readonly: bool) -> None:
        self._database = database
        self._readonly = readonly
        self._primary = LoneConnection(database.engines, readonly=readonly)

    async def __aenter__(self) -> Self:
        self._database.enter()
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def run_sync(self, program: Callable[..., R], *arguments: object) -> R:
        """Run a program of SQLAlchemy's synchronous half, which gets a `LoneConnection`.

        Read-only ones go to a replica that may answer now, as `session(readonly=True)` does; when it is lost meanwhile,
        to the next, at last to the primary.
        """
        replicas = self._database.replicas
        if replicas is None:
            return await run_synchronously(program, self._primary, *arguments)
        if not self._readonly:
            result = await run_synchronously(program, self._primary, *arguments)
            replicas.note_write()
            return result
        for number in range(len(replicas.replicas)):
            replica = await replicas.candidate(number)
            if replica is None:
                continue
            connection = LoneConnection(replica.family, readonly=True)
            try:
                return await run_synchronously(program, connection, *arguments)
            except Exception as error:
                if not isinstance(translate(error), (Disconnected, PoolTimeout)):
                    raise
                replica.failed()
        return await run_synchronously(program, self._primary, *arguments)


class LoneConnection:
    """Stands where a `sqlalchemy.Connection` is expected, and takes one from the pool for each statement.

    Args:
        family: The engines of a server.
        readonly: Whether statements that write are refused.

    Attributes:
        dialect: SQLAlchemy's dialect of the database.
        info: What a connection's user keeps with it; here with nothing, as each statement has another connection.
    """

    def __init__(self, family: EngineFamily, *, readonly: bool) -> None:
        self._engine = family.engine.sync_engine
        self._usual = family.get(Wishes(isolation_level="AUTOCOMMIT")).sync_engine
        self._readonly = readonly
        self._has_pragma = self._engine.dialect.name == "sqlite"
        self.dialect: Dialect = self._engine.dialect
        self.info: dict[Any, Any] = {}

    def fetch(self, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run a statement that returns rows, and return them."""
        self._check(statement)
        with self._engine.connect() as connection:
            if self._has_pragma and not self._readonly and connection.info.get(READONLY):
                # The last session on it was a read-only one.
                driver: Any = connection.connection.driver_connection
                await_only(driver.execute("PRAGMA query_only = OFF"))
                connection.info[READONLY] = False
            rows = run_directly(connection, statement, parameters, alone=True)
            if rows is not None:
                return rows
        return self._run(statement, parameters, Result.all)

    def count(self, statement: Executable, parameters: Mapping[str, Any]) -> int:
        """Run a statement that writes and returns no rows, and return how many it wrote."""
        self._check(statement)
        if counts_directly(self.dialect):
            with self._engine.connect() as connection:
                written = count_directly(connection, statement, parameters, alone=True)
                if written is not None:
                    return written
        return self._run(statement, parameters, _rowcount)

    def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any],
        *,
        execution_options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a statement the usual way, and return its result with every row fetched."""
        self._check(statement)
        return self._run(statement, parameters, _fetched, execution_options)

    def _run(
        self,
        statement: Executable,
        parameters: Mapping[str, Any],
        read: Callable[[CursorResult[Any]], R],
        options: Mapping[str, Any] | None = None,
    ) -> R:
        """Run a statement the usual way; again, when a table was altered since the connection has prepared it.

        Nothing of it is done then. asyncpg runs it again by itself, where it is asked to run it.
        """

        def run() -> R:
            with self._usual.connect() as connection:
                return read(connection.execute(statement, parameters, execution_options=options))

        try:
            return run()
        except NotSupportedError as error:
            if not isinstance(translate(error), SchemaChanged):
                raise
        return run()

    def _check(self, statement: Any) -> None:
        if self._readonly and not statement.is_select:
            raise ReadOnlyViolation("a write through lone(readonly=True)")


def _rowcount(result: CursorResult[Any]) -> int:
    return result.rowcount


def _fetched(result: CursorResult[Any]) -> Any:
    """A result that needs no connection any more."""
    return result.freeze()() if result.returns_rows else result
