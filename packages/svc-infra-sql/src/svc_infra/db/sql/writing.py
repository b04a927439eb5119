"""The writing half of a repository, the same for objects and rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.elements import ClauseElement

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.entities import EntityLoader
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.reading import Reading
from svc_infra.db.sql.statements import id_parameter

__all__ = ["Writing"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", AsyncSession, AsyncSession | AsyncConnection)


class Writing(Reading[M, T, E]):
    """Writes rows of one model.

    Each write is one statement where the database returns what it wrote; where it can't (an UPDATE on MariaDB, any on
    MySQL), a SELECT follows. Nothing is committed: that is the session's owner's to do.
    """

    async def create(self, session: E, data: Mapping[str, object]) -> T:
        """Insert a row and return it with what the database filled in.

        Args:
            session: Where to write.
            data: Values by field. Those of the soft delete and version fields are ignored, and the scope's (the tenant)
                are the scope's own.

        Raises:
            UnknownField: When a name is no field.
            UniqueViolation: When the row's key is taken, and so on for each constraint.
        """
        values = self._plan.checked(data)
        values.update(self._scope)
        return await self._run(session, self._create, values)

    def _create(self, target: Session | Connection, values: dict[str, Any]) -> T:
        plan = self._plan
        execution = Execution(target, plan.fields)
        if not execution.writes_directly:
            entity = unit_of_work.add(execution.orm_session, plan, values)
            return self._reload(execution, entity)
        statements = plan.statements
        connection = execution.connect(statements.insert(()))
        parameters = self._by_column(values)
        if connection.dialect.insert_returning:
            rows = connection.execute(statements.insert(self._form.names), parameters).all()
        else:
            key = connection.execute(statements.insert(()), parameters).inserted_primary_key
            rows = connection.execute(statements.select_by_key(self._form.names), self._key_parameters(key)).all()
        return self._form.from_rows(execution.session, rows, refresh=True)[0]

    async def update(self, session: E, id: object, data: Mapping[str, object]) -> T | None:  # noqa: A002
        """Change the fields given and return the row, or None when no visible row has the id.

        A field that is absent stays as it is, one that is None becomes NULL. Immutable fields are ignored.

        Args:
            session: Where to write.
            id: Value of the id field, as in `get`.
            data: New values by field.

        Raises:
            UnknownField: When a name is no field.
            UniqueViolation: When a key is taken, and so on for each constraint.
        """
        values = {
            name: value for name, value in self._plan.checked(data).items() if name not in self._plan.immutable_fields
        }
        if not values:
            return await self.get(session, id)
        return await self._run(session, self._update, self._parameters(id), values)

    def _update(self, target: Session | Connection, parameters: dict[str, Any], values: dict[str, Any]) -> T | None:
        plan = self._plan
        execution = Execution(target, plan.fields)
        if not execution.writes_directly:
            entity = unit_of_work.change(execution, plan, parameters, values)
            return None if entity is None else self._reload(execution, entity)
        statements = plan.statements
        connection = execution.connect(statements.update_one((), "exclude"))
        names = self._form.names if connection.dialect.update_returning else ()
        statement = statements.update_one(names, "exclude")
        expressions = {name: value for name, value in values.items() if is_expression(value)}
        if expressions:
            statement = statement.values(self._by_column(expressions))
        plain = self._by_column({name: value for name, value in values.items() if name not in expressions})
        result = connection.execute(statement, parameters | plain)
        if not names:
            if result.rowcount == 0:
                return None
            moved = {id_parameter(name): values[name] for name in plan.id_fields if name in values}
            result = connection.execute(statements.select_one(self._form.names, "exclude"), parameters | moved)
        found = self._form.from_rows(execution.session, result.all(), refresh=True)
        return found[0] if found else None

    async def delete(self, session: E, id: object) -> bool:  # noqa: A002
        """Delete the row: mark it when the repository deletes softly, else remove it.

        Returns:
            Whether a visible row had the id; a second soft delete finds none.

        Raises:
            ForeignKeyViolation: When other rows refer to it.
        """
        return await self._run(session, self._delete, self._parameters(id))

    def _delete(self, target: Session | Connection, parameters: dict[str, Any]) -> bool:
        plan = self._plan
        execution = Execution(target, plan.fields)
        marks = plan.visibility.marks(plan.fields, plan.clock()) if plan.visibility.is_soft else {}
        if not execution.writes_directly or (not marks and plan.fields.cascades_deletes and execution.session):
            if marks:
                return unit_of_work.change(execution, plan, parameters, marks) is not None
            return unit_of_work.remove(execution, plan, parameters)
        statements, key = plan.statements, plan.fields.primary_key
        if marks:
            connection = execution.connect(statements.update_one((), "exclude"))
            key = key if connection.dialect.update_returning else ()
            result = connection.execute(statements.update_one(key, "exclude"), parameters | self._by_column(marks))
        else:
            connection = execution.connect(statements.delete_one((), "exclude"))
            key = key if connection.dialect.delete_returning else ()
            result = connection.execute(statements.delete_one(key, "exclude"), parameters)
        if not key:
            removed = result.rowcount
            if removed and execution.session is not None and plan.id_fields == plan.fields.primary_key:
                self._forget(execution.session, tuple(parameters[id_parameter(name)] for name in plan.id_fields), marks)
            return removed > 0
        rows = result.all()
        if execution.session is not None:
            for row in rows:
                self._forget(execution.session, row, marks)
        return bool(rows)

    def _forget(self, session: Session, key: Any, marks: Mapping[str, object]) -> None:
        """Let an object that the session holds follow the delete of its row."""
        entity = EntityLoader(self._plan.fields).held(session, key)
        if entity is None:
            return
        if not marks:
            session.expunge(entity)
        for name, value in marks.items():
            set_committed_value(entity, name, value)

    def _by_column(self, values: Mapping[str, Any]) -> dict[str, Any]:
        columns = self._plan.fields.columns
        return {columns[name].key: value for name, value in values.items()}

    def _key_parameters(self, key: Any) -> dict[str, Any]:
        return {id_parameter(name): part for name, part in zip(self._plan.fields.primary_key, key, strict=True)}

    def _reload(self, execution: Execution[M], entity: M) -> T:
        """The result for an object that the unit of work wrote."""
        if self._form.orm_names is None:
            return entity  # type: ignore[return-value]
        key = [getattr(entity, name) for name in self._plan.fields.primary_key]
        statement = self._plan.orm_statements.select_by_key(self._form.orm_names)
        return self._form.from_orm(execution.run_orm(statement, self._key_parameters(key)))[0]


def is_expression(value: object) -> bool:
    """Whether a value is an expression that the database computes, such as `User.logins + 1`."""
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")
