"""The writing half of a repository, the same for objects and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.direct import counts_directly
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, StaleVersion
from svc_infra.db.sql.execution import Execution, counted, fetched
from svc_infra.db.sql.inserting import insert_row
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.paging import Paging
from svc_infra.db.sql.reference_checks import check_changes, check_row
from svc_infra.db.sql.statements import EXPECTED_VERSION, id_parameter
from svc_infra.db.sql.values import is_expression
from svc_infra.db.sql.visibility import Deleted

__all__ = ["Writing"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)


class Writing(Paging[M, T, E]):
    """Writes single rows of one model.

    Each write is one statement where the database returns what it wrote; where it can't (an UPDATE on MariaDB, any on
    MySQL), a SELECT follows. Nothing is committed: that is the session's owner's to do. Constraints that refuse the
    data raise `UniqueViolation`, `ForeignKeyViolation`, `NotNullViolation` or `CheckViolation`.
    """

    async def create(self, session: E, data: Mapping[str, object]) -> T:
        """Insert a row and return it with what the database filled in.

        A single-column primary key of text or UUID that is neither given nor filled by a default gets a UUIDv7.

        Args:
            session: Where to write.
            data: Values by field, and expressions that the database computes, such as `func.now()`. Those of the soft
                delete and version fields are ignored, and the scope's (the tenant) are the scope's own.

        Raises:
            UnknownField: When a name is no field.
            InvalidValue: When a value does not fit its field.
            IntegrityViolation: When a constraint refuses the row; its `fields` are those in question.
        """
        return await self._run(session, self._create, self._plan.written(data))

    def _create(self, target: Session | Connection, data: dict[str, Any]) -> T:
        execution = self._execution(target)
        values = execution.created(data)
        if self._scope:
            check_row(execution, values)
        if not execution.writes_directly:
            return self._reload(execution, unit_of_work.add(execution, values))
        connection = execution.connect(execution.statements.insert(()))
        return self._written(execution, [insert_row(execution, connection, self._form.names, values)])[0]

    async def update(
        self,
        session: E,
        id: object,  # noqa: A002 (the guide's word)
        data: Mapping[str, object],
        *,
        version: int | None = None,
    ) -> T | None:
        """Change the fields given and return the row, or None when no visible row has the id.

        A field that is absent stays as it is, one that is None becomes NULL. Immutable fields are ignored. A value may
        be an expression that the database computes, such as `User.logins + 1`.

        Args:
            session: Where to write.
            id: Value of the id field, as in `get`.
            data: New values by field.
            version: The version that the caller read; the row is left as it is when it has another one by now.

        Raises:
            StaleVersion: When the row has another version.
            UnknownField: When a name is no field.
            InvalidValue: When a value does not fit its field.
            InvalidQuery: When a version is given and the repository has no version field.
            IntegrityViolation: When a constraint refuses the new values; its `fields` are those in question.
        """
        immutable = self._plan.immutable_fields
        values = {name: value for name, value in self._plan.written(data).items() if name not in immutable}
        self._check_version(version)
        return await self._run(session, self._update, id, values, version)

    def _check_version(self, version: object) -> None:
        if version is None:
            return
        if self._plan.version_field is None:
            raise InvalidQuery(f"{self._plan.fields.model.__name__} has no version field; name one by version_field")
        if not isinstance(version, int) or isinstance(version, bool):
            raise InvalidValue(f"version must be an int, got {type(version).__name__}")
        self._plan.checker("").value(self._plan.version_field, version)

    def _update(self, target: Session | Connection, id: object, data: dict[str, Any], version: int | None) -> T | None:  # noqa: A002
        execution = self._execution(target)
        return self._change(execution, id, execution.checker.values(data, creating=False), version)

    def _change(self, execution: Execution[M], id: object, values: dict[str, Any], version: int | None) -> T | None:  # noqa: A002
        """Set checked values in the row with an id."""
        parameters = execution.by_id(id)
        if not values:
            found = self._read(execution, lambda statements, names: statements.select_one(names, "exclude"), parameters)
            if found and version is not None:
                self._raise_if_stale(execution, parameters, version)
            return found[0] if found else None
        if self._scope:
            check_changes(execution, values, parameters)
        if not execution.writes_directly:
            entity = unit_of_work.change(execution, parameters, values, version=version)
            return None if entity is None else self._reload(execution, entity)
        rows = self._update_row(execution, parameters, values, "exclude", version)
        if not rows and version is not None:
            self._raise_if_stale(execution, parameters, version)
        return self._written(execution, rows)[0] if rows else None

    def _update_row(
        self,
        execution: Execution[M],
        parameters: dict[str, Any],
        values: Mapping[str, Any],
        deleted: Deleted,
        version: int | None = None,
    ) -> list[Any]:
        """Set the values in the row with an id and return it, in a list that is empty when there is none."""
        plan, statements = self._plan, execution.statements
        guarded = version is not None
        connection = execution.connect(statements.update_one((), deleted, guarded=guarded))
        names = self._form.names if connection.dialect.update_returning else ()
        statement = statements.update_one(names, deleted, guarded=guarded)
        computed = {name: value for name, value in values.items() if is_expression(value)}
        if computed:
            statement = statement.values(plan.by_column(computed))
        bound = plan.by_column({name: value for name, value in values.items() if name not in computed})
        guard = {EXPECTED_VERSION: version} if guarded else {}
        parameters_bound = {**parameters, **guard, **bound}
        if names:
            return list(fetched(connection, statement, parameters_bound))
        if connection.execute(statement, parameters_bound).rowcount == 0:
            return []
        moved = {id_parameter(name): values[name] for name in plan.id_fields if name in values}
        after: Deleted = "include" if deleted != "exclude" else "exclude"
        return list(fetched(connection, statements.select_one(self._form.names, after), {**parameters, **moved}))

    def _raise_if_stale(self, execution: Execution[M], parameters: Mapping[str, Any], version: int) -> None:
        """Tell a row of another version from one that is not there."""
        counted = self._plan.version_field
        if counted is None:
            return
        found = execution.fetch(execution.statements.select_one((counted,), "exclude"), parameters)
        if found and found[0][0] != version:
            raise StaleVersion(
                f"{self._plan.fields.model.__name__} has version {found[0][0]} by now, not {version}; read it again"
            )

    async def delete(self, session: E, id: object, *, version: int | None = None) -> bool:  # noqa: A002
        """Delete the row: mark it when the repository deletes softly, else remove it.

        Args:
            session: Where to write.
            id: Value of the id field, as in `get`.
            version: The version that the caller read; the row stays when it has another one by now.

        Returns:
            Whether a visible row had the id; a second soft delete finds none.

        Raises:
            ForeignKeyViolation: When other rows refer to it.
            StaleVersion: When the row has another version.
        """
        self._check_version(version)
        return await self._run(session, self._delete, id, version)

    def _delete(self, target: Session | Connection, id: object, version: int | None) -> bool:  # noqa: A002
        plan, execution = self._plan, self._execution(target)
        parameters = execution.by_id(id)
        if not plan.visibility.is_soft:
            return self._remove(execution, parameters, "exclude", version)
        marks = plan.visibility.marks(plan.fields, plan.clock())
        marks = execution.checker.values(marks, creating=False)
        if not execution.writes_directly:
            return unit_of_work.change(execution, parameters, marks, version=version) is not None
        statements, guarded = execution.statements, version is not None
        statement = statements.update_one((), "exclude", guarded=guarded)
        connection = execution.connect(statement)
        key = self._key_returned(connection.dialect, has_returning=connection.dialect.update_returning)
        if key:
            statement = statements.update_one(key, "exclude", guarded=guarded)
        guard = {EXPECTED_VERSION: version} if guarded else {}
        bound = {**parameters, **guard, **plan.by_column(marks)}
        keys = self._keys_written(connection, statement, bound, key)
        return self._followed(execution, parameters, keys, marks, version)

    def _remove(
        self, execution: Execution[M], parameters: dict[str, Any], deleted: Deleted, version: int | None = None
    ) -> bool:
        plan, statements, guarded = self._plan, execution.statements, version is not None
        cascades = execution.session is not None and plan.fields.cascades_deletes
        if not execution.writes_directly or cascades:
            return unit_of_work.remove(execution, parameters, deleted, version)
        statement = statements.delete_one((), deleted, guarded=guarded)
        connection = execution.connect(statement)
        key = self._key_returned(connection.dialect, has_returning=connection.dialect.delete_returning)
        if key:
            statement = statements.delete_one(key, deleted, guarded=guarded)
        bound = {**parameters, EXPECTED_VERSION: version} if guarded else parameters
        keys = self._keys_written(connection, statement, bound, key)
        return self._followed(execution, parameters, keys, None, version)

    def _key_returned(self, dialect: Dialect, *, has_returning: bool) -> tuple[str, ...]:
        """The fields that a statement about one row returns: its key, unless the row is addressed by it and counted."""
        plan = self._plan
        if not has_returning or (plan.is_addressed_by_key and counts_directly(dialect)):
            return ()
        return plan.fields.primary_key

    def _keys_written(
        self, connection: Connection, statement: Executable, parameters: Mapping[str, Any], key: tuple[str, ...]
    ) -> Sequence[Any]:
        """Run a statement about one row and return the row's primary key, in a list that is empty when there is none.

        Args:
            connection: Where to run it.
            statement: The statement.
            parameters: Its parameters, which hold the key where the statement does not return it.
            key: The fields that the statement returns, if it does.
        """
        if key:
            return fetched(connection, statement, parameters)
        if not counted(connection, statement, parameters):
            return []
        return [tuple(parameters.get(id_parameter(name)) for name in self._plan.fields.primary_key)]

    def _followed(
        self,
        execution: Execution[M],
        parameters: Mapping[str, Any],
        rows: Sequence[Any],
        marks: Mapping[str, object] | None,
        version: int | None,
    ) -> bool:
        """Let the session's object follow its row, and tell whether there was one."""
        if execution.session is not None:
            for row in rows:
                forget(execution, row, marks)
        if not rows and version is not None:
            self._raise_if_stale(execution, parameters, version)
        return bool(rows)

    async def restore(self, session: E, id: object) -> T | None:  # noqa: A002
        """Make a soft-deleted row live again and return it; None when no soft-deleted row has the id.

        Raises:
            InvalidQuery: When the repository does not delete softly.
            UniqueViolation: When a live row has taken its key.
        """
        if not self._plan.visibility.is_soft:
            raise InvalidQuery(
                f"{self._plan.fields.model.__name__} is not deleted softly, so there is nothing to restore"
            )
        return await self._run(session, self._restore, id)

    def _restore(self, target: Session | Connection, id: object) -> T | None:  # noqa: A002
        execution = self._execution(target)
        parameters, values = execution.by_id(id), self._plan.visibility.unmarks()
        if not execution.writes_directly:
            entity = unit_of_work.change(execution, parameters, values, deleted="only")
            return None if entity is None else self._reload(execution, entity)
        rows = self._update_row(execution, parameters, values, "only")
        return self._written(execution, rows)[0] if rows else None

    async def purge(self, session: E, id: object, *, deleted: Deleted = "include") -> bool:  # noqa: A002
        """Remove the row for good, soft-deleted or not.

        Args:
            session: Where to write.
            id: Value of the id field, as in `get`.
            deleted: "only" purges it only when it is soft-deleted.

        Returns:
            Whether there was such a row in the scope.

        Raises:
            ForeignKeyViolation: When other rows refer to it.
        """
        return await self._run(session, self._purge, id, deleted)

    def _purge(self, target: Session | Connection, id: object, deleted: Deleted) -> bool:  # noqa: A002
        execution = self._execution(target)
        return self._remove(execution, execution.by_id(id), deleted)

    def _written(self, execution: Execution[M], rows: Sequence[Any]) -> list[T]:
        """The results for rows that were just written."""
        found = list(self._form.from_rows(execution.session, rows, refresh=True))
        if not self._form.needs_orm:
            return found
        keys = [[self._form.value_of(result, name) for name in self._plan.fields.primary_key] for result in found]
        return [self._read_by_key(execution, key) for key in keys]

    def _reload(self, execution: Execution[M], entity: M) -> T:
        """The result for an object that the unit of work wrote."""
        if self._form.orm_names is None and not self._form.needs_orm:
            return entity  # type: ignore[return-value]
        return self._read_by_key(execution, [getattr(entity, name) for name in self._plan.fields.primary_key])

    def _read_by_key(self, execution: Execution[M], key: list[Any]) -> T:
        statement = execution.orm_statements.select_by_key(self._form.orm_names).options(
            *self._form.options(execution.scope_values())
        )
        by_key = {id_parameter(name): part for name, part in zip(self._plan.fields.primary_key, key, strict=True)}
        return self._form.from_orm(execution.run_orm(statement, by_key))[0]


def forget(execution: Execution[M], key: Any, marks: Mapping[str, object] | None) -> None:
    """Let an object that the session holds follow its row: removed, or marked by the values."""
    session = execution.orm_session
    entity = execution.plan.loader.held(session, key)
    if entity is None:
        return
    if marks is None:
        session.expunge(entity)
        return
    for name, value in marks.items():
        set_committed_value(entity, name, value)
