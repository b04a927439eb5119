"""Changes of many rows, each by values of its own, in a few statements for all of them.

The rows are locked first, in the order of their ids, so that two callers wait for each other and not for ever; then one
UPDATE sets the values: on PostgreSQL from one array per field, elsewhere by a CASE per field. Where an UPDATE does not
return what it wrote, a SELECT follows. Rows that get values for other fields are other UPDATEs.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import ARRAY, Connection, and_, bindparam, case, cast, func, literal, or_, update
from sqlalchemy import column as named
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from svc_infra.db.sql.blocks import Block
from svc_infra.db.sql.bulk import BulkWriting
from svc_infra.db.sql.copying import holds_array, is_copyable
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, SqlError, StaleVersion
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.plan import RepositoryPlan
from svc_infra.db.sql.reference_checks import first_refused
from svc_infra.db.sql.savepoints import BULK, savepoint, undone_on_error
from svc_infra.db.sql.statements import IDS, Selection, Statements, id_parameter
from svc_infra.db.sql.translate import at_row, translate
from svc_infra.db.sql.values import is_expression

__all__ = ["Change", "Changing"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)

# Each row costs a comparison per row of its statement where there are no arrays.
_MOST_CASES = 200


@dataclass(frozen=True, slots=True)
class Change:
    """New values for one row.

    Attributes:
        id: Value of the id field, as in `update`.
        data: New values by field, as in `update`.
        version: The version that the caller read, or None to change whatever is there.
    """

    id: object
    data: Mapping[str, object]
    version: int | None = None


_Key: TypeAlias = tuple[Any, ...]
"""The values of the id fields."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A change whose values fit."""

    place: int
    key: _Key
    values: dict[str, Any]
    version: int | None

    def is_alone(self, plan: RepositoryPlan[Any]) -> bool:
        """Whether it takes a statement of its own: it computes a value, or changes the id or a part of a reference."""
        given = self.values.keys()
        parts = (set(reference.names) for reference in plan.references)
        return (
            any(map(is_expression, self.values.values()))
            or not given.isdisjoint(plan.id_fields)
            or any(given & names and not names <= given for names in parts)
        )


