"""Which rows a repository sees: not the soft-deleted ones, and only those of its scope (a tenant)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from sqlalchemy import Boolean, DateTime, and_, bindparam, false, not_, true
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.errors import InvalidQuery, UnknownField
from svc_infra.db.sql.fields import ModelFields

__all__ = ["Deleted", "Visibility", "utc_now"]

M = TypeVar("M")

Deleted: TypeAlias = Literal["exclude", "include", "only"]
"""Whether soft-deleted rows are left out (the default everywhere), seen too, or seen alone."""

_DELETED: tuple[str, ...] = get_args(Deleted)


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Visibility:
    """The rows that statements may touch.

    Attributes:
        deleted_field: Field that holds the time of the soft delete, NULL in live rows; None without soft delete.
        flag_field: Boolean field that is true in live rows; None when there is none.
        scope_fields: Fields whose value is given with each statement, such as the tenant's.
    """

    deleted_field: str | None = None
    flag_field: str | None = None
    scope_fields: tuple[str, ...] = ()

    def check(self, fields: ModelFields[M]) -> None:
        """Check the fields against the model.

        Raises:
            UnknownField: When the model has not got one of them, or one is of a type that can't serve.
        """
        fields.require(self.scope_fields, use="the scope of rows")
        if self.deleted_field is not None:
            column = fields.column(self.deleted_field, use="the soft delete field (give the model one, see SoftDelete)")
            if not column.nullable:
                raise UnknownField(
                    f"{fields.model.__name__}.{self.deleted_field} is NOT NULL, so live rows can't hold NULL in it; "
                    "a soft delete field must be nullable"
                )
        if self.flag_field is not None:
            column = fields.column(self.flag_field, use="the soft delete flag")
            if not isinstance(column.type, Boolean):
                raise UnknownField(
                    f"{fields.model.__name__}.{self.flag_field} is {column.type!r}; the flag is a Boolean"
                )

    def within(self, columns: Container[str | None]) -> Visibility:
        """The same confinement for a related model: by those of the fields that it has too, given by their names."""
        return Visibility(
            self.deleted_field if self.deleted_field in columns else None,
            self.flag_field if self.flag_field in columns else None,
            tuple(name for name in self.scope_fields if name in columns),
        )

    @property
    def is_soft(self) -> bool:
        """Whether rows are deleted by marking them."""
        return self.deleted_field is not None or self.flag_field is not None

    @property
    def managed_fields(self) -> frozenset[str]:
        """The fields that data can't set."""
        return frozenset(filter(None, (self.deleted_field, self.flag_field)))

    def criteria(self, column: Callable[[str], ColumnElement[Any]], deleted: Deleted = "exclude") -> list[Any]:
        """The conditions of a statement, `column` giving the column of a field.

        Raises:
            InvalidQuery: When `deleted` is none of the words.
        """
        if deleted not in _DELETED:
            raise InvalidQuery(f"deleted is one of {', '.join(_DELETED)}; got {deleted!r}")
        found: list[Any] = [
            column(name) == bindparam(scope_parameter(name), type_=column(name).type) for name in self.scope_fields
        ]
        if deleted == "include" or not self.is_soft:
            return found if deleted != "only" else [*found, false()]
        live: list[Any] = []
        if self.deleted_field is not None:
            live.append(column(self.deleted_field).is_(None))
        if self.flag_field is not None:
            live.append(column(self.flag_field) == true())
        return [*found, *live] if deleted == "exclude" else [*found, not_(and_(*live))]

    def literal_criteria(self, column: Callable[[str], ColumnElement[Any]], scope: Mapping[str, object]) -> list[Any]:
        """The conditions of live rows with the values of the scope in them, where no parameter can be bound."""
        bare = Visibility(self.deleted_field, self.flag_field)
        return [*(column(name) == scope[name] for name in self.scope_fields), *bare.criteria(column)]

    def marks(self, fields: ModelFields[M], now: datetime) -> dict[str, object]:
        """The values that make a live row a deleted one."""
        values: dict[str, object] = {}
        if self.deleted_field is not None:
            kind = fields.columns[self.deleted_field].type
            is_naive = isinstance(kind, DateTime) and not kind.timezone
            values[self.deleted_field] = now.replace(tzinfo=None) if is_naive else now
        if self.flag_field is not None:
            values[self.flag_field] = False
        return values

    def unmarks(self) -> dict[str, object]:
        """The values that make a deleted row a live one."""
        values: dict[str, object] = {}
        if self.deleted_field is not None:
            values[self.deleted_field] = None
        if self.flag_field is not None:
            values[self.flag_field] = True
        return values


def scope_parameter(name: str) -> str:
    """The name of the bound parameter that carries the value of a scope field."""
    return f"svc_infra_scope_{name}"
