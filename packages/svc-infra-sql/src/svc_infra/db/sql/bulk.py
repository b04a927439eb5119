"""Changes and deletes of many rows, each by one statement."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.conditions import Conditions, Where
from svc_infra.db.sql.creating import Creating
from svc_infra.db.sql.errors import InvalidQuery
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.reading import listed
from svc_infra.db.sql.reference_checks import check_changes
from svc_infra.db.sql.statements import IDS, Selection
from svc_infra.db.sql.visibility import Deleted

__all__ = ["BulkWriting"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)


class BulkWriting(Creating[M, T, E]):
    """Changes and deletes many rows of one model by one statement."""

    async def update_many(
        self,
        session: E,
        data: Mapping[str, object],
        *,
        where: Where | None = None,
        ids: Iterable[object] | None = None,
    ) -> int:
        """Change the fields given in every row that fulfils the conditions, by one statement.

        Objects that the session holds are read again, by one more statement if there are any. With both `where` and
        `ids` both must hold. Of a model that the ORM must write (validators, listeners) the rows are loaded and written
        one by one.

        Args:
            session: Where to write.
            data: New values by field, as in `update`.
            where: Conditions, as in `list`; an empty list means every visible row.
            ids: The ids of the rows, when they have a single id field.

        Returns:
            How many rows were changed; 0 when there is nothing to set but immutable fields.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows, or the rows have a composite id and `ids` is
                given.
            UnknownField: When a name is no field.
            InvalidValue: When a value does not fit its field.
            IntegrityViolation: When a constraint refuses the new values of a row.
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

        Args:
            session: Where to write.
            where: Conditions, as in `list`; an empty list means every soft-deleted row.
            ids: The ids of the rows, when they have a single id field.

        Returns:
            How many rows were restored.

        Raises:
            InvalidQuery: When neither `where` nor `ids` says which rows, or the repository does not delete softly.
            UniqueViolation: When a live row has taken the key of one.
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

        Args:
            session: Where to write.
            where: Conditions, as in `list`; an empty list means every such row.
            ids: The ids of the rows, when they have a single id field.
            deleted: "only" for soft-deleted rows, of which there are none where the repository does not delete softly;
                "include" for live ones too, "exclude" for live ones alone.

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
        return Selection(Conditions(where), (), deleted), None if ids is None else listed("ids", ids)

    def _criteria(
        self, execution: Execution[M], chosen: tuple[Selection, builtins.list[object] | None]
    ) -> tuple[builtins.list[Any], dict[str, Any]]:
        selection, ids = chosen
        criteria, parameters = execution.statements.criteria(selection), execution.by_selection(selection)
        if ids is not None:
            (name,) = self._plan.id_fields
            criteria.append(execution.statements.ids_criterion())
            parameters[IDS] = execution.checker.each(name, ids)
        return criteria, parameters

    def _update_many(
        self, target: Session | Connection, data: dict[str, Any], chosen: tuple[Selection, builtins.list[object] | None]
    ) -> int:
        execution, plan = self._execution(target), self._plan
        values = execution.checker.values(data, creating=False)
        if not values:
            return 0
        criteria, parameters = self._criteria(execution, chosen)
        if self._scope:
            check_changes(execution, values, parameters, criteria)
        if not execution.writes_directly:
            entities = self._chosen_entities(execution, criteria, parameters)
            for entity in entities:
                unit_of_work.assign(execution, entity, values)
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
        there = {id(entity) for entity in self._plan.loader.load(session, found, refresh=True)}
        for entity in held.values():
            if id(entity) not in there:
                session.expunge(entity)
