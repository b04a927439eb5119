"""Rows on their way into the database, by the cheapest way that it has and that keeps what was promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection

from svc_infra.db.sql.blocks import Block
from svc_infra.db.sql.copying import begin_copy, copies, copy_rows, holds_array, is_copyable, note_refusal
from svc_infra.db.sql.direct import begin_directly, raise_as_sqlalchemy, send_many_directly
from svc_infra.db.sql.errors import Disconnected, IntegrityViolation, InvalidValue, SqlError
from svc_infra.db.sql.execution import Execution, fetched
from svc_infra.db.sql.json_rows import insert_json_rows
from svc_infra.db.sql.savepoints import BULK, savepoint
from svc_infra.db.sql.statements import id_parameter
from svc_infra.db.sql.translate import at_row, refusal
from svc_infra.db.sql.values import Computed

__all__ = ["Batch", "insert_row"]

M = TypeVar("M")
T = TypeVar("T")

Answer: TypeAlias = Callable[[], Sequence[Any]]
"""Waits for what a statement that was sent returns."""

# COPY costs two round trips more than an INSERT, which pays from about here.
_MANY: Final = 50


class Batch(Generic[M]):
    """Rows that are written together, of which the first refused one can be found.

    They come in parts. Where the next is made ready ahead, the database may still write the last one when `send`
    returns; `answer` waits for it, and until then nothing else can be sent on the connection.

    Args:
        execution: Of the model's repository; it writes past the unit of work.
        connection: A connection within `undone_on_error`.
        returned: The fields to return of each row; none to return nothing.
        start: The index of the first row among all that are written.
        is_ahead: Whether parts are made ready ahead, for which the connection must be one that `begins_directly`.

    Attributes:
        execution: As given.
        returned: As given.
    """

    def __init__(
        self,
        execution: Execution[M],
        connection: Connection,
        returned: tuple[str, ...],
        start: int,
        *,
        is_ahead: bool,
    ) -> None:
        self.execution = execution
        self.returned = returned
        self._connection = connection
        self._start = start
        self._is_ahead = is_ahead
        self._parts: list[Sequence[Block]] = []
        self._point = "svc_infra_batch" if start else BULK
        self._answer: Answer | None = None
        self._length = 0

    def __len__(self) -> int:
        """Rows that were sent."""
        return self._length

    @property
    def end(self) -> int:
        """The index of the row after the last one that was sent."""
        return self._start + self._length

    @property
    def is_undoable(self) -> bool:
        """Whether the database can undo the rows alone, so that the first refused one can be found."""
        return self.execution.capabilities.has_savepoints

    def parts(self, rows: Iterator[T]) -> Iterator[tuple[list[T], bool]]:
        """The rows in the parts that are sent together, and whether one is all there is.

        Where the next part is made ready while the database writes one, each is larger than the last, so that a large
        batch needs few statements. Rows that come back become results meanwhile, which takes about as long as the
        database needs; others are just checked, in a third of that time.
        """
        part, growth = (250, 2) if self.returned else (125, 3)
        is_first = True
        while found := list(islice(rows, part if self._is_ahead else None)):
            yield found, is_first and (len(found) < part or not self._is_ahead)
            part, is_first = growth * part, False

    def send(self, blocks: Sequence[Block], *, is_alone: bool) -> None:
        """Send a part of the rows; the answer of the last one must have been taken.

        Args:
            blocks: The rows, checked.
            is_alone: Whether it is all there is, so that there is nothing to do while the database writes it.

        Raises:
            SqlError: When the database refuses one. Its `row` is the index.
        """
        if not self._parts and self._point != BULK and self.is_undoable:
            savepoint(self._connection, f"SAVEPOINT {self._point}")
        self._parts.append(blocks)
        self._length += sum(map(len, blocks))
        try:
            self._answer = self._send(blocks, is_awaited=is_alone or not self._is_ahead)
        except Exception as error:  # noqa: BLE001 (typed and raised there; COPY raises the driver's own)
            self._answer = self._explain(error)

    def answer(self) -> Sequence[Any]:
        """The rows that were sent last, as they came back; none when nothing is awaited.

        Raises:
            SqlError: As `send` does.
        """
        answer, self._answer = self._answer, None
        if answer is None:
            return ()
        try:
            return answer()
        except Exception as error:  # noqa: BLE001 (as in `send`)
            return self._explain(error)()

    def _explain(self, error: Exception) -> Answer:
        """Raise the typed error of the row that is refused, or find another way for the rows when it was the way."""
        connection, table = self._connection, self.execution.plan.fields.table
        if not self.returned and note_refusal(connection, table, error):
            savepoint(connection, f"ROLLBACK TO SAVEPOINT {self._point}")
            every, self._parts = self._parts, []
            for blocks in every:
                self._parts.append(blocks)
                try:
                    self._send(blocks, is_awaited=True)
                except Exception as another:  # noqa: BLE001 (as in `send`)
                    self._explain(another)
            return tuple
        refused = refusal(error, table)
        if refused is None or isinstance(refused, Disconnected):
            try:
                raise_as_sqlalchemy(connection, error, f"COPY {table.fullname} FROM STDIN", table)
            except Exception:
                if refused is None:
                    raise
        if not self.is_undoable or not isinstance(refused, IntegrityViolation | InvalidValue):
            raise refused from refused.__cause__
        rows = [row for blocks in self._parts for row in Block.rows(blocks)]
        savepoint(connection, f"ROLLBACK TO SAVEPOINT {self._point}")
        place, found = self._first_refused(rows, refused)
        raise at_row(found, self._start + place) from found.__cause__

    def _first_refused(self, rows: Sequence[Mapping[str, Any]], refused: SqlError) -> tuple[int, SqlError]:
        """Find the row that the rows before it do not make acceptable, by halves."""
        low, high, found = 0, len(rows), refused
        # Rows before `low` are in, and the first refused one is before `high`.
        while high - low > 1:
            middle = (low + high) // 2
            savepoint(self._connection, "SAVEPOINT svc_infra_half")
            try:
                for block in Block.grouped(rows[low:middle]):
                    self._insert(block)
                low = middle
            except Exception as error:
                typed = refusal(error, self.execution.plan.fields.table)
                if not isinstance(typed, IntegrityViolation | InvalidValue):
                    raise
                found = typed
                savepoint(self._connection, "ROLLBACK TO SAVEPOINT svc_infra_half")
                high = middle
        return low, found

    def _send(self, blocks: Sequence[Block], *, is_awaited: bool) -> Answer:
        if len(blocks) == 1:
            return self._send_block(blocks[0], is_awaited=is_awaited)
        results: dict[int, Any] = {}
        for block in blocks:
            # Of one kind, as those of one block are: rows of SQLAlchemy's or records of the driver's.
            rows = map(tuple, self._send_block(block, is_awaited=True)())
            results.update(zip(block.places, rows, strict=False))
        return _known([results[place] for place in range(len(results))])

    def _send_block(self, block: Block, *, is_awaited: bool) -> Answer:
        """Send rows of the same fields, whose answer is in their order."""
        if not self.returned:
            return self._insert(block, is_awaited=is_awaited)
        if block.has_expressions:
            return self._insert_one_by_one(block)
        return self._insert_returning(block, is_awaited=is_awaited)

    def _insert_one_by_one(self, block: Block) -> Answer:
        kind = Computed if block.has_expressions else dict
        execution, connection, returned = self.execution, self._connection, self.returned
        return _known([insert_row(execution, connection, returned, kind(row)) for row in Block.rows([block])])

    def _insert(self, block: Block, *, is_awaited: bool = True) -> Answer:
        """Send rows of which nothing comes back, by the database's own way for many where that pays."""
        if block.has_expressions:
            self._insert_one_by_one(block)
            return tuple
        answer = self._insert_apart(block, is_awaited=is_awaited) if len(block) >= _MANY else None
        if answer is not None:
            return answer
        execution = self.execution
        self._connection.execute(execution.statements.insert(()), block.parameters(execution.plan.fields))
        return tuple

    def _insert_apart(self, block: Block, *, is_awaited: bool) -> Answer | None:
        """Send rows by the database's own way for many; None where that can't be done."""
        execution, connection = self.execution, self._connection
        by_json, is_embedded = execution.capabilities.reads_json_rows, connection.dialect.name == "sqlite"
        table, has_arrays = execution.plan.fields.table, execution.capabilities.has_arrays
        if not by_json and not is_embedded and not has_arrays:
            return None
        columns, values = block.filled(execution.plan.fields)
        if not columns or not is_copyable(columns, connection.dialect):
            return None
        if is_embedded:
            keys = [column.key for column in columns]
            return tuple if send_many_directly(connection, execution.statements.insert(()), keys, values) else None
        if by_json:
            records = list(zip(*values, strict=True))
            return None if insert_json_rows(connection, table, columns, records) is None else tuple
        if copies(connection, table):
            if not is_awaited:
                return begin_copy(connection, table, columns, values)
            copy_rows(connection, table, columns, values)
            return tuple
        if any(holds_array(column, connection.dialect) for column in columns):
            return None
        statement = execution.statements.insert_arrays((), tuple(column.key for column in columns))
        connection.execute(statement, {f"array_{place}": each for place, each in enumerate(values)})
        return tuple

    def _insert_returning(self, block: Block, *, is_awaited: bool) -> Answer:
        """Send rows that come back in their order, by the cheapest way that keeps it."""
        execution, connection, returned = self.execution, self._connection, self.returned
        statements, fields = execution.statements, execution.plan.fields
        if not connection.dialect.insert_executemany_returning:
            return self._insert_one_by_one(block)
        key = fields.primary_key
        names = (*returned, *(name for name in key if name not in returned))
        is_given = fields.has_exact_key and set(key) <= set(block.names)
        is_counted = fields.counts_key and not is_given
        answer: Answer | None = None
        if len(block) >= _MANY and (is_given or is_counted):
            answer = self._insert_apart_returning(names, block, is_ordered=is_counted, is_awaited=is_awaited)
        if answer is None and (is_given or (is_counted and not execution.capabilities.has_arrays)):
            answer = _known(connection.execute(statements.insert(names), block.parameters(fields)).all())
        if answer is None:
            return _known(connection.execute(statements.insert_many(returned), block.parameters(fields)).all())
        places, width = [names.index(name) for name in key], len(returned)

        def in_order() -> Sequence[Any]:
            found = answer()
            if is_counted:
                # The database counts the key up in the order of the rows.
                found = sorted(found, key=itemgetter(places[0]))
            else:
                by_key = {tuple(row[place] for place in places): row for row in found}
                found = [by_key[wanted] for wanted in zip(*(block.column(name) for name in key), strict=True)]
            return found if len(names) == width else [row[:width] for row in found]

        return in_order

    def _insert_apart_returning(
        self, names: tuple[str, ...], block: Block, *, is_ordered: bool, is_awaited: bool
    ) -> Answer | None:
        """Send rows as one array per column (PostgreSQL) or as JSON (DuckDB); None where that can't be done."""
        execution, connection = self.execution, self._connection
        fields, by_json = execution.plan.fields, execution.capabilities.reads_json_rows
        if (by_json and is_ordered) or not (by_json or execution.capabilities.has_arrays):
            return None
        columns, values = block.filled(fields)
        if not columns or not is_copyable(columns, connection.dialect):
            return None
        if by_json:
            returned = [fields.columns[name] for name in names]
            found = insert_json_rows(connection, fields.table, columns, list(zip(*values, strict=True)), returned)
            return None if found is None else _known(found)
        if any(holds_array(column, connection.dialect) for column in columns):
            return None  # unnest would take such a value apart
        statement = execution.statements.insert_arrays(names, tuple(column.key for column in columns))
        parameters = {f"array_{place}": each for place, each in enumerate(values)}
        answer = None if is_awaited else begin_directly(connection, statement, parameters)
        return answer or _known(fetched(connection, statement, parameters))


def _known(rows: Sequence[Any]) -> Answer:
    return lambda: rows


def insert_row(
    execution: Execution[M], connection: Connection, returned: tuple[str, ...], values: Mapping[str, Any]
) -> Any:
    """Insert checked values and return those fields of the row; None when there are none to return."""
    plan, statements = execution.plan, execution.statements
    returns = connection.dialect.insert_returning
    statement = statements.insert(returned if returns else ())
    if type(values) is Computed:
        expressions, parameters = values.apart(plan.fields)
        statement = statement.values(expressions)
    else:
        parameters = plan.by_column(values)
    if returned and returns:
        return fetched(connection, statement, parameters)[0]
    result = connection.execute(statement, parameters)
    if not returned:
        return None
    key = result.inserted_primary_key
    by_key = {id_parameter(name): part for name, part in zip(plan.fields.primary_key, key or (), strict=True)}
    return fetched(connection, statements.select_by_key(returned), by_key)[0]
