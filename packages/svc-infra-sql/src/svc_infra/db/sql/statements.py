"""The statements of a repository, built once and run with bound parameters.

Building a `select()` costs several times what running it again costs, so a statement is kept under a key that holds its
shape (order, filters, searched fields, deleted rows or not) and never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Insert,
    Select,
    Update,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy import column as named
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.capabilities import Capabilities
from svc_infra.db.sql.conditions import NO_CONDITIONS, Conditions
from svc_infra.db.sql.errors import InvalidQuery
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.filter_scope import FilterScope
from svc_infra.db.sql.ordering import Ordering
from svc_infra.db.sql.search import search_criterion
from svc_infra.db.sql.visibility import Deleted, Visibility

__all__ = ["EXPECTED_VERSION", "IDS", "RowLock", "Selection", "Statements", "id_parameter"]

M = TypeVar("M")
S = TypeVar("S")

RowLock: TypeAlias = Literal["update", "share", "nowait", "skip_locked"]
"""How rows are locked as they are read: for update, waiting for who holds them ("update"), failing at once with
`LockTimeout` ("nowait") or leaving such rows out ("skip_locked"); or against changes only ("share")."""

_LOCKS: tuple[str, ...] = get_args(RowLock)
_KEPT = 512

# SQLAlchemy calls the parameters of an INSERT and UPDATE as the columns: no column may have a name of these.
IDS = "svc_infra_ids"
"""The name of the bound parameter that carries a list of ids."""

EXPECTED_VERSION = "svc_infra_version"
"""The name of the bound parameter that carries the version that a caller has read."""


@cache
def id_parameter(name: str) -> str:
    """The name of the bound parameter that carries the value of an id field."""
    return f"svc_infra_id_{name}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a statement is about, beside the scope.

    Attributes:
        where: Conditions that must hold.
        searched: Fields of which one must hold the text bound as `search_pattern`.
        deleted: Whether soft-deleted rows count.
    """

    where: Conditions = NO_CONDITIONS
    searched: tuple[str, ...] = ()
    deleted: Deleted = "exclude"

    @property
    def shape(self) -> Hashable | None:
        """What decides its SQL, or None when that can't be told."""
        return None if self.where.shape is None else (self.where.shape, self.searched, self.deleted)


