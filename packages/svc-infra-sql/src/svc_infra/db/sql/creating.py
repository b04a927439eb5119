"""Inserts of many rows, each by the cheapest way that the database has and that keeps what was promised."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any, Literal, TypeVar, overload

from sqlalchemy import ARRAY, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.blocks import Block
from svc_infra.db.sql.copying import copies, copy_rows, is_copyable, note_refusal
from svc_infra.db.sql.direct import send_many_directly
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, SqlError
from svc_infra.db.sql.execution import Execution, fetched
from svc_infra.db.sql.json_rows import insert_json_rows
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.reading import natural
from svc_infra.db.sql.reference_checks import first_refused
from svc_infra.db.sql.translate import VALUE_ERRORS, translate
from svc_infra.db.sql.values import Computed
from svc_infra.db.sql.writing import Writing

__all__ = ["Creating", "at_row", "savepoint"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)

# COPY costs two round trips more than an INSERT, which pays from about here.
_MANY = 50


class Creating(Writing[M, T, E]):
    """Inserts many rows of one model by few statements.

    A write that fails leaves nothing behind: it runs within a savepoint. On DuckDB, which has none, the whole
    transaction is rolled back.
    """

    @overload
    async def create_many(
        self,
        session: E,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: Literal[True] = True,
        batch_size: int = ...,
        progress: Callable[[int], object] | None = ...,
    ) -> builtins.list[T]: ...

    @overload
    async def create_many(
        self,
        session: E,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: Literal[False],
        batch_size: int = ...,
        progress: Callable[[int], object] | None = ...,
    ) -> int: ...

    @overload
    async def create_many(
        self,
        session: E,
        rows: Iterable[Mapping[str, object]],
        *,
        batch_size: int = ...,
        progress: Callable[[int], object] | None = ...,
        each: Callable[[builtins.list[T]], object],
    ) -> int: ...

    async def create_many(
        self,
        session: E,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: bool = True,
        batch_size: int = 5000,
        progress: Callable[[int], object] | None = None,
        each: Callable[[builtins.list[T]], object] | None = None,
    ) -> builtins.list[T] | int:
        """Insert rows, each as `create` does.

        With `returning` they come back in the order given. Without, they go by the database's fastest way (COPY on
        PostgreSQL), and of an iterator only a batch is in memory at a time, so that a million rows need no more of it
        than a thousand.

        Args:
            session: Where to write.
            rows: Values by field, of each row.
            returning: Whether to return the rows, and not only their number.
            batch_size: Rows that are sent together.
            progress: Called after each batch with the number of rows written so far.
            each: Called with the rows of each batch as they came back, which are not kept then, so that they too need
                constant memory; the number of rows is returned.

        Raises:
            UnknownField: When a name is no field.
            InvalidValue: When a value does not fit its field.
            IntegrityViolation: When a constraint refuses a row. Of all of these, `row` is the index of the first row
                that is refused.
        """
        if natural("batch_size", batch_size) < 1:
            raise InvalidValue("batch_size must be at least 1")
        if not isinstance(rows, Iterable):
            raise InvalidQuery(f"rows takes the values of several rows, got {type(rows).__name__}")
        return await self._run(session, self._create_many, rows, returning, batch_size, progress, each)

    def _create_many(
        self,
        target: Session | Connection,
        rows: Iterable[Mapping[str, object]],
        returning: bool,
        size: int,
        progress: Callable[[int], object] | None,
        each: Callable[[builtins.list[T]], object] | None,
    ) -> builtins.list[T] | int:
        execution = self._execution(target)
        found: builtins.list[T] = []
        written, source = 0, iter(rows)
        with self._undone_on_error(execution) as connection:
            while batch := builtins.list(islice(source, size)):
                blocks = Block.checked(execution, batch)
                if blocks is None:
                    rows_checked = [self._checked_row(execution, row, written + i) for i, row in enumerate(batch)]
                    blocks = Block.grouped(rows_checked)
                if self._scope and (refused := first_refused(execution, blocks)) is not None:
                    raise at_row(refused[1], written + refused[0])
                results = self._insert_batch(execution, connection, blocks, written, returning=returning)
                written += len(batch)
                if each is None:
                    found += results
                else:
                    each(results)
                if progress is not None:
                    progress(written)
        return found if returning and each is None else written

    def _checked_row(self, execution: Execution[M], row: Mapping[str, object], index: int) -> dict[str, Any]:
        try:
            return execution.created(self._plan.written(row))
        except SqlError as error:
            raise at_row(error, index) from error.__cause__

    def _insert_batch(
        self,
        execution: Execution[M],
        connection: Connection,
        blocks: Sequence[Block],
        start: int,
        *,
        returning: bool,
    ) -> builtins.list[T]:
        """Insert checked rows; on a refusal find the row that it is about."""
        if not execution.writes_directly:
            entities = self._insert_entities(execution, Block.rows(blocks), start)
            return [self._reload(execution, entity) for entity in entities] if returning else []
        point = "svc_infra_batch" if start else "svc_infra_bulk"
        undoable = execution.capabilities.has_savepoints
        if start and undoable:
            savepoint(connection, f"SAVEPOINT {point}")
        table = self._plan.fields.table
        try:
            return self._insert_blocks(execution, connection, blocks, returning=returning)
        except Exception as error:  # COPY raises the driver's own errors
            if note_refusal(connection, table, error):
                savepoint(connection, f"ROLLBACK TO SAVEPOINT {point}")
                return self._insert_batch(execution, connection, blocks, start, returning=returning)
            refused = self._refusal(error)
            if refused is None:
                raise
            if not undoable or not isinstance(refused, IntegrityViolation | InvalidValue):
                raise refused from refused.__cause__
        rows = Block.rows(blocks)
        low, high = 0, len(rows)
        found: SqlError = refused
        savepoint(connection, f"ROLLBACK TO SAVEPOINT {point}")
        # Rows before `low` are in, and the first refused one is before `high`.
        while high - low > 1:
            middle = (low + high) // 2
            savepoint(connection, "SAVEPOINT svc_infra_half")
            try:
                self._insert_blocks(execution, connection, Block.grouped(rows[low:middle]), returning=False)
                low = middle
            except Exception as error:
                typed = self._refusal(error)
                if not isinstance(typed, IntegrityViolation | InvalidValue):
                    raise
                found = typed
                savepoint(connection, "ROLLBACK TO SAVEPOINT svc_infra_half")
                high = middle
        raise at_row(found, start + low) from found.__cause__

    def _insert_entities(
        self, execution: Execution[M], rows: Sequence[Mapping[str, Any]], start: int
    ) -> builtins.list[M]:
        """Insert checked rows by the unit of work; on a refusal find the row that it is about, one after another."""
        try:
            with unit_of_work.undone_on_error(execution):
                return unit_of_work.add_many(execution, rows)
        except Exception as error:
            refused = self._refusal(error)
            if refused is None:
                raise
            if not execution.capabilities.has_savepoints or not isinstance(refused, IntegrityViolation | InvalidValue):
                raise refused from refused.__cause__
        for index, row in enumerate(rows):
            try:
                with unit_of_work.undone_on_error(execution):
                    unit_of_work.add(execution, row)
            except Exception as error:
                typed = self._refusal(error)
                if typed is None:
                    raise
                raise at_row(typed, start + index) from typed.__cause__
        raise refused from refused.__cause__

    def _refusal(self, error: Exception) -> SqlError | None:
        """The typed error; what SQLAlchemy does not send raises the types' and the driver's errors as they are."""
        typed = translate(error, table=self._plan.fields.table)
        if typed is None and isinstance(error, VALUE_ERRORS):
            typed = InvalidValue("a value does not fit its column")
            typed.__cause__ = error
        return typed

    def _insert_blocks(
        self, execution: Execution[M], connection: Connection, blocks: Sequence[Block], *, returning: bool
    ) -> builtins.list[T]:
        results: dict[int, Any] = {}
        for block in blocks:
            if block.has_expressions:
                for place, row in zip(block.places, Block.rows([block]), strict=True):
                    results[place] = self._insert_row(connection, execution.statements, Computed(row))
            elif returning:
                written = self._insert_returning(execution, connection, block)
                results.update(zip(block.places, written, strict=True))
            elif len(block) < _MANY or not self._send_apart(execution, connection, block):
                connection.execute(execution.statements.insert(()), block.parameters(self._plan.fields))
        return self._written(execution, [results[place] for place in range(len(results))]) if returning else []

    def _insert_returning(self, execution: Execution[M], connection: Connection, block: Block) -> Sequence[Any]:
        """Insert rows of the same fields and return them in their order, by the cheapest way that keeps it."""
        statements, form, fields = execution.statements, self._form.names, self._plan.fields
        if not connection.dialect.insert_executemany_returning:
            return [self._insert_row(connection, statements, row) for row in Block.rows([block])]
        key = fields.primary_key
        names = (*form, *(name for name in key if name not in form))
        given = fields.has_exact_key and set(key) <= set(block.names)
        counted = fields.counts_key and not given
        found: Sequence[Any] | None = None
        if len(block) >= _MANY and (given or counted):
            found = self._insert_apart(execution, connection, names, block, ordered=counted)
        if found is None and (given or (counted and not execution.capabilities.has_arrays)):
            found = connection.execute(statements.insert(names), block.parameters(fields)).all()
        if found is None:
            return connection.execute(statements.insert_many(form), block.parameters(fields)).all()
        places = [names.index(name) for name in key]
        if counted:
            # The database counts the key up in the order of the rows.
            found = sorted(found, key=itemgetter(places[0]))
        else:
            by_key = {tuple(row[place] for place in places): row for row in found}
            found = [by_key[wanted] for wanted in zip(*(block.column(name) for name in key), strict=True)]
        width = len(form)
        return found if len(names) == width else [row[:width] for row in found]

    def _insert_apart(
        self, execution: Execution[M], connection: Connection, names: tuple[str, ...], block: Block, *, ordered: bool
    ) -> Sequence[Any] | None:
        """Insert rows as one array per column (PostgreSQL) or as JSON (DuckDB); None where that can't be done."""
        fields, by_json = self._plan.fields, execution.capabilities.reads_json_rows
        if (by_json and ordered) or not (by_json or execution.capabilities.has_arrays):
            return None
        columns, values = block.filled(fields)
        if not columns or not is_copyable(columns):
            return None
        if by_json:
            returned = [fields.columns[name] for name in names]
            return insert_json_rows(
                connection, fields.table, columns, builtins.list(zip(*values, strict=True)), returned
            )
        if any(isinstance(column.type, ARRAY) for column in columns):
            return None  # unnest would take such a value apart
        statement = execution.statements.insert_arrays(names, tuple(column.key for column in columns))
        return fetched(connection, statement, {f"array_{place}": each for place, each in enumerate(values)})

    def _send_apart(self, execution: Execution[M], connection: Connection, block: Block) -> bool:
        """Send the rows by the database's own way for many, and tell whether that could be done."""
        by_json, is_embedded = execution.capabilities.reads_json_rows, connection.dialect.name == "sqlite"
        table, has_arrays = self._plan.fields.table, execution.capabilities.has_arrays
        if not by_json and not is_embedded and not has_arrays:
            return False
        columns, values = block.filled(self._plan.fields)
        if not columns or not is_copyable(columns):
            return False
        if is_embedded:
            keys = [column.key for column in columns]
            return send_many_directly(connection, execution.statements.insert(()), keys, values)
        if by_json:
            records = builtins.list(zip(*values, strict=True))
            return insert_json_rows(connection, table, columns, records) is not None
        if copies(connection, table):
            copy_rows(connection, table, columns, values)
            return True
        if any(isinstance(column.type, ARRAY) for column in columns):
            return False
        statement = execution.statements.insert_arrays((), tuple(column.key for column in columns))
        connection.execute(statement, {f"array_{place}": each for place, each in enumerate(values)})
        return True

    @contextmanager
    def _undone_on_error(self, execution: Execution[M]) -> Iterator[Connection]:
        """A connection on which everything is undone when the block fails."""
        connection = execution.connect(execution.statements.insert(()))
        if not execution.writes_directly and execution.capabilities.has_savepoints:
            with unit_of_work.undone_on_error(execution):
                yield connection
            return
        if not execution.capabilities.has_savepoints:
            try:
                yield connection
            except BaseException:
                (connection if execution.session is None else execution.session).rollback()
                raise
            return
        info = connection.info  # of the driver's connection, which an error may take away
        info[_DEPTH] = depth = info.get(_DEPTH, 0) + 1
        try:
            savepoint(connection, "SAVEPOINT svc_infra_bulk")
            try:
                yield connection
            except BaseException:
                if not connection.invalidated and not connection.closed:
                    savepoint(connection, "ROLLBACK TO SAVEPOINT svc_infra_bulk")
                raise
            savepoint(connection, "RELEASE SAVEPOINT svc_infra_bulk")
        finally:
            info[_DEPTH] = depth - 1


_DEPTH = "svc_infra_savepoint_depth"


def savepoint(connection: Connection, statement: str) -> None:
    """Send a statement about savepoints, given in the words of the SQL standard.

    A write of many within another's hook has savepoints of its own: MySQL forgets the older one of the same name.
    """
    depth = connection.info.get(_DEPTH, 1)
    if depth > 1:
        statement = f"{statement}_{depth}"
    if connection.dialect.name == "mssql":
        verb, _, name = statement.rpartition(" ")
        if verb.startswith("RELEASE"):
            return  # Transact-SQL has no word for it: a savepoint ends with its transaction
        statement = f"{'ROLLBACK' if verb.startswith('ROLLBACK') else 'SAVE'} TRANSACTION {name}"
    connection.exec_driver_sql(statement)


def at_row(error: SqlError, index: int) -> SqlError:
    """The error, with the index of the row that it is about."""
    error.row = index
    error.args = (f"row {index}: {error.args[0] if error.args else ''}", *error.args[1:])
    return error
