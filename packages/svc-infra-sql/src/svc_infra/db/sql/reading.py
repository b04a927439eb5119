"""The reading half of a repository, the same for objects and rows."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.sql import roles

from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, NotFound
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.forms import ResultForm
from svc_infra.db.sql.ordering import Expression, OrderBy, Ordering
from svc_infra.db.sql.plan import RepositoryPlan
from svc_infra.db.sql.search import search_pattern
from svc_infra.db.sql.statements import Statements
from svc_infra.db.sql.visibility import Deleted, scope_parameter

__all__ = ["Condition", "Executor", "Reading", "Where"]

M = TypeVar("M")
T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", AsyncSession, AsyncSession | AsyncConnection)

Executor: TypeAlias = AsyncSession | AsyncConnection
"""What a statement of the row form runs on."""

Condition: TypeAlias = Expression
"""One condition on the rows: a SQLAlchemy expression such as `User.age > 30`."""

Where: TypeAlias = Condition | Sequence[Condition]
"""Conditions that all must hold."""

_LARGEST = 2**63 - 1


class Reading(Generic[M, T, E]):
    """Reads rows of one model as results of type `T`; every method sends one statement.

    Soft-deleted rows and rows outside of the scope do not exist for any of them. `deleted="include"` sees soft-deleted
    rows too, `deleted="only"` nothing else.
    """

    _plan: RepositoryPlan[M]
    _scope: Mapping[str, object]
    _form: ResultForm[T]

    async def _run(self, session: E, program: Callable[..., R], *args: object) -> R:
        return await session.run_sync(program, *args)

    def _parameters(self, id: object = None, **more: object) -> dict[str, Any]:  # noqa: A002
        parameters = {} if id is None else self._plan.id_parameters(id)
        for name, value in self._scope.items():
            parameters[scope_parameter(name)] = value
        parameters.update(more)
        return parameters

    def _read(
        self,
        target: Session | Connection,
        build: Callable[[Statements[M], tuple[str, ...] | None], Select[Any]],
        parameters: Mapping[str, object],
    ) -> Sequence[T]:
        execution = Execution(target, self._plan.fields)
        if execution.reads_directly:
            rows = execution.run(build(self._plan.statements, self._form.names), parameters).all()
            return self._form.from_rows(execution.session, rows, refresh=False)
        return self._form.from_orm(
            execution.run_orm(build(self._plan.orm_statements, self._form.orm_names), parameters)
        )

    async def get(self, session: E, id: object, *, deleted: Deleted = "exclude") -> T | None:  # noqa: A002
        """The row with an id, or None when no visible row has it.

        Args:
            session: Where to read.
            id: Value of the id field; of a composite id a sequence of the values, or a mapping of names to them.
            deleted: Whether soft-deleted rows count.
        """
        found = await self._run(
            session,
            self._read,
            lambda statements, names: statements.select_one(names, deleted),
            self._parameters(id),
        )
        return found[0] if found else None

    async def get_one(self, session: E, id: object, *, deleted: Deleted = "exclude") -> T:  # noqa: A002
        """The row with an id.

        Raises:
            NotFound: When no visible row has it.
        """
        found = await self.get(session, id, deleted=deleted)
        if found is None:
            raise NotFound(f"no {self._plan.fields.model.__name__} has {'/'.join(self._plan.id_fields)} {id!r}")
        return found

    async def list(
        self,
        session: E,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> builtins.list[T]:
        """A page of rows, in a total order.

        Args:
            session: Where to read.
            limit: Most rows to return.
            offset: Rows to skip.
            order_by: Fields such as "-created_at" and expressions, made total by the primary key. Default: that.
            where: Conditions that all must hold.
            deleted: Whether soft-deleted rows count.

        Raises:
            UnknownField: When `order_by` names no field.
            InvalidValue: When `limit` or `offset` is negative or no int.
        """
        conditions = conditions_of(where)
        ordering = Ordering.parse(self._plan.fields, order_by)
        return builtins.list(
            await self._run(
                session,
                self._read,
                lambda statements, names: statements.select_many(names, ordering, deleted, where=conditions),
                self._parameters(limit=natural("limit", limit), offset=natural("offset", offset)),
            )
        )

    async def search(
        self,
        session: E,
        *,
        q: str,
        fields: Sequence[str],
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> builtins.list[T]:
        """A page of the rows that hold a text in one of the fields, in any case of letters.

        The text is literal: `%` and `_` have no meaning. A blank one finds every row.

        Args:
            session: Where to read.
            q: The text.
            fields: The fields to look in.
            limit: Most rows to return.
            offset: Rows to skip.
            order_by: As in `list`.
            where: Further conditions that all must hold.
            deleted: Whether soft-deleted rows count.

        Raises:
            UnknownField: When `fields` or `order_by` names no field.
            InvalidQuery: When `fields` is empty.
            InvalidValue: When the text holds a NUL character, or `limit` or `offset` is negative or no int.
        """
        conditions, searched = conditions_of(where), self._searched(q, fields)
        ordering = Ordering.parse(self._plan.fields, order_by)
        parameters = self._parameters(limit=natural("limit", limit), offset=natural("offset", offset))
        if searched:
            parameters["search_pattern"] = search_pattern(q)
        return builtins.list(
            await self._run(
                session,
                self._read,
                lambda statements, names: statements.select_many(
                    names, ordering, deleted, where=conditions, searched=searched
                ),
                parameters,
            )
        )

    def _searched(self, q: str | None, fields: Sequence[str]) -> tuple[str, ...]:
        if q is None:
            return ()
        if not fields:
            raise InvalidQuery(f"search over {self._plan.fields.model.__name__} needs at least one field to look in")
        self._plan.fields.require(fields, use="searched")
        return tuple(fields) if q.strip() else ()

    async def count(
        self,
        session: E,
        *,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
    ) -> int:
        """How many rows there are, of those that `list` or, with `q` and `fields`, `search` gives.

        Raises:
            UnknownField: When `fields` names no field.
        """
        conditions, searched = conditions_of(where), self._searched(q, fields)
        parameters = self._parameters()
        if searched and q is not None:
            parameters["search_pattern"] = search_pattern(q)
        return await self._run(
            session,
            self._scalar,
            lambda statements: statements.count(deleted, where=conditions, searched=searched),
            parameters,
        )

    async def exists(
        self,
        session: E,
        id: object = None,  # noqa: A002
        *,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> bool:
        """Whether any row fulfils the conditions and, when one is given, has the id."""
        conditions = conditions_of(where)
        found = await self._run(
            session,
            self._scalar,
            lambda statements: statements.exists(deleted, where=conditions, by_id=id is not None),
            self._parameters(id),
        )
        return found is not None

    def _scalar(
        self,
        target: Session | Connection,
        build: Callable[[Statements[M]], Select[Any]],
        parameters: Mapping[str, object],
    ) -> Any:
        execution = Execution(target, self._plan.fields)
        if execution.reads_directly:
            return execution.run(build(self._plan.statements), parameters).scalar()
        return execution.run_orm(build(self._plan.orm_statements), parameters).scalar()


def conditions_of(where: Where | None) -> tuple[Any, ...]:
    """The conditions as SQLAlchemy's clauses.

    Raises:
        InvalidQuery: When one is no condition, such as a plain bool.
    """
    if where is None:
        return ()
    given = (where,) if isinstance(where, roles.ExpressionElementRole) else where
    for condition in given:
        if not isinstance(condition, roles.ExpressionElementRole):
            raise InvalidQuery(
                f"where holds {condition!r}, which is no condition; give expressions such as User.age > 30"
            )
    return tuple(given)


def natural(name: str, value: object) -> int:
    """The number, checked to be a natural one that the database can take.

    Raises:
        InvalidValue: When it is negative, too large or no int.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise InvalidValue(f"{name} must be an int from 0 to 2**63 - 1, got {value!r}")
    return value