class Statements(Generic[M]):
    """Builds and keeps the statements over one model for one kind of database.

    Args:
        fields: The model's fields.
        visibility: The rows that every statement is confined to.
        id_fields: The fields that address a row.
        version_field: The field that an UPDATE counts up, or None.
        capabilities: Those of the database.
        orm: Whether to build them of the model's attributes, for the ORM to run and for listeners of the session to
            see, and not of the table's columns.
    """

    def __init__(
        self,
        fields: ModelFields[M],
        visibility: Visibility,
        id_fields: tuple[str, ...],
        version_field: str | None,
        capabilities: Capabilities,
        *,
        orm: bool = False,
    ) -> None:
        self._fields = fields
        self._visibility = visibility
        self._id_fields = id_fields
        self._version_field = version_field
        self._capabilities = capabilities
        self._orm = orm
        self._kept: dict[Hashable, Any] = {}

    def column(self, name: str) -> ColumnElement[Any]:
        """The column of a field as the statements use it."""
        return getattr(self._fields.model, name) if self._orm else self._fields.columns[name]

    def keep(self, key: Hashable | None, build: Callable[[], S]) -> S:
        """The statement kept under the key, built the first time; built every time when the key is None."""
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

    def selected(self, names: tuple[str, ...] | None) -> Select[Any]:
        """SELECT of all fields as objects of the ORM (None), or of the given fields as rows."""
        if names is None:
            return select(self._fields.model) if self._orm else select(*self.output(self._fields.names))
        return select(*self.output(names))

    def source(self) -> Any:
        """What is selected from where no column says it."""
        return self._fields.model if self._orm else self._fields.table

    def id_criteria(self, names: Iterable[str] | None = None) -> list[Any]:
        """The conditions that fields, by default the id's, have the values bound by `id_parameter`."""
        return [
            self.column(name) == bindparam(id_parameter(name), type_=self._fields.columns[name].type)
            for name in (self._id_fields if names is None else names)
        ]

    def criteria(self, selection: Selection) -> list[Any]:
        """The conditions of a selection, with those of visibility and scope."""
        found = self._visibility.criteria(self.column, selection.deleted)
        if selection.where:
            scope = FilterScope(
                self._fields, self._visibility, column=self.column, use_arrays=self._capabilities.has_arrays
            )
            found += selection.where.clauses(scope)
        if selection.searched:
            found.append(search_criterion(self._fields, selection.searched, self.column))
        return found

    def select_one(self, names: tuple[str, ...] | None, deleted: Deleted, lock: RowLock | None = None) -> Select[Any]:
        """SELECT of the row with an id."""

        def build() -> Select[Any]:
            criteria = [*self.id_criteria(), *self._visibility.criteria(self.column, deleted)]
            return self._locking(self.selected(names).where(*criteria), lock)

        return self.keep(("one", names, deleted, lock), build)

    def _locking(self, statement: Select[Any], lock: RowLock | None) -> Select[Any]:
        if lock is not None and lock not in _LOCKS:
            raise InvalidQuery(f"lock is one of {', '.join(_LOCKS)}; got {lock!r}")
        if lock is None or not self._capabilities.has_row_locks:
            return statement
        return statement.with_for_update(
            read=lock == "share",
            nowait=lock == "nowait",
            skip_locked=lock == "skip_locked",
            of=self.source() if self._capabilities.locks_of else None,
        )

    def select_by_key(self, names: tuple[str, ...] | None) -> Select[Any]:
        """SELECT of the row with a primary key, whatever its visibility, to read back what was just written."""
        return self.keep(
            ("key", names), lambda: self.selected(names).where(*self.id_criteria(self._fields.primary_key))
        )

    def select_ids(self, names: tuple[str, ...] | None, deleted: Deleted) -> Select[Any]:
        """SELECT of the rows whose single id field is in the list bound as `IDS`."""
        return self.keep(
            ("ids", names, deleted),
            lambda: self.selected(names).where(self.ids_criterion(), *self._visibility.criteria(self.column, deleted)),
        )

    def ids_criterion(self) -> ColumnElement[bool]:
        """The condition that the single id field is in the list bound as `IDS`."""
        (name,) = self._id_fields
        kind = self._fields.columns[name].type
        column = self.column(name)
        if self._capabilities.has_arrays:
            return column == any_(bindparam(IDS, type_=ARRAY(kind)))
        return column.in_(bindparam(IDS, type_=kind, expanding=True))

    def select_many(
        self,
        names: tuple[str, ...] | None,
        ordering: Ordering | None,
        selection: Selection,
        *,
        paged: bool = True,
        lock: RowLock | None = None,
    ) -> Select[Any]:
        """SELECT of a page, its size and start bound as `limit` and `offset`; of all rows when not paged."""

        def build() -> Select[Any]:
            found = self.selected(names).where(*self.criteria(selection))
            if ordering is not None:
                found = found.order_by(*ordering.clauses(self.column, has_null_order=self._capabilities.has_null_order))
            found = self._locking(found, lock)
            if not paged:
                return found
            return found.limit(bindparam("limit", type_=BigInteger())).offset(bindparam("offset", type_=BigInteger()))

        is_shape = selection.shape is not None and (ordering is None or ordering.is_plain)
        return self.keep(("many", names, ordering, selection.shape, paged, lock) if is_shape else None, build)

    def select_with_total(self, names: tuple[str, ...], ordering: Ordering, selection: Selection) -> Select[Any]:
        """SELECT of a page with the number of all rows of the selection as a further, last column of every row."""

        def build() -> Select[Any]:
            criteria = self.criteria(selection)
            total = select(func.count()).select_from(self.source()).where(*criteria)
            found = self.selected(names).add_columns(total.scalar_subquery().label("svc_infra_total"))
            found = found.where(*criteria).order_by(
                *ordering.clauses(self.column, has_null_order=self._capabilities.has_null_order)
            )
            return found.limit(bindparam("limit", type_=BigInteger())).offset(bindparam("offset", type_=BigInteger()))

        is_shape = selection.shape is not None and ordering.is_plain
        return self.keep(("total", names, ordering, selection.shape) if is_shape else None, build)

    def count(self, selection: Selection) -> Select[Any]:
        """SELECT of the number of rows."""
        return self.keep(
            _key("count", selection),
            lambda: select(func.count()).select_from(self.source()).where(*self.criteria(selection)),
        )

    def count_some(self, selection: Selection) -> Select[Any]:
        """SELECT of the number of rows, counting no further than the number bound as `limit`."""

        def build() -> Select[Any]:
            some = select(literal(1).label("one")).select_from(self.source()).where(*self.criteria(selection))
            return select(func.count()).select_from(some.limit(bindparam("limit", type_=BigInteger())).subquery())

        return self.keep(_key("count some", selection), build)

    def exists(self, selection: Selection, *, by_id: bool = False) -> Select[Any]:
        """SELECT 1 of at most one row."""

        def build() -> Select[Any]:
            criteria = self.criteria(selection) + (self.id_criteria() if by_id else [])
            return select(literal(1)).select_from(self.source()).where(*criteria).limit(1)

        return self.keep(_key("exists", selection, by_id), build)

    def insert(self, returned: tuple[str, ...]) -> Insert:
        """INSERT of the parameters' columns, returning the fields."""
        return self.keep(
            ("insert", returned),
            lambda: (
                insert(self._fields.table).returning(*self.output(returned)) if returned else insert(self._fields.table)
            ),
        )

    def insert_many(self, returned: tuple[str, ...]) -> Any:
        """INSERT of many rows, returning the fields of each in the order of the rows."""
        return self.keep(
            ("insert many", returned),
            lambda: insert(self._fields.table).returning(*self.output(returned), sort_by_parameter_order=True),
        )

    def insert_arrays(self, returned: tuple[str, ...], keys: tuple[str, ...]) -> Any:
        """INSERT of many rows as one array per column, bound as `array_0` and so on, in the order of the arrays."""

        def build() -> Any:
            columns = [self._fields.table.c[key] for key in keys]
            # Without the number of dimensions a value that is a list itself, as JSON has them, counts as one more.
            arrays = [
                bindparam(f"array_{place}", type_=ARRAY(column.type, dimensions=1))
                for place, column in enumerate(columns)
            ]
            taken = [named(f"c{place}", each.type) for place, each in enumerate(columns)]
            given = func.unnest(*arrays).table_valued(*taken, with_ordinality="place").render_derived()
            rows = select(*(given.c[each.name] for each in taken)).order_by(given.c.place)
            found = insert(self._fields.table).from_select(keys, rows, include_defaults=False)
            return found.returning(*self.output(returned)) if returned else found

        return self.keep(("insert arrays", returned, keys), build)

    def update_one(self, returned: tuple[str, ...], deleted: Deleted, *, guarded: bool = False) -> Update:
        """UPDATE of the row with an id, setting the parameters' columns and returning the fields.

        `guarded` also demands the version bound as `EXPECTED_VERSION`.
        """

        def build() -> Update:
            found = update(self._fields.table).where(*self._one(deleted, guarded=guarded)).values(self.next_version())
            return found.returning(*self.output(returned)) if returned else found

        return self.keep(("update", returned, deleted, guarded), build)

    def _one(self, deleted: Deleted, *, guarded: bool) -> list[Any]:
        criteria = [*self.id_criteria(), *self._visibility.criteria(self.column, deleted)]
        if guarded and self._version_field is not None:
            kind = self._fields.columns[self._version_field].type
            criteria.append(self.column(self._version_field) == bindparam(EXPECTED_VERSION, type_=kind))
        return criteria

    def next_version(self) -> dict[str, Any]:
        """What an UPDATE sets beside its values: the version plus one."""
        if self._version_field is None:
            return {}
        column = self._fields.columns[self._version_field]
        return {column.key: column + 1}

    def delete_one(self, returned: tuple[str, ...], deleted: Deleted, *, guarded: bool = False) -> Any:
        """DELETE of the row with an id, returning the fields; `guarded` as in `update_one`."""

        def build() -> Any:
            found = delete(self._fields.table).where(*self._one(deleted, guarded=guarded))
            return found.returning(*self.output(returned)) if returned else found

        return self.keep(("delete", returned, deleted, guarded), build)


def _key(kind: str, selection: Selection, *more: Hashable) -> Hashable | None:
    return None if selection.shape is None else (kind, selection.shape, *more)