class Changing(BulkWriting[M, T, E]):
    """Changes many rows of one model, each by values of its own."""

    async def update_each(self, session: E, changes: Iterable[Change]) -> builtins.list[T | None]:
        """Change each row by its own values as `update` does, all or none of them, and return the rows in that order.

        A change whose id no visible row has gives None and leaves the others be.

        Args:
            session: Where to write, within a transaction, since this is more than one statement.
            changes: The changes, each of another row.

        Raises:
            StaleVersion: When a row has another version than the one given.
            InvalidQuery: When two changes are of the same row. And as `update`. Of all of these, `row` is the index of
                the change, unless the database can't undo a part of a transaction to find it (DuckDB, Snowflake).
        """
        return await self._run(session, self._update_each, builtins.list(changes))

    def _update_each(self, target: Session | Connection, changes: builtins.list[Change]) -> builtins.list[T | None]:
        execution = self._execution(target)
        checked = [self._checked_change(execution, change, place) for place, change in enumerate(changes)]
        seen: dict[_Key, int] = {}
        for each in checked:
            if seen.setdefault(each.key, each.place) != each.place:
                raise at_row(InvalidQuery("an earlier change is of the same row"), each.place)
        with undone_on_error(execution) as connection:
            if len(checked) < 2 or not execution.writes_directly:
                return [self._change_alone(execution, each) for each in checked]
            try:
                return self._change_together(execution, connection, checked)
            except Exception as error:
                typed = translate(error, table=self._plan.fields.table)
                if not execution.capabilities.has_savepoints or not isinstance(
                    typed, IntegrityViolation | InvalidValue
                ):
                    raise
            savepoint(connection, f"ROLLBACK TO SAVEPOINT {BULK}")
            # One after the other, which tells the one that is refused.
            return [self._change_alone(execution, each) for each in checked]

    def _checked_change(self, execution: Execution[M], change: Change, place: int) -> _Checked:
        plan = self._plan
        try:
            self._check_version(change.version)
            given = {name: v for name, v in plan.written(change.data).items() if name not in plan.immutable_fields}
            values = execution.checker.values(given, creating=False)
            parts = plan.id_parameters(execution.checker, change.id)
        except SqlError as error:
            raise at_row(error, place) from error.__cause__
        return _Checked(place, tuple(parts[id_parameter(name)] for name in plan.id_fields), values, change.version)

    def _change_alone(self, execution: Execution[M], change: _Checked) -> T | None:
        """Make a change by a statement of its own."""
        key: object = change.key[0] if len(change.key) == 1 else change.key
        try:
            return self._change(execution, key, change.values, change.version)
        except Exception as error:
            typed = translate(error, table=self._plan.fields.table)
            if typed is None:
                raise
            raise at_row(typed, change.place) from typed.__cause__

    def _change_together(
        self, execution: Execution[M], connection: Connection, changes: Sequence[_Checked]
    ) -> builtins.list[T | None]:
        there = self._locked(execution, connection, changes)
        if self._scope and first_refused(execution, Block.grouped([each.values for each in changes])) is not None:
            # A row may keep a reference that it could not get; that is looked at row by row.
            return [self._change_alone(execution, each) for each in changes]
        alone: dict[_Key, T | None] = {}
        shapes: dict[tuple[object, ...], builtins.list[_Checked]] = {}
        for each in changes:
            if each.key not in there:
                continue
            if each.is_alone(self._plan):
                alone[each.key] = self._change_alone(execution, each)
            else:
                shapes.setdefault((tuple(sorted(each.values)), each.version is None), []).append(each)
        rows: dict[_Key, Any] = {}
        for alike in shapes.values():
            for part in self._parts(execution, alike):
                rows.update(self._write_part(execution, connection, part))
        results = zip(rows, self._written(execution, builtins.list(rows.values())), strict=True)
        found: dict[_Key, T | None] = {**alone, **dict(results)}
        return [found.get(each.key) for each in changes]

    def _locked(self, execution: Execution[M], connection: Connection, changes: Sequence[_Checked]) -> set[_Key]:
        """Lock the visible rows in the order of their ids and return which there are.

        Raises:
            StaleVersion: When one has another version than the one given.
        """
        plan, statements = self._plan, execution.statements
        counted = plan.version_field if any(each.version is not None for each in changes) else None
        names = (*plan.id_fields, *(() if counted is None else (counted,)))
        found: dict[_Key, Any] = {}
        for part in self._parts(execution, changes):
            statement = self._chosen_rows(execution, part, names)
            statement = statement.order_by(*(statements.column(name) for name in plan.id_fields))
            if execution.capabilities.has_row_locks:
                statement = statement.with_for_update()
            for row in connection.execute(statement, self._parameters(execution, part)):
                found[tuple(row[: len(plan.id_fields)])] = row[-1]
        for each in changes:
            if each.version is not None and each.key in found and found[each.key] != each.version:
                text = f"{plan.fields.model.__name__} has version {found[each.key]} by now, not {each.version}"
                raise at_row(StaleVersion(f"{text}; read it again"), each.place)
        return set(found)

    def _write_part(
        self, execution: Execution[M], connection: Connection, changes: Sequence[_Checked]
    ) -> dict[_Key, Any]:
        """Set the values in rows that are there, and return the rows by id."""
        names = (*self._form.names, *(name for name in self._plan.id_fields if name not in self._form.names))
        parameters = self._parameters(execution, changes)
        if changes[0].values:
            statement, values = self._update_of(execution, changes)
            returns = connection.dialect.update_returning
            if returns:
                statement = statement.returning(*execution.statements.output(names))
            result = connection.execute(statement, {**execution.scope_parameters(), **values})
            rows = result.all() if returns else None
            if (result.rowcount if rows is None else len(rows)) != len(changes):
                raise StaleVersion(
                    f"rows of {self._plan.fields.model.__name__} were changed meanwhile; read them again"
                )
        else:
            rows = None
        if rows is None:
            rows = connection.execute(self._chosen_rows(execution, changes, names), parameters).all()
        places, width = [names.index(name) for name in self._plan.id_fields], len(self._form.names)
        return {tuple(row[place] for place in places): row if len(names) == width else row[:width] for row in rows}

    def _update_of(self, execution: Execution[M], changes: Sequence[_Checked]) -> tuple[Any, dict[str, Any]]:
        """The UPDATE that sets the values of all changes, and the parameters that carry them."""
        plan, statements = self._plan, execution.statements
        guards = () if changes[0].version is None or plan.version_field is None else (plan.version_field,)
        names = tuple(sorted(changes[0].values))
        rows = [
            (*each.key, *(each.values[name] for name in names), *([each.version] if guards else ())) for each in changes
        ]
        if self._goes_by_arrays(execution, changes):
            statement = statements.keep(
                ("update arrays", names, guards), lambda: self._update_by_arrays(statements, names, guards)
            )
            return statement, {f"array_{place}": [*each] for place, each in enumerate(zip(*rows, strict=True))}
        return self._update_by_cases(statements, names, guards, rows, is_cast=execution.capabilities.has_arrays), {}

    def _update_by_arrays(self, statements: Statements[M], names: Sequence[str], guards: Sequence[str]) -> Any:
        """UPDATE from arrays bound as `array_0` and so on: those of the ids, the values and the versions."""
        columns, ids = self._plan.fields.columns, self._plan.id_fields
        sent = (*ids, *names, *guards)
        arrays = [
            bindparam(f"array_{place}", type_=ARRAY(columns[name].type, dimensions=1))
            for place, name in enumerate(sent)
        ]
        taken = [named(f"c{place}", columns[name].type) for place, name in enumerate(sent)]
        given = func.unnest(*arrays).table_valued(*taken, name="svc_infra_given").render_derived()
        by_name = dict(zip(sent, [given.c[column.name] for column in taken], strict=True))
        same = [columns[name] == by_name[name] for name in (*ids, *guards)]
        found = update(self._plan.fields.table).where(*statements.criteria(Selection()), *same)
        return found.values({**{columns[name].key: by_name[name] for name in names}, **statements.next_version()})

    def _update_by_cases(
        self,
        statements: Statements[M],
        names: Sequence[str],
        guards: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        is_cast: bool,
    ) -> Any:
        """UPDATE with the ids, the values and the versions of the rows in a CASE for each field."""
        columns, ids = self._plan.fields.columns, self._plan.id_fields
        matches = [self._has_key(row) for row in rows]

        def by_case(name: str, place: int) -> Any:
            kind = columns[name].type
            values: builtins.list[Any] = [literal(row[place], kind) for row in rows]
            if is_cast:
                # A CASE has the type of its branches, and PostgreSQL's own types are sent as text.
                values = [cast(value, kind) for value in values]
            return case(*zip(matches, values, strict=True))

        cases = {name: by_case(name, place) for place, name in enumerate((*names, *guards), start=len(ids))}
        found = update(self._plan.fields.table).where(*statements.criteria(Selection()), or_(*matches))
        found = found.where(*(columns[name] == cases[name] for name in guards))
        return found.values({**{columns[name].key: cases[name] for name in names}, **statements.next_version()})

    def _has_key(self, key: Sequence[Any]) -> Any:
        """The condition that a row has an id, whose parts come first in *key*."""
        columns = self._plan.fields.columns
        return and_(
            *(
                columns[name] == literal(part, columns[name].type)
                for name, part in zip(self._plan.id_fields, key, strict=False)
            )
        )

    def _chosen_rows(self, execution: Execution[M], changes: Sequence[_Checked], names: tuple[str, ...]) -> Any:
        criteria = execution.statements.criteria(Selection())
        if len(self._plan.id_fields) == 1:
            criteria.append(execution.statements.ids_criterion())
        else:
            criteria.append(or_(*(self._has_key(each.key) for each in changes)))
        return execution.statements.selected(names).where(*criteria)

    def _parameters(self, execution: Execution[M], changes: Sequence[_Checked]) -> dict[str, Any]:
        """The parameters of a statement that `_chosen_rows` or `_update_of` made."""
        found = execution.scope_parameters()
        if len(self._plan.id_fields) == 1:
            found[IDS] = [each.key[0] for each in changes]
        return found

    def _parts(self, execution: Execution[M], changes: Sequence[_Checked]) -> Iterator[Sequence[_Checked]]:
        """The changes in parts of which each fits into a statement."""
        size = len(changes)
        if not self._goes_by_arrays(execution, changes):
            width = max((len(each.values) for each in changes), default=0)
            taken = (width + 1) * (len(self._plan.id_fields) + 1)
            size = max(1, min(_MOST_CASES, execution.capabilities.most_listed // taken))
        for start in range(0, len(changes), size or 1):
            yield changes[start : start + size]

    def _goes_by_arrays(self, execution: Execution[M], changes: Sequence[_Checked]) -> bool:
        """Whether the values go as one array per field, which `unnest` makes rows of."""
        if not execution.capabilities.has_arrays:
            return False
        names = {*self._plan.id_fields, *(name for each in changes for name in each.values)}
        columns = [self._plan.fields.columns[name] for name in names]
        dialect = execution.connect(execution.statements.insert(())).dialect
        # unnest would take an array apart.
        return is_copyable(columns, dialect) and not any(holds_array(column, dialect) for column in columns)
