"""The reading half of a repository, the same for objects and rows.

Its length is that of what the methods promise.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from svc_infra.db.sql._synchronous import run_synchronously
from svc_infra.db.sql.conditions import Conditions, Where
from svc_infra.db.sql.errors import IntegrityViolation, InvalidQuery, InvalidValue, NotFound
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.forms import ResultForm
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.ordering import OrderBy, Ordering
from svc_infra.db.sql.plan import RepositoryPlan
from svc_infra.db.sql.spelling import spelled
from svc_infra.db.sql.statements import IDS, RowLock, Selection, Statements
from svc_infra.db.sql.translate import translate
from svc_infra.db.sql.visibility import Deleted

__all__ = ["ANY_ID", "Executor", "Reading"]

M = TypeVar("M")
T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)

Executor: TypeAlias = AsyncSession | AsyncConnection | LoneStatements
"""What a statement of the row form runs on."""

ANY_ID: Final = object()
"""Stands for an id that is not given, where None is one that no row has."""

_LARGEST = 2**63 - 1


class Reading(Generic[M, T, E]):
    """Reads rows of one model as results of type `T`; every method sends one statement.

    Soft-deleted rows and rows outside of the scope do not exist for any of them. `deleted="include"` sees soft-deleted
    rows too, `deleted="only"` nothing else.

    Every method raises the typed errors of `svc_infra.db.sql.errors`: `UnknownField` for a name that is no field,
    `InvalidValue` for a value that its column can't hold, `InvalidQuery` for other input that can't become a statement;
    these come before anything is sent and leave the session usable.
    """

    _plan: RepositoryPlan[M]
    _scope: Mapping[str, object]
    _form: ResultForm[T]

    async def _run(self, session: E, program: Callable[..., R], *args: object) -> R:
        try:
            if isinstance(session, AsyncSession):
                return await run_synchronously(program, session.sync_session, *args)
            return await session.run_sync(program, *args)
        except Exception as error:
            typed = translate(error, table=self._plan.fields.table)
            if typed is None:
                raise
            if isinstance(typed, IntegrityViolation | InvalidValue):
                typed.fields = self._plan.fields.of_columns(typed.columns)
            if typed is error:
                raise
            raise typed from typed.__cause__

    def _execution(self, target: Session | Connection) -> Execution[M]:
        return Execution(target, self._plan, self._scope)

    def _read(
        self,
        execution: Execution[M],
        build: Callable[[Statements[M], tuple[str, ...] | None], Select[Any]],
        parameters: Mapping[str, object],
    ) -> Sequence[T]:
        form = self._form
        if execution.reads_directly and not form.needs_orm:
            rows = execution.fetch(build(execution.statements, form.names), parameters)
            return form.from_rows(execution.session, rows, refresh=False)
        statement = build(execution.orm_statements, form.orm_names).options(*form.options(execution.scope_values()))
        return form.from_orm(execution.run_orm(statement, parameters))

    async def get(
        self,
        session: E,
        id: object,  # noqa: A002 (the guide's word)
        *,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> T | None:
        """The row with an id, or None when no visible row has it.

        Args:
            session: Where to read.
            id: Value of the id field; of a composite id a sequence of the values, or a mapping of names to them.
            deleted: Whether soft-deleted rows count.
            lock: How to lock the row until the transaction ends; no effect on SQLite and DuckDB, where writers wait for
                each other as it is.

        Raises:
            LockTimeout: When another transaction holds the row and `lock` is "nowait".
        """
        return await self._run(session, self._get, id, deleted, lock)

    def _get(self, target: Session | Connection, id: object, deleted: Deleted, lock: RowLock | None) -> T | None:  # noqa: A002
        execution = self._execution(target)
        found = self._read(
            execution, lambda statements, names: statements.select_one(names, deleted, lock), execution.by_id(id)
        )
        return found[0] if found else None

    async def get_one(
        self,
        session: E,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> T:
        """The row with an id, as `get` gives it.

        Raises:
            NotFound: When no visible row has it.
        """
        found = await self.get(session, id, deleted=deleted, lock=lock)
        if found is None:
            raise NotFound(f"no {self._plan.fields.model.__name__} has {'/'.join(self._plan.id_fields)} {id!r}")
        return found

    async def get_many(self, session: E, ids: Iterable[object], *, deleted: Deleted = "exclude") -> builtins.list[T]:
        """The rows with the ids, in the order of the ids, each once; ids that no visible row has are left out.

        An id finds the row that `get` finds by it. Where a row has it in another spelling, as a collation that is blind
        to case allows, a further statement tells which one it is.

        A composite id costs a statement per row, a list longer than the database's parameters one per part of it.

        Args:
            session: Where to read.
            ids: Values of the id field, as in `get`.
            deleted: Whether soft-deleted rows count.

        Raises:
            InvalidQuery: When the results are rows without their single id field.
            InvalidValue: When a value does not fit the id field.
        """
        return await self._run(session, self._get_many, listed("ids", ids), deleted)

    def _get_many(self, target: Session | Connection, ids: builtins.list[object], deleted: Deleted) -> builtins.list[T]:
        execution = self._execution(target)
        if len(self._plan.id_fields) > 1:
            each = [
                self._read(
                    execution, lambda statements, names: statements.select_one(names, deleted), execution.by_id(id)
                )
                for id in dict.fromkeys(  # noqa: A001
                    tuple(self._plan.id_parameters(execution.checker, id).values())
                    for id in ids  # noqa: A001
                )
            ]
            return [rows[0] for rows in each if rows]
        name = next(iter(self._plan.id_fields))
        if name not in self._form.names:
            raise InvalidQuery(f"get_many puts the rows in order by {name!r}, which is not among the fields read")
        wanted = builtins.list(dict.fromkeys(execution.checker.value(name, id) for id in ids))  # noqa: A001
        size = len(wanted) if execution.capabilities.has_arrays else execution.capabilities.largest_parameters - 100
        found: dict[object, T] = {}
        for start in range(0, len(wanted), max(size, 1)):
            parameters = {**execution.scope_parameters(), IDS: wanted[start : start + size]}
            rows = self._read(execution, lambda statements, names: statements.select_ids(names, deleted), parameters)
            found.update((self._form.value_of(row, name), row) for row in rows)
        missing = [(id,) for id in wanted if id not in found]  # noqa: A001
        if missing and len(wanted) - len(missing) < len(found):
            own = spelled(execution, missing, deleted)
            wanted = builtins.list(dict.fromkeys(own.get((id,), (id,))[0] for id in wanted))  # noqa: A001
        return [found[id] for id in wanted if id in found]  # noqa: A001

    async def first(
        self,
        session: E,
        *,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> T | None:
        """The first row in an order that fulfils the conditions, or None; arguments and errors are those of `list`."""
        found = await self.list(session, limit=1, order_by=order_by, where=where, deleted=deleted, lock=lock)
        return found[0] if found else None

    async def list(
        self,
        session: E,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> builtins.list[T]:
        """A page of rows, in a total order.

        Args:
            session: Where to read.
            limit: Most rows to return.
            offset: Rows to skip.
            order_by: Fields such as "-created_at" and expressions, made total by the primary key. Default: that.
            where: Conditions that all must hold: filters (see `svc_infra.db.sql.filters`) and expressions.
            deleted: Whether soft-deleted rows count.
            lock: As in `get`.

        Raises:
            UnknownField: When `order_by` or a filter names no field.
            InvalidValue: When `limit` or `offset` is negative or no int, or a filter's value does not fit.
        """
        ordering, selection = self._plan.ordering(order_by), Selection(Conditions(where), (), deleted)
        return await self._run(session, self._list, ordering, selection, None, _window(limit, offset), lock)

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
            where: Further conditions, as in `list`.
            deleted: Whether soft-deleted rows count.

        Raises:
            UnknownField: When `fields` or `order_by` names no field.
            InvalidQuery: When `fields` is empty.
            InvalidValue: When the text is no str or holds a NUL character, or `limit` or `offset` is negative.
        """
        selection = Selection(Conditions(where), self._searched(q, fields), deleted)
        ordering = self._plan.ordering(order_by)
        return await self._run(session, self._list, ordering, selection, q, _window(limit, offset), None)

    def _list(
        self,
        target: Session | Connection,
        ordering: Ordering,
        selection: Selection,
        q: str | None,
        window: Mapping[str, int],
        lock: RowLock | None,
    ) -> builtins.list[T]:
        execution = self._execution(target)
        return builtins.list(
            self._read(
                execution,
                lambda statements, names: statements.select_many(names, ordering, selection, lock=lock),
                {**execution.by_selection(selection, q), **window},
            )
        )

    async def list_and_count(
        self,
        session: E,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
    ) -> tuple[builtins.list[T], int]:
        """A page of rows as `list` gives it or, with `q` and `fields`, `search`, and the number of all of them.

        One statement, but two where one would be slower, for a search and a page past the end, or where the ORM must
        load the objects. Arguments and errors are those of `list` and `search`; without `q` there is no search.
        """
        ordering = self._plan.ordering(order_by)
        selection = Selection(Conditions(where), self._searched(q, fields), deleted)
        return await self._run(session, self._list_and_count, ordering, selection, q, _window(limit, offset))

    def _list_and_count(
        self,
        target: Session | Connection,
        ordering: Ordering,
        selection: Selection,
        q: str | None,
        window: Mapping[str, int],
    ) -> tuple[builtins.list[T], int]:
        execution = self._execution(target)
        if execution.reads_directly and not self._form.needs_orm and not selection.searched:
            statement = execution.statements.select_with_total(self._form.names, ordering, selection)
            rows = execution.fetch(statement, {**execution.by_selection(selection, q), **window})
            if rows:
                width = len(self._form.names)
                page = self._form.from_rows(execution.session, [row[:width] for row in rows], refresh=False)
                return builtins.list(page), int(rows[0][width])
            return [], self._count(target, selection, q, None) if window["offset"] or not window["limit"] else 0
        return self._list(target, ordering, selection, q, window, None), self._count(target, selection, q, None)

    def _searched(self, q: str | None, fields: Sequence[str]) -> tuple[str, ...]:
        if q is None:
            return ()
        if not isinstance(q, str):
            raise InvalidValue(f"the search text must be a str, got {type(q).__name__}")
        names = tuple(listed("fields", fields))
        if not names:
            raise InvalidQuery(f"search over {self._plan.fields.model.__name__} needs at least one field to look in")
        self._plan.fields.require(names, use="searched")
        return names if q.strip() else ()

    async def count(
        self,
        session: E,
        *,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
        at_most: int | None = None,
    ) -> int:
        """How many rows there are, of those that `list` or, with `q` and `fields`, `search` gives.

        Args:
            session: Where to read.
            where: Conditions that all must hold.
            q: The text to search for.
            fields: The fields to look in.
            deleted: Whether soft-deleted rows count.
            at_most: Number at which counting stops, which bounds the cost; None counts all.

        Raises:
            UnknownField: When `fields` or a filter names no field.
            InvalidQuery: When there is a `q` and `fields` is empty.
            InvalidValue: When `at_most` is negative or no int, or the text or a filter's value does not fit.
        """
        selection = Selection(Conditions(where), self._searched(q, fields), deleted)
        limit = None if at_most is None else natural("at_most", at_most)
        return await self._run(session, self._count, selection, q, limit)

    def _count(self, target: Session | Connection, selection: Selection, q: str | None, limit: int | None) -> int:
        execution = self._execution(target)
        parameters = execution.by_selection(selection, q)
        if limit is None:
            return int(self._scalar(execution, lambda statements: statements.count(selection), parameters))
        parameters["limit"] = limit
        return int(self._scalar(execution, lambda statements: statements.count_some(selection), parameters))

    async def exists(
        self,
        session: E,
        id: object = ANY_ID,  # noqa: A002
        *,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> bool:
        """Whether any row fulfils the conditions and, when one is given, has the id; no row has None.

        Args:
            session: Where to read.
            id: Value of the id field, as in `get`; by default any row will do.
            where: Conditions that all must hold, as in `list`.
            deleted: Whether soft-deleted rows count.
        """
        return await self._run(session, self._exists, id, Selection(Conditions(where), (), deleted))

    def _exists(self, target: Session | Connection, id: object, selection: Selection) -> bool:  # noqa: A002
        execution = self._execution(target)
        parameters = execution.by_selection(selection)
        by_id = id is not ANY_ID
        if by_id:
            parameters.update(execution.by_id(id))
        found = self._scalar(execution, lambda statements: statements.exists(selection, by_id=by_id), parameters)
        return found is not None

    def _scalar(
        self,
        execution: Execution[M],
        build: Callable[[Statements[M]], Select[Any]],
        parameters: Mapping[str, object],
    ) -> Any:
        if execution.reads_directly:
            rows = execution.fetch(build(execution.statements), parameters)
            return rows[0][0] if rows else None
        return execution.run_orm(build(execution.orm_statements), parameters).scalar()


def natural(name: str, value: object) -> int:
    """The number, checked to be a natural one that the database can take.

    Raises:
        InvalidValue: When it is negative, too large or no int.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise InvalidValue(f"{name} must be an int from 0 to 2**63 - 1")
    return value


def _window(limit: int, offset: int) -> dict[str, int]:
    return {"limit": natural("limit", limit), "offset": natural("offset", offset)}


def listed(name: str, values: Iterable[R]) -> builtins.list[R]:
    """The values, checked to be several and not one that can be taken apart.

    Raises:
        InvalidQuery: When they are none.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidQuery(f"{name} takes a list, got {type(values).__name__}")
    try:
        return builtins.list(values)
    except NotImplementedError:  # an expression, which can be iterated for SQLAlchemy's own sake
        raise InvalidQuery(f"{name} takes a list, got {type(values).__name__}") from None
