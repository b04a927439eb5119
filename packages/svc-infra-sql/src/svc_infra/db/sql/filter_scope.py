"""Where a filter becomes SQL: the model that it is about, and the parameters that carry its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement
from sqlalchemy.orm import QueryableAttribute

from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.visibility import Visibility

__all__ = ["FilterScope", "ValueBinder"]

M = TypeVar("M")


class ValueBinder(Protocol):
    """Checks values against the columns of a model; `ValueChecker` is one."""

    def value(self, name: str, value: Any) -> Any:
        """The value as the column takes it."""
        ...

    def each(self, name: str, values: Iterable[Any]) -> list[Any]:
        """The values of a list."""
        ...


class FilterScope(Generic[M]):
    """Where a filter becomes SQL: a model, its visibility, and the numbering of the parameters.

    Args:
        fields: The model's fields.
        visibility: What related rows are confined to, where they have its fields.
        checker: Gives the checks for a model's values; None when only the SQL is wanted.
        column: Gives the column of a field; default the table's.
        use_arrays: Whether a list is one parameter.
    """

    def __init__(
        self,
        fields: ModelFields[M],
        visibility: Visibility,
        *,
        checker: Callable[[ModelFields[Any]], ValueBinder] | None = None,
        column: Callable[[str], ColumnElement[Any]] | None = None,
        use_arrays: bool = False,
        _shared: dict[str, Any] | None = None,
    ) -> None:
        self.fields = fields
        self.visibility = visibility
        self.checker = checker
        self.column: Callable[[str], ColumnElement[Any]] = column if column is not None else fields.columns.__getitem__
        self.use_arrays = use_arrays
        self.parameters: dict[str, Any] = {} if _shared is None else _shared
        """The bound values by parameter; in building SQL only their number counts."""

    def next_name(self, value: object = None) -> str:
        """A name for the next parameter, which gets the value."""
        name = f"svc_infra_filter_{len(self.parameters)}"
        self.parameters[name] = value
        return name

    def related(self, name: str) -> tuple[QueryableAttribute[Any], FilterScope[Any]]:
        """A relationship and the scope of the model that it leads to.

        Raises:
            UnknownField: When the model has no relationship of this name.
        """
        attribute, target = self.fields.relation(name)
        return attribute, FilterScope(
            target,
            self.visibility.within(target.columns),
            checker=self.checker,
            column=lambda field: getattr(target.model, field),
            use_arrays=self.use_arrays,
            _shared=self.parameters,
        )
