"""What a repository knows about its model: the fields and their roles, and the statements that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy import Boolean, DateTime, Integer, String, Uuid

from svc_infra.db.sql.capabilities import capabilities_of
from svc_infra.db.sql.entities import EntityLoader
from svc_infra.db.sql.errors import InvalidQuery, UnknownField
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.forms import RowForm
from svc_infra.db.sql.ordering import OrderBy, Ordering
from svc_infra.db.sql.references import Reference, references_of
from svc_infra.db.sql.statements import Statements, id_parameter
from svc_infra.db.sql.values import ValueChecker
from svc_infra.db.sql.visibility import Visibility

__all__ = ["RepositoryPlan"]

M = TypeVar("M")

_SCALARS: Final = frozenset({int, str, UUID})
"""The types of most ids, which are told from a mapping at a tenth of the cost of looking whether one is."""


@dataclass(frozen=True, eq=False)
class RepositoryPlan(Generic[M]):
    """The parts that a repository, its row form and its scoped copies share.

    Attributes:
        fields: The model's fields.
        id_fields: The fields that address a row.
        visibility: The rows that may be touched.
        immutable_fields: Fields that an update leaves as they are.
        version_field: Field that counts the updates of a row, or None.
        clock: Gives the time of a soft delete, aware.
        managed_fields: Fields that data never sets: those of the soft delete, the version and the scope.
        loader: Makes objects from rows.
        is_addressed_by_key: Whether an id is the primary key's very values, so that a row that was found by it need not
            return its key; text may be found by other text, as its collation says.
    """

    fields: ModelFields[M]
    id_fields: tuple[str, ...]
    visibility: Visibility
    immutable_fields: frozenset[str]
    version_field: str | None
    clock: Callable[[], datetime]
    managed_fields: frozenset[str] = field(init=False)
    loader: EntityLoader[M] = field(init=False)
    is_addressed_by_key: bool = field(init=False)
    _scoped: dict[tuple[str, ...], RepositoryPlan[M]] = field(init=False, default_factory=dict)
    _statements: dict[tuple[str, bool], Statements[M]] = field(init=False, default_factory=dict)
    _references: dict[Literal["found"], tuple[Reference, ...]] = field(init=False, default_factory=dict)
    _row_forms: dict[tuple[str, ...], RowForm] = field(default_factory=dict)
    _orderings: dict[str | None, Ordering] = field(default_factory=dict)
    _checkers: dict[tuple[str, type], ValueChecker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.visibility.check(self.fields)
        managed = self.visibility.managed_fields | frozenset(self.visibility.scope_fields)
        if self.version_field is not None:
            kind = self.fields.column(self.version_field, use="the version field").type
            # What the mapper counts it may count in its own way.
            if isinstance(kind, String | Boolean | DateTime) and self.fields.mapper.version_id_col is None:
                raise UnknownField(
                    f"{self.fields.model.__name__}.{self.version_field} is {kind!r}; a version field is an Integer"
                )
            managed |= {self.version_field}
        object.__setattr__(self, "managed_fields", managed)
        object.__setattr__(self, "loader", EntityLoader(self.fields))
        kinds = [self.fields.columns[name].type for name in self.fields.primary_key]
        is_exact = all(isinstance(kind, Integer | Uuid) for kind in kinds)
        object.__setattr__(self, "is_addressed_by_key", is_exact and self.id_fields == self.fields.primary_key)

    def scoped(self, names: Collection[str]) -> RepositoryPlan[M]:
        """The plan whose statements are confined to rows with given values in these fields too.

        Raises:
            UnknownField: When a name is no field.
        """
        wanted = tuple(sorted({*self.visibility.scope_fields, *names}))
        found = self._scoped.get(wanted)
        if found is None:
            found = self._scoped[wanted] = replace(self, visibility=replace(self.visibility, scope_fields=wanted))
        return found

    @property
    def references(self) -> tuple[Reference, ...]:
        """The foreign keys that could lead out of the scope; resolved when a row is written first."""
        found = self._references.get("found")
        if found is None:
            found, is_complete = references_of(self.fields, self.visibility)
            if is_complete:
                self._references["found"] = found
        return found

    def statements(self, dialect_name: str, *, orm: bool = False) -> Statements[M]:
        """The statements for a kind of database, over the table or for the ORM to run."""
        found = self._statements.get((dialect_name, orm))
        if found is None:
            found = self._statements[(dialect_name, orm)] = Statements(
                self.fields,
                self.visibility,
                self.id_fields,
                self.version_field,
                capabilities_of(dialect_name),
                orm=orm,
            )
        return found

    def checker(self, dialect_name: str, fields: ModelFields[Any] | None = None) -> ValueChecker:
        """The checks of values for a kind of database, of this model or of a related one."""
        fields = self.fields if fields is None else fields
        found = self._checkers.get((dialect_name, fields.model))
        if found is None:
            found = ValueChecker(fields, capabilities_of(dialect_name))
            self._checkers[(dialect_name, fields.model)] = found
        return found

    def row_form(self, names: tuple[str, ...]) -> RowForm:
        """The form of rows of the fields, kept.

        Raises:
            UnknownField: When a name is no field.
        """
        found = self._row_forms.get(names)
        if found is None:
            self.fields.require(names, use="read")
            found = RowForm(names)
            if len(self._row_forms) < 256:
                self._row_forms[names] = found
        return found

    def ordering(self, order_by: OrderBy | None) -> Ordering:
        """The total order that `order_by` asks for, kept when it is text.

        Raises:
            UnknownField: When it names no field.
        """
        if order_by is not None and not isinstance(order_by, str):
            return Ordering.parse(self.fields, order_by)
        found = self._orderings.get(order_by)
        if found is None:
            found = Ordering.parse(self.fields, order_by)
            if len(self._orderings) < 256:
                self._orderings[order_by] = found
        return found

    def id_parts(self, id: object) -> dict[str, Any]:  # noqa: A002 (the guide's word)
        """The values of the id fields.

        Args:
            id: The value of the id field; for several fields a sequence in their order, or a mapping of their names.

        Raises:
            InvalidQuery: When a composite id has another number of parts, or lacks one.
        """
        names = self.id_fields
        if len(names) == 1 and (type(id) in _SCALARS or not isinstance(id, Mapping)):
            return {names[0]: id}
        if isinstance(id, Mapping):
            if set(id) != set(names):
                raise InvalidQuery(f"the id of {self.fields.model.__name__} is {names!r}; got {sorted(map(str, id))!r}")
            return {name: id[name] for name in names}
        if not isinstance(id, Sequence) or isinstance(id, str | bytes) or len(id) != len(names):
            raise InvalidQuery(f"the id of {self.fields.model.__name__} has {len(names)} parts, {names!r}; got {id!r}")
        return dict(zip(names, id, strict=True))

    def id_parameters(self, checker: ValueChecker, id: object) -> dict[str, Any]:  # noqa: A002
        """The bound parameters that address a row.

        Raises:
            InvalidQuery: As `id_parts` does.
            InvalidValue: When a part does not fit its column.
        """
        return {id_parameter(name): checker.value(name, part) for name, part in self.id_parts(id).items()}

    def by_column(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values by the keys of their columns, which is what an INSERT or UPDATE takes."""
        columns = self.fields.columns
        return {columns[name].key: value for name, value in values.items()}

    def written(self, data: Mapping[str, object]) -> dict[str, Any]:
        """The data without the managed fields.

        Raises:
            UnknownField: When a name is no field, or one that the database computes.
            InvalidQuery: When they are no mapping.
        """
        writable, managed = self.fields.writable, self.managed_fields
        found: dict[str, Any] = {}
        if type(data) is not dict and not isinstance(data, Mapping):
            raise InvalidQuery(f"a {self.fields.model.__name__} takes values by field, got {type(data).__name__}")
        for name, value in data.items():
            if name not in writable:
                self.fields.column(name, use="set")
                raise UnknownField(
                    f"{self.fields.model.__name__}.{name} is computed by the database, so it can't be set"
                )
            if name not in managed:
                found[name] = value
        return found
