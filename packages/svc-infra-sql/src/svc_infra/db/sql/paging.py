"""Reading more than a page: keyset pages and streams."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Enum, Float, Select, literal_column, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from svc_infra.db.sql.conditions import Conditions, Where
from svc_infra.db.sql.cursors import Cursor, CursorCodec
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.keyset import after, has_border, key_parameter, order_within, reversed_ordering
from svc_infra.db.sql.lone import LoneStatements
from svc_infra.db.sql.ordering import OrderBy, Ordering
from svc_infra.db.sql.reading import Reading, natural
from svc_infra.db.sql.statements import Selection, Statements
from svc_infra.db.sql.translate import translate
from svc_infra.db.sql.visibility import Deleted

__all__ = ["KeysetPage", "Paging"]

M = TypeVar("M")
T = TypeVar("T")
E = TypeVar("E", bound=AsyncSession | AsyncConnection | LoneStatements)


@dataclass(frozen=True, slots=True)
class KeysetPage(Generic[T]):
    """A page and the ways on from it.

    Attributes:
        items: The results.
        next_cursor: Cursor of the page after it; None on the last one.
        previous_cursor: Cursor of the page before it; None on the first one.
    """

    items: list[T]
    next_cursor: str | None
    previous_cursor: str | None


class Paging(Reading[M, T, E]):
    """Reads rows page by page from a place, and all of them in constant memory."""

    _cursors: CursorCodec

    async def page(
        self,
        session: E,
        *,
        limit: int,
        cursor: str | None = None,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
    ) -> KeysetPage[T]:
        """A page by keyset: it begins after a row, not after a number of rows.

        So a page costs the same at any depth, and rows inserted or deleted meanwhile make no other row appear twice or
        not at all. The cost needs an index that begins with the order's fields. The page in which rows begin or end
        whose first field is NULL is read by two statements, as they are at another place of the index.

        Args:
            session: Where to read.
            limit: Most rows to return, at least 1.
            cursor: `next_cursor` or `previous_cursor` of another page of the same order; None for the first page.
            order_by: As in `list`, but by fields only; they may be NULL.
            where: Conditions, as in `list`.
            q: Text to search for, as in `search`.
            fields: The fields to look in.
            deleted: Whether soft-deleted rows count.

        Raises:
            InvalidQuery: When ordered by an expression, or the limit is 0.
            InvalidValue: When the cursor is damaged, or was made for another order or scope.
        """
        ordering = self._plan.ordering(order_by)
        if not ordering.is_plain:
            raise InvalidQuery("keyset pages are ordered by fields; an expression has no place to begin after")
        if natural("limit", limit) < 1:
            raise InvalidQuery("a keyset page needs a limit of at least 1")
        selection = Selection(Conditions(where), self._searched(q, fields), deleted)
        place, context = None, self._context(ordering)
        if cursor is not None:
            place = self._cursors.decode(cursor, context, len(ordering.keys))
        return await self._run(session, self._page, ordering, selection, q, place, limit, context)

    def _context(self, ordering: Ordering) -> str:
        scope = sorted((name, str(value)) for name, value in self._scope.items())
        order = [(str(key), key.nulls) for key in ordering.keys]
        return repr((self._plan.fields.table.fullname, order, scope))

    def _page(
        self,
        target: Session | Connection,
        ordering: Ordering,
        selection: Selection,
        q: str | None,
        place: Cursor | None,
        limit: int,
        context: str,
    ) -> KeysetPage[T]:
        execution, fields = self._execution(target), self._plan.fields
        parameters: dict[str, Any] = {**execution.by_selection(selection, q), "limit": limit + 1, "offset": 0}
        backwards = place is not None and place.backwards
        read_in = reversed_ordering(fields, ordering, execution.capabilities) if backwards else ordering
        are_null: tuple[bool, ...] | None = None
        if place is not None:
            are_null = tuple(value is None for value in place.values)
            for position, (key, value) in enumerate(zip(ordering.keys, place.values, strict=True)):
                if value is not None:
                    kind = fields.columns[key.name].type
                    if isinstance(kind, Enum) and kind.enum_class is not None:
                        value = _member(kind.enum_class, value)  # noqa: PLW2901
                    parameters[key_parameter(position)] = execution.checker.value(key.name, value)
                elif not fields.columns[key.name].nullable:
                    raise InvalidValue("the cursor is damaged: it has no value of a field that may not be NULL")
        names = tuple(key.name for key in ordering.keys)
        asked = (read_in, selection, are_null)
        items, place_of = self._read_places(execution, names, parameters, asked)
        missing = limit + 1 - len(items)
        if are_null is not None and missing and has_border(fields, read_in, are_null, execution.capabilities):
            found, place_of_found = items, place_of
            more, place_of_more = self._read_places(
                execution, names, {**parameters, "limit": missing}, asked, beyond_border=True
            )
            number, items = len(found), [*found, *more]

            def place_of(position: int) -> tuple[Any, ...]:
                return place_of_found(position) if position < number else place_of_more(position - number)

        has_more = len(items) > limit
        del items[limit:]
        first, last = 0, len(items) - 1
        if backwards:
            items.reverse()
            first, last = last, first
        has_next = has_more if not backwards else bool(items)
        has_previous = has_more if backwards else place is not None and bool(items)
        return KeysetPage(
            items,
            self._cursors.encode(Cursor(place_of(last)), context) if has_next else None,
            self._cursors.encode(Cursor(place_of(first), backwards=True), context) if has_previous else None,
        )

    def _read_places(
        self,
        execution: Execution[M],
        names: tuple[str, ...],
        parameters: Mapping[str, object],
        asked: tuple[Ordering, Selection, tuple[bool, ...] | None],
        *,
        beyond_border: bool = False,
    ) -> tuple[list[T], Callable[[int], tuple[Any, ...]]]:
        """The results, and what gives the values of the named fields of the result at a position of them.

        The form may not read those fields by itself.
        """
        form, columns = self._form, self._plan.fields.columns
        if not execution.reads_directly or form.needs_orm:
            found = self._read(
                execution,
                lambda statements, read: self._keyset(
                    execution, statements, read, (), *asked, beyond_border=beyond_border
                ),
                parameters,
            )
            results = list(found)
            kept = tuple(results)  # as the caller changes the list
            return results, lambda position: tuple(form.value_of(kept[position], name) for name in names)
        # A single-precision float is read rounded by some drivers, and would not equal itself as a parameter.
        apart = tuple(name for name in names if name not in form.names or isinstance(columns[name].type, Float))
        statement = self._keyset(
            execution, execution.statements, form.names, apart, *asked, beyond_border=beyond_border
        )
        rows = execution.fetch(statement, parameters)
        width = len(form.names)
        places = [width + apart.index(name) if name in apart else form.names.index(name) for name in names]
        items = form.from_rows(execution.session, [row[:width] for row in rows] if apart else rows, refresh=False)
        return list(items), lambda position: tuple(rows[position][place] for place in places)

    def _keyset(
        self,
        execution: Execution[M],
        statements: Statements[M],
        names: tuple[str, ...] | None,
        apart: tuple[str, ...],
        ordering: Ordering,
        selection: Selection,
        are_null: tuple[bool, ...] | None,
        *,
        beyond_border: bool,
    ) -> Select[Any]:
        def build() -> Select[Any]:
            capabilities, read_in = execution.capabilities, ordering
            if are_null is not None:
                read_in = order_within(ordering, are_null, capabilities, beyond_border=beyond_border)
            found = statements.select_many(names, read_in, selection)
            for name in apart:
                column = statements.column(name)
                exact = column + literal_column("0e0") if isinstance(column.type, Float) else column
                found = found.add_columns(type_coerce(exact, column.type).label(f"svc_infra_{name}"))
            if are_null is None:
                return found
            place = after(
                self._plan.fields, ordering, are_null, capabilities, statements.column, beyond_border=beyond_border
            )
            return found.where(place)

        shape = (names, apart, ordering, selection.shape, are_null, beyond_border)
        key = None if selection.shape is None else ("keyset", *shape)
        return statements.keep(key, build)

    async def stream(
        self,
        session: E,
        *,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        batch_size: int = 500,
    ) -> AsyncIterator[T]:
        """All rows, one after another, in constant memory: `async for user in repo.stream(session)`.

        The database keeps the result open meanwhile; on MySQL and MariaDB no other statement may run on the session
        until the end. Leave the loop early only with `contextlib.aclosing` around the stream, which frees the result.

        Args:
            session: Where to read.
            order_by: As in `list`; None leaves the order to the database, which is the fastest.
            where: Conditions, as in `list`.
            deleted: Whether soft-deleted rows count.
            batch_size: Rows that are fetched, and kept, at once.

        Raises:
            InvalidQuery: When the driver has no streams, or *session* is `Database.lone()`, which has no transaction.
        """
        if isinstance(session, LoneStatements):
            raise InvalidQuery("a stream needs a transaction; use database.session() and not lone()")
        ordering = None if order_by is None else self._plan.ordering(order_by)
        selection = Selection(Conditions(where), (), deleted)
        try:
            statement, parameters, directly = await self._run(session, self._streamed, ordering, selection)
            options = {"yield_per": max(natural("batch_size", batch_size), 1)}
            if directly:
                connection = (
                    session if isinstance(session, AsyncConnection) else await self._connect(session, statement)
                )
                result = await connection.stream(statement, parameters, execution_options=options)
            else:
                result = await session.stream(statement, parameters, execution_options=options)
            try:
                sync_session = session.sync_session if isinstance(session, AsyncSession) else None
                async for rows in (result if directly or self._form.orm_names else result.scalars()).partitions():
                    found: Sequence[Any] = rows
                    if directly:
                        found = self._form.from_rows(sync_session, rows, refresh=False)
                    for item in found:
                        yield item
            finally:
                await result.close()
        except Exception as error:
            typed = translate(error, table=self._plan.fields.table)
            if typed is None or typed is error:
                raise
            raise typed from typed.__cause__

    async def _connect(self, session: AsyncSession, statement: Select[Any]) -> AsyncConnection:
        arguments = {"mapper": self._plan.fields.mapper, "clause": statement}
        return await session.connection(bind_arguments=arguments)

    def _streamed(
        self, target: Session | Connection, ordering: Ordering | None, selection: Selection
    ) -> tuple[Select[Any], dict[str, Any], bool]:
        execution = self._execution(target)
        dialect = (target.get_bind(mapper=self._plan.fields.mapper) if isinstance(target, Session) else target).dialect
        if not dialect.supports_server_side_cursors:
            raise InvalidQuery(
                f"the asynchronous driver of {dialect.name} has no streams; read pages by cursor instead"
            )
        directly = execution.reads_directly and not self._form.needs_orm
        statements = execution.statements if directly else execution.orm_statements
        names = self._form.names if directly else self._form.orm_names
        statement = statements.select_many(names, ordering, selection, paged=False)
        if not directly:
            statement = statement.options(*self._form.options(execution.scope_values()))
        return statement, execution.by_selection(selection), directly


def _member(kind: type[enum.Enum], name: object) -> enum.Enum:
    """The member that a cursor names; its column may keep another text of it.

    Raises:
        InvalidValue: When there is none of this name any more.
    """
    try:
        return kind[str(name)]
    except KeyError:
        raise InvalidValue(f"the cursor stands at {name!r}, which is no {kind.__name__} any more") from None
