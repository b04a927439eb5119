"""Inserts of many rows."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeVar, overload

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.blocks import Block
from svc_infra.db.sql.direct import begins_directly
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, SqlError
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.inserting import Batch
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.reading import natural
from svc_infra.db.sql.reference_checks import first_refused
from svc_infra.db.sql.savepoints import undone_on_error
from svc_infra.db.sql.translate import at_row, refusal
from svc_infra.db.sql.writing import Writing

__all__ = ["AwaitedRows", "Creating"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)


class AwaitedRows:
    """Rows that are made by awaiting something, which may be the database: they are asked for while it does nothing.

    Args:
        rows: What they are made of.
        make: Makes a row.
    """

    def __init__(
        self, rows: Iterable[Mapping[str, object]], make: Callable[[Mapping[str, object]], Awaitable[dict[str, Any]]]
    ) -> None:
        self._rows = rows
        self._make = make

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, within SQLAlchemy's greenlet."""
        for row in self._rows:
            yield await_only(self._make(row))


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
            rows: Values by field, of each row. Those of an iterator may be asked for while the database writes the ones
                before, so it must not use the session.
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
        returned = self._form.names if returning else ()
        # What asks the database itself while rows or results are made can't do so before it has answered.
        asks = isinstance(rows, AwaitedRows) or (returning and self._form.needs_orm)
        found: builtins.list[T] = []
        written, number, source = 0, size, iter(rows)
        with undone_on_error(execution) as connection:
            is_ahead = not asks and begins_directly(connection)
            while number == size:
                if execution.writes_directly:
                    batch = Batch(execution, connection, returned, written, is_ahead=is_ahead)
                    results = self._insert(batch, islice(source, size))
                    number = len(batch)
                else:
                    entities = self._insert_entities(execution, builtins.list(islice(source, size)), written)
                    results = [self._reload(execution, entity) for entity in entities] if returning else []
                    number = len(entities)
                written += number
                if each is None:
                    found += results
                elif number:
                    each(results)
                if progress is not None and number:
                    progress(written)
        return found if returning and each is None else written

    def _insert(self, batch: Batch[M], rows: Iterator[Mapping[str, object]]) -> builtins.list[T]:
        """Insert a batch; while the database writes a part of it, the next one is checked and the last one returned."""
        execution = batch.execution
        results: builtins.list[T] = []
        try:
            for part, is_alone in batch.parts(rows):
                try:
                    blocks = self._checked(execution, part, batch.end)
                    answer = batch.answer()
                    self._check_references(execution, blocks, batch.end)
                except SqlError as error:
                    self._send_before(batch, part, error)
                    raise
                batch.send(blocks, is_alone=is_alone)
                results += self._results(batch, answer)
        except BaseException:
            batch.answer()  # a refused row of the part before comes first
            raise
        return results + self._results(batch, batch.answer())

    def _send_before(self, batch: Batch[M], part: Sequence[Mapping[str, object]], error: SqlError) -> None:
        """Send the rows of a part before the one that was found wrong: one that the database refuses comes first."""
        batch.answer()
        if batch.is_undoable and error.row is not None and error.row > batch.end:
            batch.send(self._checked(batch.execution, part[: error.row - batch.end], batch.end), is_alone=True)

    def _results(self, batch: Batch[M], answer: Sequence[Any]) -> builtins.list[T]:
        return self._written(batch.execution, answer) if batch.returned else []

    def _checked(self, execution: Execution[M], rows: Sequence[Mapping[str, object]], start: int) -> Sequence[Block]:
        blocks = Block.checked(execution, rows)
        if blocks is not None:
            return blocks
        return Block.grouped([self._checked_row(execution, row, start + i) for i, row in enumerate(rows)])

    def _checked_row(self, execution: Execution[M], row: Mapping[str, object], index: int) -> dict[str, Any]:
        try:
            return execution.created(self._plan.written(row))
        except SqlError as error:
            raise at_row(error, index) from error.__cause__

    def _check_references(self, execution: Execution[M], blocks: Sequence[Block], start: int) -> None:
        if self._scope and (refused := first_refused(execution, blocks)) is not None:
            raise at_row(refused[1], start + refused[0])

    def _insert_entities(
        self, execution: Execution[M], rows: Sequence[Mapping[str, object]], start: int
    ) -> builtins.list[M]:
        """Insert a batch by the unit of work; on a refusal find the row that it is about, one after another."""
        if not rows:
            return []
        try:
            blocks = self._checked(execution, rows, start)
            self._check_references(execution, blocks, start)
        except SqlError as error:
            if execution.capabilities.has_savepoints and error.row is not None:
                self._insert_entities(execution, rows[: error.row - start], start)  # one refused there comes first
            raise
        checked = Block.rows(blocks)
        table = self._plan.fields.table
        try:
            with unit_of_work.undone_on_error(execution):
                return unit_of_work.add_many(execution, checked)
        except Exception as error:
            refused = refusal(error, table)
            if refused is None:
                raise
            if not execution.capabilities.has_savepoints or not isinstance(refused, IntegrityViolation | InvalidValue):
                raise refused from refused.__cause__
        for index, row in enumerate(checked):
            try:
                with unit_of_work.undone_on_error(execution):
                    unit_of_work.add(execution, row)
            except Exception as error:
                typed = refusal(error, table)
                if typed is None:
                    raise
                raise at_row(typed, start + index) from typed.__cause__
        raise refused from refused.__cause__
