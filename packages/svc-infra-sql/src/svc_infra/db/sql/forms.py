"""The two forms of a repository's results: objects of the model, and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from sqlalchemy import Result, Row
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload, undefer
from sqlalchemy.orm.interfaces import ORMOption

from svc_infra.db.sql.entities import EntityLoader
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.visibility import Visibility

if TYPE_CHECKING:
    ResultRow: TypeAlias = Row[*tuple[Any, ...]]
    """A named tuple of the fields read."""
else:
    ResultRow: TypeAlias = Row

__all__ = ["EntityForm", "ResultForm", "ResultRow", "RowForm"]

M = TypeVar("M")
T = TypeVar("T")

# What a relationship loads eagerly by, and the option that does the same.
_EAGER_LOADS: Mapping[object, Callable[..., Any]] = MappingProxyType(
    {
        "joined": joinedload,
        False: joinedload,
        "selectin": selectinload,
        "immediate": selectinload,
        "subquery": subqueryload,
    }
)


class ResultForm(Protocol[T]):
    """How rows of the database become results."""

    @property
    def names(self) -> tuple[str, ...]:
        """The fields to read when rows are read directly."""
        ...

    @property
    def orm_names(self) -> tuple[str, ...] | None:
        """The fields to read through the ORM; None reads objects."""
        ...

    @property
    def needs_orm(self) -> bool:
        """Whether only the ORM can make the results."""
        ...

    def options(self, scope: Mapping[str, object]) -> Sequence[ORMOption]:
        """The loader options of a statement that the ORM runs."""
        ...

    def from_rows(self, session: Session | None, rows: Iterable[Sequence[Any]], *, refresh: bool) -> Sequence[T]:
        """Results of directly read rows that hold the fields `names`."""
        ...

    def from_orm(self, result: Result[Any]) -> Sequence[T]:
        """Results of a statement that the ORM ran."""
        ...

    def value_of(self, result: T, name: str) -> Any:
        """The value of a field of a result."""
        ...


class EntityForm(Generic[M]):
    """Results are objects of the model, held by the session.

    Args:
        fields: The model's fields.
        visibility: What related objects are confined to.
        loaded: Relationships to load with each object, dotted for those of related ones.
    """

    def __init__(self, fields: ModelFields[M], visibility: Visibility, loaded: Sequence[str] = ()) -> None:
        self._fields = fields
        self._visibility = visibility
        self._loaded = tuple(loaded)
        self.loader: EntityLoader[M] = EntityLoader(fields)
        self.names: tuple[str, ...] = fields.names
        self.orm_names: tuple[str, ...] | None = None
        self.needs_orm: bool = bool(loaded)

    def options(self, scope: Mapping[str, object]) -> Sequence[ORMOption]:
        """SELECT IN loading of the relationships: one statement each, however many objects.

        What the model itself loads eagerly is confined to visible rows as well.
        """
        named = {path.partition(".")[0] for path in self._loaded}
        return [*(self._option(path, scope) for path in self._loaded), *self._eager(self._fields, scope, named)]

    def _eager(
        self,
        fields: ModelFields[Any],
        scope: Mapping[str, object],
        left_out: AbstractSet[str],
        seen: AbstractSet[object] = frozenset(),
    ) -> list[Any]:
        found: list[Any] = []
        for relation in fields.mapper.relationships:
            load = _EAGER_LOADS.get(relation.lazy)
            if load is None or relation.key in left_out or relation.mapper in seen:
                continue
            attribute, target = fields.relation(relation.key)
            criteria = self._visibility.within(target.columns).literal_criteria(partial(getattr, target.model), scope)
            deeper = self._eager(target, scope, frozenset(), seen | {fields.mapper})
            if criteria or deeper:
                found.append(load(attribute.and_(*criteria) if criteria else attribute).options(*deeper))
        return found

    def _option(self, path: str, scope: Mapping[str, object]) -> ORMOption:
        if path in self._fields.columns:
            return undefer(getattr(self._fields.model, path))
        option: Any = None
        fields: ModelFields[Any] = self._fields
        for name in path.split("."):
            attribute, fields = fields.relation(name)
            criteria = self._visibility.within(fields.columns).literal_criteria(partial(getattr, fields.model), scope)
            target: Any = attribute.and_(*criteria) if criteria else attribute
            option = selectinload(target) if option is None else option.selectinload(target)
        found: ORMOption = option
        return found

    def from_rows(self, session: Session | None, rows: Iterable[Sequence[Any]], *, refresh: bool) -> list[M]:
        """The objects of the rows."""
        if session is None:
            raise TypeError("objects need an AsyncSession, not a connection; use the row form, SqlRepository.rows")
        return self.loader.load(session, rows, refresh=refresh)

    def from_orm(self, result: Result[Any]) -> list[M]:
        """The objects that the ORM loaded."""
        return list(result.scalars().unique())

    def value_of(self, result: M, name: str) -> Any:
        """The object's attribute."""
        return getattr(result, name)


class RowForm:
    """Results are rows (named tuples) of chosen fields; no object is made and the session holds nothing."""

    needs_orm = False

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.orm_names: tuple[str, ...] | None = names
        metadata = SimpleResultMetaData(names)
        # As SQLAlchemy's own results make them.
        self._make_row = partial(Row, metadata, None, metadata._key_to_index)  # noqa: SLF001
        self._positions = {name: position for position, name in enumerate(names)}

    def options(self, scope: Mapping[str, object]) -> Sequence[ORMOption]:  # noqa: ARG002
        """None."""
        return ()

    def from_rows(
        self,
        session: Session | None,  # noqa: ARG002
        rows: Iterable[Sequence[Any]],
        *,
        refresh: bool,  # noqa: ARG002
    ) -> list[ResultRow]:
        """The rows themselves; what else has the values of one becomes a row."""
        make = self._make_row
        return [row if isinstance(row, Row) else make(row) for row in rows]

    def from_orm(self, result: Result[Any]) -> list[ResultRow]:
        """The rows themselves."""
        return list(result.all())

    def value_of(self, result: ResultRow, name: str) -> Any:
        """The value at the field's place."""
        return result[self._positions[name]]
