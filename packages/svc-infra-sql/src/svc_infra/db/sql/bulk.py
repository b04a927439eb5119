"""The writes of a repository to many rows at once."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, TypeVar, overload

from sqlalchemy import ARRAY, Connection, delete, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.conditions import Conditions, Where
from svc_infra.db.sql.copying import copies, copy_rows, default_of, is_copyable
from svc_infra.db.sql.entities import EntityLoader
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, SqlError
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.json_rows import insert_json_rows
from svc_infra.db.sql.reading import natural
from svc_infra.db.sql.statements import Selection
from svc_infra.db.sql.translate import translate
from svc_infra.db.sql.values import is_expression
from svc_infra.db.sql.visibility import Deleted
from svc_infra.db.sql.writing import Writing

__all__ = ["BulkWriting"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection)

# COPY costs two round trips more than an INSERT, which pays from about here.
_MANY = 50


class BulkWriting(Writing[M, T, E]):
    """Writes many rows of one model by few statements.

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

    async def create_many(
        self,
        session: E,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: bool = True,
        batch_size: int = 5000,
        progress: Callable[[int], object] | None = None,
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

        Raises:
            UnknownField: When a name is no field.
            InvalidValue: When a value does not fit its field.
            IntegrityViolation: When a constraint refuses a row. Of all of these, `row` is the index of the first row
                that is refused.
        """
        if natural("batch_size", batch_size) < 1:
            raise InvalidValue("batch_size must be at least 1")
        return await self._run(session, self._create_many, rows, returning, batch_size, progress)

    def _create_many(
        self,
        target: Session | Connection,
        rows: Iterable[Mapping[str, object]],
        returning: bool,
        size: int,
        progress: Callable[[int], object] | None,
    ) -> builtins.list[T] | int:
        execution = self._execution(target)
        found: builtins.list[T] = []
        written, source = 0, iter(rows)
        with self._undone_on_error(execution) as connection:
            while batch := builtins.list(islice(source, size)):
                values = [self._checked_row(execution, row, written + i) for i, row in enumerate(batch)]
                found += self._insert_batch(execution, connection, values, written, returning=returning)
                written += len(batch)
                if progress is not None:
                    progress(written)
        return found if returning else written

    def _checked_row(self, execution: Execution[M], row: Mapping[str, object], index: int) -> dict[str, Any]:
        try:
            return execution.created(self._plan.written(row))
        except SqlError as error:
            raise at_row(error, index) from error.__cause__

    def _insert_batch(
        self,
        execution: Execution[M],
        connection: Connection,
        rows: builtins.list[dict[str, Any]],
        start: int,
        *,
        returning: bool,
    ) -> builtins.list[T]:
        """Insert checked rows; on a refusal find the row that it is about."""
        point = "svc_infra_batch" if start else "svc_infra_bulk"
        undoable = has_savepoints(connection)
        if start and undoable:
            savepoint(connection, f"SAVEPOINT {point}")
        try:
            return self._insert_rows(execution, connection, rows, returning=returning)
        except DBAPIError as error:
            refused = translate(error, table=self._plan.fields.table)
            if not undoable or not isinstance(refused, IntegrityViolation | InvalidValue):
                raise
        low, high = 0, len(rows)
        found: SqlError = refused
        savepoint(connection, f"ROLLBACK TO SAVEPOINT {point}")
        # Rows before `low` are in, and the first refused one is before `high`.
        while high - low > 1:
            middle = (low + high) // 2
            savepoint(connection, "SAVEPOINT svc_infra_half")
            try:
                self._insert_rows(execution, connection, rows[low:middle], returning=False)
                low = middle
            except DBAPIError as error:
                found = translate(error, table=self._plan.fields.table) or found
                savepoint(connection, "ROLLBACK TO SAVEPOINT svc_infra_half")
                high = middle
        raise at_row(found, start + low) from found.__cause__

    def _insert_rows(
        self, execution: Execution[M], connection: Connection, rows: Sequence[dict[str, Any]], *, returning: bool
    ) -> builtins.list[T]:
        if not execution.writes_directly:
            entities = unit_of_work.add_many(execution, builtins.list(rows))
            return [self._reload(execution, entity) for entity in entities] if returning else []
        # A statement has one list of columns, so rows that give other fields go by another one.
        groups: dict[frozenset[str], builtins.list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(frozenset(row), []).append(index)
        results: dict[int, Any] = {}
        for names, indexes in groups.items():
            part = [rows[index] for index in indexes]
            if returning:
                results.update(zip(indexes, self._insert_returning(execution, connection, part), strict=True))
            elif len(part) < _MANY or not self._send_apart(execution, connection, sorted(names), part):
                connection.execute(execution.statements.insert(()), [self._plan.by_column(row) for row in part])
        return self._written(execution, [results[index] for index in range(len(rows))]) if returning else []

    def _insert_returning(
        self, execution: Execution[M], connection: Connection, rows: Sequence[dict[str, Any]]
    ) -> Sequence[Any]:
        """Insert rows of the same fields and return them in their order, by the cheapest way that keeps it."""
        statements, form, fields = execution.statements, self._form.names, self._plan.fields
        if not connection.dialect.insert_executemany_returning:
            return [self._insert_row(connection, statements, row) for row in rows]
        names = (*form, *(name for name in fields.primary_key if name not in form))
        places = [names.index(name) for name in fields.primary_key]
        given = fields.has_exact_key and set(fields.primary_key) <= set(rows[0])
        counted = fields.counts_key and not given
        found: Sequence[Any] | None = None
        if len(rows) >= _MANY and (given or counted):
            found = self._insert_apart(execution, connection, names, rows, ordered=counted)
        if found is None and (given or (counted and not execution.capabilities.has_arrays)):
            parameters = [self._plan.by_column(row) for row in rows]
            found = connection.execute(statements.insert(names), parameters).all()
        if found is None:
            return connection.execute(statements.insert_many(form), [self._plan.by_column(row) for row in rows]).all()
        if counted:
            # The database counts the key up in the order of the rows.
            found = sorted(found, key=lambda row: row[places[0]])
        else:
            by_key = {tuple(row[place] for place in places): row for row in found}
            found = [by_key[tuple(row[name] for name in fields.primary_key)] for row in rows]
        width = len(form)
        return found if len(names) == width else [row[:width] for row in found]

    def _insert_apart(
        self,
        execution: Execution[M],
        connection: Connection,
        names: tuple[str, ...],
        rows: Sequence[dict[str, Any]],
        *,
        ordered: bool,
    ) -> Sequence[Any] | None:
        """Insert rows as one array per column (PostgreSQL) or as JSON (DuckDB); None where that can't be done."""
        fields, by_json = self._plan.fields, execution.capabilities.reads_json_rows
        if not by_json and not execution.capabilities.has_arrays:
            return None
        columns, records = self._records(sorted(rows[0]), rows)
        if not columns or not is_copyable(columns):
            return None
        if by_json:
            returned = [fields.columns[name] for name in names]
            return None if ordered else insert_json_rows(connection, fields.table, columns, records, returned)
        if any(isinstance(column.type, ARRAY) for column in columns):
            return None  # unnest would take such a value apart
        statement = execution.statements.insert_arrays(names, tuple(column.key for column in columns))
        arrays = {f"array_{place}": builtins.list(values) for place, values in enumerate(zip(*records, strict=True))}
        return connection.execute(statement, arrays).all()

    def _send_apart(
        self, execution: Execution[M], connection: Connection, names: Sequence[str], rows: Sequence[dict[str, Any]]
    ) -> bool:
        """Send the rows by the database's own way for many, and tell whether that could be done."""
        by_json = execution.capabilities.reads_json_rows
        if not by_json and not copies(connection):
            return False
        columns, records = self._records(names, rows)
        if not columns or not is_copyable(columns):
            return False
        table = self._plan.fields.table
        if by_json:
            return insert_json_rows(connection, table, columns, records) is not None
        copy_rows(connection, table, columns, records)
        return True

    def _records(
        self, names: Sequence[str], rows: Sequence[dict[str, Any]]
    ) -> tuple[builtins.list[Any], builtins.list[tuple[Any, ...]]]:
        """The columns and the values of the rows with Python's defaults; no columns when only SQLAlchemy can do it."""
        given = [self._plan.fields.columns[name] for name in names]
        if any(is_expression(value) for row in rows for value in row.values()):
            return [], []
        try:
            made = {column: default_of(column) for column in self._plan.fields.table.columns if column not in given}
            filled = {column: make for column, make in made.items() if make is not None}
            records = [(*(row[name] for name in names), *(make() for make in filled.values())) for row in rows]
        except (LookupError, AttributeError, TypeError):
            # A default that is an SQL expression, or that reads the row that SQLAlchemy would give it.
            return [], []
        return [*given, *filled], records

    async def update_many(
        self,
        session: E,
        data: Mapping[str, object],
        *,
        where: Where | None = None,
        ids: Iterable[object] | None = None,
    ) -> int:
        """Change the fields given in every row that fulfils the conditions, by one statement.

        Objects that the session holds are read again, by one more statement if there are any.

        Args:
            session: Where to write.
            data: New values by field, as in `update`.
            where: Conditions, as in `list`; an empty list means every visible row.
            ids: The ids of the rows, when they have a single id field.

        Returns:
            How many rows were changed.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows.
        """
        immutable = self._plan.immutable_fields
        values = {name: value for name, value in self._plan.written(data).items() if name not in immutable}
        return await self._run(session, self._update_many, values, self._chosen(where, ids, "exclude"))

    async def delete_many(self, session: E, *, where: Where | None = None, ids: Iterable[object] | None = None) -> int:
        """Delete every row that fulfils the conditions, softly or not as `delete` does, by one statement.

        Args:
            session: Where to write.
            where: Conditions, as in `list`; an empty list means every visible row.
            ids: The ids of the rows, when they have a single id field.

        Returns:
            How many rows were deleted.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows.
            ForeignKeyViolation: When other rows refer to one.
        """
        return await self._run(session, self._delete_many, self._chosen(where, ids, "exclude"))

    async def restore_many(self, session: E, *, where: Where | None = None, ids: Iterable[object] | None = None) -> int:
        """Make soft-deleted rows that fulfil the conditions live again, by one statement.

        Returns:
            How many rows were restored.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows, or the repository does not delete softly.
        """
        if not self._plan.visibility.is_soft:
            raise InvalidQuery(f"{self._plan.fields.model.__name__} is not deleted softly; there is nothing to restore")
        values = self._plan.visibility.unmarks()
        return await self._run(session, self._update_many, values, self._chosen(where, ids, "only"))

    async def purge_many(
        self,
        session: E,
        *,
        where: Where | None = None,
        ids: Iterable[object] | None = None,
        deleted: Deleted = "only",
    ) -> int:
        """Remove rows that fulfil the conditions for good; by default only soft-deleted ones, as retention wants.

        Returns:
            How many rows were removed.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows.
            ForeignKeyViolation: When other rows refer to one.
        """
        return await self._run(session, self._remove_many, self._chosen(where, ids, deleted))

    async def ids_of(
        self,
        session: E,
        *,
        where: Where | None = None,
        ids: Iterable[object] | None = None,
        deleted: Deleted = "exclude",
    ) -> builtins.list[Any]:
        """The ids of the rows that a write of many with the same arguments would touch; tuples of a composite id.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows.
        """
        return await self._run(session, self._ids_of, self._chosen(where, ids, deleted))

    def _ids_of(
        self, target: Session | Connection, chosen: tuple[Selection, builtins.list[object] | None]
    ) -> builtins.list[Any]:
        execution, names = self._execution(target), self._plan.id_fields
        criteria, parameters = self._criteria(execution, chosen)
        columns = [execution.statements.column(name) for name in self._plan.fields.primary_key]
        statement = execution.statements.selected(names).where(*criteria).order_by(*columns)
        rows = execution.run(statement, parameters).all()
        return [row[0] if len(names) == 1 else tuple(row) for row in rows]

    def _chosen(
        self, where: Where | None, ids: Iterable[object] | None, deleted: Deleted
    ) -> tuple[Selection, builtins.list[object] | None]:
        if where is None and ids is None:
            raise InvalidQuery("give where or ids; to mean every row, where=[]")
        if ids is not None and len(self._plan.id_fields) != 1:
            raise InvalidQuery(f"{self._plan.fields.model.__name__} has a composite id; choose rows by where")
        return Selection(Conditions(where), (), deleted), None if ids is None else builtins.list(ids)

    def _criteria(
        self, execution: Execution[M], chosen: tuple[Selection, builtins.list[object] | None]
    ) -> tuple[builtins.list[Any], dict[str, Any]]:
        selection, ids = chosen
        criteria, parameters = execution.statements.criteria(selection), execution.by_selection(selection)
        if ids is not None:
            (name,) = self._plan.id_fields
            criteria.append(execution.statements.ids_criterion())
            parameters["ids"] = execution.checker.each(name, ids)
        return criteria, parameters

    def _update_many(
        self, target: Session | Connection, data: dict[str, Any], chosen: tuple[Selection, builtins.list[object] | None]
    ) -> int:
        execution, plan = self._execution(target), self._plan
        values = execution.checker.values(data, creating=False)
        if not values:
            return 0
        criteria, parameters = self._criteria(execution, chosen)
        if not execution.writes_directly:
            entities = self._chosen_entities(execution, criteria, parameters)
            for entity in entities:
                for name, value in values.items():
                    setattr(entity, name, value)
            execution.orm_session.flush()
            return len(entities)
        statement = update(plan.fields.table).where(*criteria)
        statement = statement.values({**plan.by_column(values), **execution.statements.next_version()})
        return self._changed(execution, statement, parameters)

    def _delete_many(self, target: Session | Connection, chosen: tuple[Selection, builtins.list[object] | None]) -> int:
        if self._plan.visibility.is_soft:
            return self._update_many(target, self._plan.visibility.marks(self._plan.fields, self._plan.clock()), chosen)
        return self._remove_many(target, chosen)

    def _remove_many(self, target: Session | Connection, chosen: tuple[Selection, builtins.list[object] | None]) -> int:
        execution = self._execution(target)
        criteria, parameters = self._criteria(execution, chosen)
        if not execution.writes_directly or (execution.session is not None and self._plan.fields.cascades_deletes):
            entities = self._chosen_entities(execution, criteria, parameters)
            for entity in entities:
                execution.orm_session.delete(entity)
            execution.orm_session.flush()
            return len(entities)
        return self._changed(execution, delete(self._plan.fields.table).where(*criteria), parameters)

    def _chosen_entities(
        self, execution: Execution[M], criteria: Sequence[Any], parameters: Mapping[str, Any]
    ) -> builtins.list[M]:
        statement = execution.orm_statements.selected(None).where(*criteria)
        return builtins.list(execution.run_orm(statement, parameters).scalars().unique())

    def _changed(self, execution: Execution[M], statement: Any, parameters: Mapping[str, Any]) -> int:
        """Run an UPDATE or DELETE, count its rows, and let the session's objects follow."""
        connection = execution.connect(statement)
        result = connection.execute(statement, parameters)
        number = result.rowcount
        if number < 0:
            raise RuntimeError(f"{connection.dialect.name} does not tell how many rows a statement changed")
        if number and execution.session is not None:
            self._follow(execution, connection)
        return number

    def _follow(self, execution: Execution[M], connection: Connection) -> None:
        """Read the held objects again, and let those go whose rows are gone."""
        fields, session = self._plan.fields, execution.orm_session
        held: dict[tuple[Any, ...], Any] = {}
        for entity in session.identity_map.values():
            key = instance_state(entity).key
            if key is not None and key[0] is fields.mapper.class_:
                held[key[1]] = entity
        if not held:
            return
        columns = [execution.statements.column(name) for name in fields.primary_key]
        keys = builtins.list(held)
        found: builtins.list[Any] = []
        for start in range(0, len(keys), 1000):
            part = keys[start : start + 1000]
            chosen = columns[0].in_([key[0] for key in part]) if len(columns) == 1 else tuple_(*columns).in_(part)
            found += connection.execute(execution.statements.selected(fields.names).where(chosen)).all()
        there = {id(entity) for entity in EntityLoader(fields).load(session, found, refresh=True)}
        for entity in held.values():
            if id(entity) not in there:
                session.expunge(entity)

    @contextmanager
    def _undone_on_error(self, execution: Execution[M]) -> Iterator[Connection]:
        """A connection on which everything is undone when the block fails."""
        connection = execution.connect(execution.statements.insert(()))
        if not has_savepoints(connection):
            try:
                yield connection
            except BaseException:
                (connection if execution.session is None else execution.session).rollback()
                raise
            return
        savepoint(connection, "SAVEPOINT svc_infra_bulk")
        try:
            yield connection
        except BaseException:
            if not connection.invalidated and not connection.closed:
                savepoint(connection, "ROLLBACK TO SAVEPOINT svc_infra_bulk")
            raise
        savepoint(connection, "RELEASE SAVEPOINT svc_infra_bulk")


def has_savepoints(connection: Connection) -> bool:
    """Whether a part of a transaction can be undone on the connection."""
    return connection.dialect.name != "duckdb"


def savepoint(connection: Connection, statement: str) -> None:
    """Send a statement about savepoints."""
    connection.exec_driver_sql(statement)


def at_row(error: SqlError, index: int) -> SqlError:
    """The error, with the index of the row that it is about."""
    error.row = index
    error.args = (f"row {index}: {error.args[0] if error.args else ''}", *error.args[1:])
    return error
