"""Insert or update by a unique key, in one statement."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Index, Table, UniqueConstraint, and_, func, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.blocks import Block
from svc_infra.db.sql.changes import Changing
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, UniqueViolation
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.reading import listed
from svc_infra.db.sql.reference_checks import first_refused
from svc_infra.db.sql.savepoints import BULK, savepoint, undone_on_error
from svc_infra.db.sql.statements import Selection
from svc_infra.db.sql.translate import at_row, refusal
from svc_infra.db.sql.values import Computed, is_expression
from svc_infra.db.sql.visibility import Visibility

__all__ = ["Upserting"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)


class Upserting(Changing[M, T, E]):
    """Inserts rows or, where their key is taken, updates the row that has it."""

    async def upsert(
        self,
        session: E,
        data: Mapping[str, object],
        *,
        on: str | Sequence[str] | None = None,
        update: Sequence[str] | None = None,
    ) -> T:
        """Insert a row or, when a visible row has the same key, update that one; return the row.

        Args:
            session: Where to write.
            data: Values by field.
            on: The fields of a unique key: a primary key, unique constraint or unique index, to which the fields of the
                scope may be added. Default: the id fields.
            update: The fields that are set in a row that is there; default all given but those of the key and the
                immutable ones. Empty leaves that row as it is.

        Raises:
            InvalidQuery: When no unique key has the fields, or the data lack one of them.
            UniqueViolation: When the key is taken by a row that is soft-deleted or out of scope, or another key is.
            UnknownField: When a name is no field.
            InvalidValue: When a value does not fit its field, or an expression stands in the key.
        """
        results = await self._run(session, self._upsert_many, [data], on, update)
        return results[0]

    async def upsert_many(
        self,
        session: E,
        rows: Iterable[Mapping[str, object]],
        *,
        on: str | Sequence[str] | None = None,
        update: Sequence[str] | None = None,
    ) -> builtins.list[T]:
        """Upsert rows as `upsert` does, all or none of them; return them in the order given.

        Raises:
            InvalidQuery: As in `upsert`, and when two of the rows have the same key.
            UniqueViolation: As in `upsert`; `row` is the index of the row.
        """
        return await self._run(session, self._upsert_many, listed("rows", rows), on, update)

    def _upsert_many(
        self,
        target: Session | Connection,
        rows: builtins.list[Mapping[str, object]],
        on: str | Sequence[str] | None,
        update: Sequence[str] | None,
    ) -> builtins.list[T]:
        plan, execution = self._plan, self._execution(target)
        key = self._conflict_key(on)
        checked = [self._checked_row(execution, row, index) for index, row in enumerate(rows)]
        seen: dict[tuple[Any, ...], int] = {}
        for index, row in enumerate(checked):
            missing = [name for name in key if row.get(name) is None]
            if missing:
                raise at_row(InvalidQuery(f"the data lack {', '.join(missing)}, which the key is made of"), index)
            if type(row) is Computed and any(is_expression(row[name]) for name in key):
                raise at_row(InvalidValue(f"the key ({', '.join(key)}) takes values, got an expression"), index)
            if seen.setdefault(tuple(row[name] for name in key), index) != index:
                raise at_row(InvalidQuery("an earlier row has the same key"), index)
        if update is not None:
            update = listed("update", update)
            plan.fields.require(update, use="updated")
        if not checked:
            return []
        if self._scope:
            refused = first_refused(execution, Block.grouped(checked), key=key, settable=update)
            if refused is not None:
                raise at_row(refused[1], refused[0])
        if not execution.writes_directly:
            with undone_on_error(execution):
                return [
                    self._upsert_entity(
                        execution, row, key, self._settable(row, rows[index] if update is None else update, key), index
                    )
                    for index, row in enumerate(checked)
                ]
        with (
            undone_on_error(execution)
            if len(rows) > 1
            else nullcontext(execution.connect(execution.statements.insert(()))) as connection
        ):
            try:
                results = self._upsert_groups(execution, connection, checked, rows, key, update, seen)
            except DBAPIError as error:
                # cardinality_violation: PostgreSQL meets a row twice in a statement. One by one they tell which.
                if len(rows) < 2 or getattr(error.orig, "sqlstate", None) != "21000":
                    raise
                savepoint(connection, f"ROLLBACK TO SAVEPOINT {BULK}")
                results = self._upsert_groups(execution, connection, checked, rows, key, update, seen, is_alone=True)
        return self._written(execution, results)

    def _upsert_groups(
        self,
        execution: Execution[M],
        connection: Connection,
        checked: Sequence[Mapping[str, Any]],
        rows: Sequence[Mapping[str, object]],
        key: tuple[str, ...],
        update: Sequence[str] | None,
        seen: dict[tuple[Any, ...], int],
        *,
        is_alone: bool = False,
    ) -> builtins.list[Any]:
        """Upsert rows of the same fields together, or each alone; return the rows written, in the order given."""
        groups: dict[tuple[tuple[str, ...], int | None], builtins.list[int]] = {}
        for index, row in enumerate(checked):
            alone = index if is_alone or type(row) is Computed else None
            groups.setdefault((tuple(sorted(row)), alone), []).append(index)
        results: dict[int, Any] = {}
        for (names, _), indexes in groups.items():
            settable = self._settable(names, rows[indexes[0]] if update is None else update, key)
            part = [checked[index] for index in indexes]
            found = self._upsert_rows(execution, connection, part, key, settable, seen)
            for index in indexes:
                written = found.get(tuple(checked[index][name] for name in key))
                if written is None:
                    raise at_row(self._taken(key), index)
                results[index] = written
        return [results[index] for index in range(len(rows))]

    def _settable(self, names: Iterable[str], update: Iterable[str], key: Sequence[str]) -> builtins.list[str]:
        """The fields that are set in a row that is there."""
        plan, wanted = self._plan, set(update)
        left = {*key, *plan.immutable_fields, *plan.managed_fields}
        return [name for name in names if name in wanted and name not in left]

    def _upsert_entity(
        self, execution: Execution[M], row: Mapping[str, Any], key: Sequence[str], settable: Sequence[str], index: int
    ) -> T:
        """Upsert through the unit of work, for a model or session that listens: a SELECT and then a write."""
        statements = execution.orm_statements
        same = [statements.column(name) == row[name] for name in key]
        statement = statements.selected(None).where(*statements.criteria(Selection()), *same)
        entity: M | None = execution.run_orm(statement, execution.scope_parameters()).scalars().unique().one_or_none()
        try:
            if entity is None:
                entity = unit_of_work.add(execution, row)
            elif settable:
                unit_of_work.assign(execution, entity, {name: row[name] for name in settable})
                execution.orm_session.flush()
        except Exception as error:
            typed = refusal(error, self._plan.fields.table)
            if typed is None:
                raise
            raise at_row(typed, index) from typed.__cause__
        return self._reload(execution, entity)

    def _taken(self, key: Sequence[str]) -> UniqueViolation:
        columns = tuple(self._plan.fields.columns[name].name for name in key)
        return UniqueViolation(
            f"{self._plan.fields.model.__name__}: the key ({', '.join(key)}) is taken by a row that can't be updated: "
            "it is soft-deleted, belongs to another scope, or has another key in common",
            columns=columns,
            table=self._plan.fields.table.name,
        )

    def _conflict_key(self, on: str | Sequence[str] | None) -> tuple[str, ...]:
        """The fields of the unique key that `on` names.

        Raises:
            InvalidQuery: When there is none.
        """
        fields, scope = self._plan.fields, set(self._plan.visibility.scope_fields)
        if on is not None and not isinstance(on, Iterable):
            raise InvalidQuery(f"on takes the fields of a unique key, got {type(on).__name__}")
        wanted = {on} if isinstance(on, str) else set(self._plan.id_fields if on is None else on)
        fields.require(wanted, use="the key of an upsert")
        for columns in unique_keys(fields.table):
            names = [fields.name_of(column) for column in columns]
            found = {name for name in names if name is not None}
            if len(found) == len(names) and wanted <= found <= wanted | scope:
                return tuple(name for name in fields.names if name in found)
        raise InvalidQuery(
            f"{fields.model.__name__} has no unique key of {', '.join(sorted(wanted))}, by which to tell rows apart"
        )

    def _upsert_rows(
        self,
        execution: Execution[M],
        connection: Connection,
        rows: Sequence[Mapping[str, Any]],
        key: tuple[str, ...],
        settable: Sequence[str],
        places: dict[tuple[Any, ...], int],
    ) -> dict[tuple[Any, ...], Any]:
        """Upsert rows of the same fields; the visible ones by key. `places` are those of all keys that were given."""
        plan, names = self._plan, self._form.names
        extra = tuple(name for name in plan.fields.names if name not in names)
        statement = self._upsert_statement(execution, key, settable)
        first = rows[0]
        if type(first) is Computed:
            expressions, values = first.apart(plan.fields)
            statement, parameters = statement.values(expressions), [values]
        else:
            parameters = [plan.by_column(row) for row in rows]
        width, positions = len(names), [(*names, *extra).index(name) for name in key]
        if connection.dialect.insert_returning:
            # One row at a time where a row that is left alone must not be told from the order of those returned.
            statement = statement.returning(*execution.statements.output((*names, *extra)))
            found = connection.execute(statement, parameters if len(parameters) > 1 else parameters[0]).all()
        else:
            connection.execute(statement, parameters)
            found = [row for values in rows for row in self._find(execution, connection, key, values, (*names, *extra))]
        seen = [row for row in found if self._is_visible(execution, row, (*names, *extra))]
        by_key = {tuple(row[position] for position in positions): row for row in seen}
        for row in rows:
            wanted = tuple(row[name] for name in key)
            if wanted not in by_key:
                # The database may take for the same what Python does not, as "a" and "A" of a case-blind collation.
                same = self._find(execution, connection, key, row, (*names, *extra))
                for each in [each for each in same if each in seen]:
                    own, place = tuple(each[position] for position in positions), places[wanted]
                    if places.setdefault(own, place) != place:
                        raise at_row(InvalidQuery("an earlier row has the same key"), max(place, places[own]))
                    by_key[wanted] = each
        return {place: row[:width] for place, row in by_key.items()} if extra else by_key

    def _find(
        self,
        execution: Execution[M],
        connection: Connection,
        key: tuple[str, ...],
        values: Mapping[str, Any],
        names: tuple[str, ...],
    ) -> Sequence[Any]:
        columns = self._plan.fields.columns
        statement = execution.statements.selected(names).where(*(columns[name] == values[name] for name in key))
        return connection.execute(statement).all()

    def _is_visible(self, execution: Execution[M], row: Any, names: tuple[str, ...]) -> bool:
        visibility, place = self._plan.visibility, names.index
        if visibility.deleted_field is not None and row[place(visibility.deleted_field)] is not None:
            return False
        if visibility.flag_field is not None and not row[place(visibility.flag_field)]:
            return False
        scope = execution.scope_values()
        return all(row[place(name)] == scope[name] for name in visibility.scope_fields)

    def _upsert_statement(self, execution: Execution[M], key: tuple[str, ...], settable: Sequence[str]) -> Any:
        plan, statements = self._plan, execution.statements
        columns, table = plan.fields.columns, plan.fields.table
        visible = self._visible(execution)
        style = execution.capabilities.conflict
        if style == "none":
            raise InvalidQuery(f"{execution.dialect_name} has no INSERT that updates; use get and create or update")
        computed = {**statements.next_version(), **_on_update(table, [columns[name] for name in settable])}
        if style == "duplicate":
            from sqlalchemy.dialects.mysql import insert as mysql_insert

            statement = mysql_insert(table)
            given = {name: _inserted(statement, columns[name]) for name in (*key, *settable)}
            same = and_(true(), *(columns[name] == given[name] for name in key), *visible)
            changes: dict[str, Any] = {columns[name].key: given[name] for name in settable}
            changes.update(computed if settable else {})
            # Without a change the statement needs one all the same; MySQL has no DO NOTHING that still counts.
            first = columns[key[0]]
            kept: dict[str, Any] = {name: func.if_(same, value, table.c[name]) for name, value in changes.items()}
            return statement.on_duplicate_key_update(kept or {first.key: table.c[first.key]})
        insert = _conflict_insert(execution.dialect_name)
        statement = insert(table)
        changes = {columns[name].key: statement.excluded[columns[name].key] for name in settable}
        changes.update(computed if settable else {})
        if not changes:
            # DO NOTHING would not return the row.
            changes = {columns[key[0]].key: table.c[columns[key[0]].key]}
        return statement.on_conflict_do_update(
            index_elements=[columns[name] for name in key],
            index_where=_index_where(table, {columns[name] for name in key}, execution.dialect_name),
            set_=changes,
            where=and_(*visible) if visible else None,
        )

    def _visible(self, execution: Execution[M]) -> builtins.list[Any]:
        visibility, columns = self._plan.visibility, self._plan.fields.columns
        bare = Visibility(visibility.deleted_field, visibility.flag_field)
        scope = execution.scope_values()
        return [
            *(columns[name] == scope[name] for name in visibility.scope_fields),
            *bare.criteria(lambda name: columns[name]),
        ]


def unique_keys(table: Table) -> builtins.list[builtins.list[Any]]:
    """The columns of each primary key, unique constraint and unique index of a table by which an INSERT can know a row.

    It can't by an expression, such as an index of `lower(email)`, nor by what is checked at the end of the transaction.
    """
    found = [builtins.list(table.primary_key.columns)]
    constraints = (each for each in table.constraints if isinstance(each, UniqueConstraint) and not each.deferrable)
    found += [builtins.list(each.columns) for each in constraints]
    indexes = (each for each in table.indexes if each.unique)
    found += [
        builtins.list(each.columns) for each in indexes if all(isinstance(part, Column) for part in each.expressions)
    ]
    return [columns for columns in found if columns]


def _index_where(table: Table, columns: set[Any], dialect_name: str) -> Any:
    """The condition of the partial unique index over the columns, which ON CONFLICT must repeat to mean it."""
    found: builtins.list[Index] = [index for index in table.indexes if index.unique and set(index.columns) == columns]
    full = [key for key in unique_keys(table) if set(key) == columns]
    if not found or len(full) > len(found):
        return None
    options = found[0].dialect_options
    return options[dialect_name].get("where") if dialect_name in {"postgresql", "sqlite"} else None


def _inserted(statement: Any, column: Column[Any]) -> Any:
    """The value that an INSERT of MySQL or MariaDB would have written to a column."""
    # SQLAlchemy (2.1.9) escapes such a name twice in `inserted`, for drivers whose parameters are `%s`.
    return func.values(column) if "%" in column.name else statement.inserted[column.key]


def _conflict_insert(dialect_name: str) -> Callable[[Table], Any]:
    if dialect_name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert


class _NoContext:
    """Stands for the context of a statement in an `onupdate` that asks for one."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __getattr__(self, name: str) -> Any:
        raise InvalidQuery(
            f"onupdate of {self._column} asks for {name} of its statement, which an upsert has not; use get and create "
            "or update"
        )


def _on_update(table: Table, given: Sequence[Any]) -> dict[str, Any]:
    """What `onupdate` sets in the other columns; an upsert does not do that by itself."""
    found: dict[str, Any] = {}
    for column in table.columns:
        if column.onupdate is None or column in given:
            continue
        default: Any = column.onupdate
        if default.is_callable:
            found[column.key] = default.arg(_NoContext(column))
        elif default.is_scalar or default.is_clause_element:
            found[column.key] = default.arg
    return found
