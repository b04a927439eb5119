"""What a repository knows about its model: the fields and their roles, and the statements that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from svc_infra.db.sql.errors import InvalidQuery, UnknownField
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.statements import Statements, id_parameter
from svc_infra.db.sql.visibility import Visibility

__all__ = ["RepositoryPlan"]

M = TypeVar("M")


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
        statements: The statements over the table.
        orm_statements: The same ones over the mapped class, for the ORM to run.
    """

    fields: ModelFields[M]
    id_fields: tuple[str, ...]
    visibility: Visibility
    immutable_fields: frozenset[str]
    version_field: str | None
    clock: Callable[[], datetime]
    statements: Statements[M] = field(init=False)
    orm_statements: Statements[M] = field(init=False)
    _scoped: dict[tuple[str, ...], RepositoryPlan[M]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.visibility.check(self.fields)
        self.fields.require(self.immutable_fields & set(self.id_fields), use="immutable")
        if self.version_field is not None:
            self.fields.column(self.version_field, use="the version field")
        object.__setattr__(self, "statements", Statements(self.fields, self.visibility, self.id_fields))
        object.__setattr__(self, "orm_statements", Statements(self.fields, self.visibility, self.id_fields, orm=True))

    def scoped(self, names: Collection[str]) -> RepositoryPlan[M]:
        """The plan whose statements are confined to rows with given values in these fields too.

        Raises:
            UnknownField: When a name is no field.
        """
        wanted = tuple(sorted({*self.visibility.scope_fields, *names}))
        found = self._scoped.get(wanted)
        if found is None:
            visibility = Visibility(self.visibility.deleted_field, self.visibility.flag_field, wanted)
            found = self._scoped[wanted] = RepositoryPlan(
                self.fields, self.id_fields, visibility, self.immutable_fields, self.version_field, self.clock
            )
        return found

    @property
    def managed_fields(self) -> frozenset[str]:
        """Fields that data never sets: those of the soft delete, the version and the scope."""
        managed = self.visibility.managed_fields | frozenset(self.visibility.scope_fields)
        return managed | {self.version_field} if self.version_field is not None else managed

    def id_parameters(self, id: object) -> dict[str, Any]:  # noqa: A002 (the guide's word)
        """The bound parameters that address a row.

        Args:
            id: The value of the id field; for several fields a sequence in their order, or a mapping of their names.

        Raises:
            InvalidQuery: When a composite id has another number of parts, or lacks one.
        """
        names = self.id_fields
        if len(names) == 1 and not isinstance(id, Mapping):
            return {id_parameter(names[0]): id}
        if isinstance(id, Mapping):
            if set(id) != set(names):
                raise InvalidQuery(f"the id of {self.fields.model.__name__} is {names!r}; got {sorted(map(str, id))!r}")
            return {id_parameter(name): id[name] for name in names}
        if not isinstance(id, Sequence) or isinstance(id, str | bytes) or len(id) != len(names):
            raise InvalidQuery(f"the id of {self.fields.model.__name__} has {len(names)} parts, {names!r}; got {id!r}")
        return {id_parameter(name): part for name, part in zip(names, id, strict=True)}

    def checked(self, data: Mapping[str, object]) -> dict[str, Any]:
        """The data without the managed fields.

        Raises:
            UnknownField: When a name is no field.
        """
        columns, managed = self.fields.columns, self.managed_fields
        found: dict[str, Any] = {}
        for name, value in data.items():
            if name not in columns:
                self.fields.column(name, use="set")
                raise UnknownField(name)
            if name not in managed:
                found[name] = value
        return found
