"""Values checked against their columns before a statement is sent.

A driver refuses a wrong value with an error of its own, some after the transaction was aborted, and SQLite stores it.
Here it is an `InvalidValue` on every database, and the session stays usable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
)
from sqlalchemy.sql.elements import ClauseElement

from svc_infra.db.sql.capabilities import Capabilities
from svc_infra.db.sql.errors import InvalidValue, NotNullViolation
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.value_checks import Check, Unfit, check_of, fitted_together

__all__ = ["Computed", "ValueChecker", "is_expression"]

M = TypeVar("M")


class Computed(dict[str, Any]):
    """Checked values of a row of which the database computes some: an INSERT carries expressions, its parameters can't.

    MySQL's drivers would send the text of an expression.
    """

    def apart(self, fields: ModelFields[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The expressions and the other values, by the keys of their columns."""
        columns = fields.columns
        expressions: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for name, value in self.items():
            (expressions if is_expression(value) else values)[columns[name].key] = value
        return expressions, values


class ValueChecker:
    """Checks values for the columns of one model on one kind of database.

    Types that this module does not know (a `TypeDecorator`, a dialect's own) are left to SQLAlchemy and the driver.

    Args:
        fields: The model's fields.
        capabilities: The database's.
    """

    def __init__(self, fields: ModelFields[M], capabilities: Capabilities) -> None:
        self._owner = fields.model.__name__
        self._columns = fields.columns
        self._checks: dict[str, Check | None] = {
            name: check_of(column.type, capabilities) for name, column in fields.columns.items()
        }
        self._filled = {name for name, column in fields.columns.items() if _is_filled(column)}

    def value(self, name: str, value: Any) -> Any:
        """The value as the column takes it; None is returned as it is.

        Raises:
            InvalidValue: When the column can't hold it.
        """
        check = self._checks[name]
        if value is None:
            return value
        if check is None:
            if is_expression(value):
                raise InvalidValue(f"{self._owner}.{name} takes a value here, got an expression")
            return value
        try:
            return check(value)
        except Unfit as unfit:
            raise InvalidValue(f"{self._owner}.{name} takes {unfit}, got {_described(value)}") from None

    def values(self, data: Mapping[str, Any], *, creating: bool) -> dict[str, Any]:
        """All values of a row to write.

        A None for a field that may not be NULL means the field's default when a row is created.

        Raises:
            InvalidValue: When a column can't hold its value.
            NotNullViolation: When one that may not be NULL is given None and has no default to take its place.
        """
        found: dict[str, Any] = {}
        computed = False
        for name, value in data.items():
            if value is None and not self._columns[name].nullable:
                if creating and name in self._filled:
                    continue
                column = self._columns[name]
                raise NotNullViolation(
                    f"{self._owner}.{name} may not be NULL",
                    columns=(column.name,),
                    table=getattr(column.table, "name", None),
                )
            if is_expression(value):
                found[name], computed = value, True
                continue
            try:
                found[name] = self.value(name, value)
            except InvalidValue as refused:
                refused.columns = (self._columns[name].name,)
                raise
        return Computed(found) if computed else found

    def column(self, name: str, values: Sequence[Any]) -> Sequence[Any] | None:
        """The values of many rows for one field, checked together where their type allows it.

        Returns:
            The values; None when one is refused, or is an expression, or may not be NULL, so that the rows must be
            looked at one by one.
        """
        types = set(map(type, values))
        has_none = type(None) in types
        if has_none:
            if not self._columns[name].nullable:
                return None
            types.discard(type(None))
        check = self._checks[name]
        if not types:
            return values
        if any(issubclass(kind, ClauseElement) or hasattr(kind, "__clause_element__") for kind in types):
            return None
        if check is None:
            return values
        if len(types) == 1:
            fitted = fitted_together(check, types.pop(), values, has_none=has_none)
            if fitted is not None:
                return fitted
        try:
            return [None if value is None else check(value) for value in values]
        except Unfit:
            return None

    def each(self, name: str, values: Iterable[Any]) -> list[Any]:
        """The values of a list for one column, such as those of an IN.

        Raises:
            InvalidValue: When the column can't hold one, or one is None.
        """
        found = [self.value(name, value) for value in values]
        if any(value is None for value in found):
            raise InvalidValue(f"a list for {self._owner}.{name} holds None; ask for NULL by is_null")
        return found


def is_expression(value: object) -> bool:
    """Whether a value is an expression that the database computes, such as `User.logins + 1`."""
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def _is_filled(column: Column[Any]) -> bool:
    if column.default is not None or column.server_default is not None:
        return True
    table = column.table
    return getattr(table, "autoincrement_column", None) is column


def _described(value: object) -> str:
    """What a value is, without the value, which may be a secret."""
    return f"{type(value).__name__} of {len(value)} characters" if isinstance(value, str) else type(value).__name__
