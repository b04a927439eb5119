"""The statements of a repository, built once and run with bound parameters.

Building a `select()` costs several times what running it again costs, so a statement is kept under a key that holds its
shape (order, searched fields, deleted rows or not) and never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    Insert,
    Select,
    Update,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.ordering import Ordering
from svc_infra.db.sql.search import search_criterion
from svc_infra.db.sql.visibility import Deleted, Visibility

__all__ = ["Statements", "id_parameter"]

M = TypeVar("M")
S = TypeVar("S")

_KEPT = 512


def id_parameter(name: str) -> str:
    """The name of the bound parameter that carries the value of an id field."""
    return f"id_{name}"


class Statements(Generic[M]):
    """Builds and keeps the statements over one model.

    Args:
        fields: The model's fields.
        visibility: The rows that every statement is confined to.
        id_fields: The fields that address a row.
        orm: Whether to build them of the model's attributes, for the ORM to run and for listeners of the session to
            see, and not of the table's columns.
    """

    def __init__(
        self, fields: ModelFields[M], visibility: Visibility, id_fields: tuple[str, ...], *, orm: bool = False
    ) -> None:
        self._fields = fields
        self._visibility = visibility
        self._id_fields = id_fields
        self._orm = orm
        self._kept: dict[Hashable, Any] = {}

    def column(self, name: str) -> ColumnElement[Any]:
        """The column of a field as the statements use it."""
        return getattr(self._fields.model, name) if self._orm else self._fields.columns[name]

    def _keep(self, key: Hashable | None, build: Callable[[], S]) -> S:
        if key is None:
            return build()
        found: S | None = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            found = self._kept[key] = build()
        return found

    def output(self, names: Sequence[str]) -> list[ColumnElement[Any]]:
        """The columns that give the fields, each called as its field."""
        return [
            column if column.key == name == getattr(column, "name", None) else column.label(name)
            for name, column in ((name, self.column(name)) for name in names)
        ]

    def _selected(self, names: tuple[str, ...] | None) -> Select[Any]:
        """All fields as an entity in the ORM's form (None), or the given fields as a row."""
        if names is None:
            return select(self._fields.model) if self._orm else select(*self.output(self._fields.names))
        return select(*self.output(names))

    def id_criteria(self) -> list[Any]:
        """The conditions that the id fields have the values bound by `id_parameter`."""
        return [
            self.column(name) == bindparam(id_parameter(name), type_=self._fields.columns[name].type)
            for name in self._id_fields
        ]

    def select_one(self, names: tuple[str, ...] | None, deleted: Deleted, where: Sequence[Any] = ()) -> Select[Any]:
        """SELECT of the row with an id."""

        def build() -> Select[Any]:
            criteria = [*self.id_criteria(), *self._visibility.criteria(self.column, deleted), *where]
            return self._selected(names).where(*criteria)

        return self._keep(None if where else ("one", names, deleted), build)

    def select_by_key(self, names: tuple[str, ...] | None) -> Select[Any]:
        """SELECT of the row with a primary key, whatever its visibility, to read back what was just written."""

        def build() -> Select[Any]:
            columns = self._fields.columns
            return self._selected(names).where(
                *(
                    self.column(name) == bindparam(id_parameter(name), type_=columns[name].type)
                    for name in self._fields.primary_key
                )
            )

        return self._keep(("key", names), build)

    def select_many(
        self,
        names: tuple[str, ...] | None,
        ordering: Ordering | None,
        deleted: Deleted,
        *,
        where: Sequence[Any] = (),
        searched: tuple[str, ...] = (),
    ) -> Select[Any]:
        """SELECT of a page, its size and start bound as `limit` and `offset`."""

        def build() -> Select[Any]:
            found = self._selected(names).where(*self._visibility.criteria(self.column, deleted), *where)
            if searched:
                found = found.where(search_criterion(self._fields, searched, self.column))
            if ordering is not None:
                found = found.order_by(*ordering.clauses(self.column))
            return found.limit(bindparam("limit", type_=BigInteger())).offset(bindparam("offset", type_=BigInteger()))

        is_shape = not where and (ordering is None or ordering.is_plain)
        return self._keep(("many", names, ordering, deleted, searched) if is_shape else None, build)

    def count(self, deleted: Deleted, *, where: Sequence[Any] = (), searched: tuple[str, ...] = ()) -> Select[Any]:
        """SELECT of the number of rows."""

        def build() -> Select[Any]:
            found = select(func.count()).select_from(self._source())
            found = found.where(*self._visibility.criteria(self.column, deleted), *where)
            return found.where(search_criterion(self._fields, searched, self.column)) if searched else found

        return self._keep(None if where else ("count", deleted, searched), build)

    def exists(self, deleted: Deleted, *, where: Sequence[Any] = (), by_id: bool = False) -> Select[Any]:
        """SELECT 1 of at most one row."""

        def build() -> Select[Any]:
            criteria = [*self._visibility.criteria(self.column, deleted), *where]
            if by_id:
                criteria += self.id_criteria()
            return select(literal(1)).select_from(self._source()).where(*criteria).limit(1)

        return self._keep(None if where else ("exists", deleted, by_id), build)

    def _source(self) -> Any:
        return self._fields.model if self._orm else self._fields.table

    def insert(self, returned: tuple[str, ...]) -> Insert:
        """INSERT of the parameters' columns, returning the fields."""
        return self._keep(
            ("insert", returned),
            lambda: (
                insert(self._fields.table).returning(*self.output(returned)) if returned else insert(self._fields.table)
            ),
        )

    def update_one(self, returned: tuple[str, ...], deleted: Deleted, guarded: tuple[str, ...] = ()) -> Update:
        """UPDATE of the row with an id, setting the parameters' columns and returning the fields.

        `guarded` fields must also equal the parameters bound as `guard_NAME`.
        """

        def build() -> Update:
            criteria = [*self.id_criteria(), *self._visibility.criteria(self.column, deleted)]
            criteria += [
                self.column(name) == bindparam(f"guard_{name}", type_=self._fields.columns[name].type)
                for name in guarded
            ]
            found = update(self._fields.table).where(*criteria)
            return found.returning(*self.output(returned)) if returned else found

        return self._keep(("update", returned, deleted, guarded), build)

    def delete_one(self, returned: tuple[str, ...], deleted: Deleted) -> Any:
        """DELETE of the row with an id, returning the fields."""

        def build() -> Any:
            criteria = [*self.id_criteria(), *self._visibility.criteria(self.column, deleted)]
            found = delete(self._fields.table).where(*criteria)
            return found.returning(*self.output(returned)) if returned else found

        return self._keep(("delete", returned, deleted), build)
