"""Ids as their rows have them, which may be other than those given that the database takes for the same.

A case-blind collation finds "a" by "A", a CHAR column pads its text, a number is found by another type's. The database
alone knows, so it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import and_, case, literal, or_

from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.statements import Selection
from svc_infra.db.sql.visibility import Deleted

__all__ = ["Key", "spelled"]

M = TypeVar("M")

Key: TypeAlias = tuple[Any, ...]
"""The values of the id fields."""

# Each is a condition and a column of the result; SQLite takes expressions of 1,000 parts.
_MOST: Final = 200


def spelled(execution: Execution[M], keys: Sequence[Key], deleted: Deleted = "exclude") -> dict[Key, Key]:
    """The ids of the visible rows that the database finds by the ids given; one that no row has is absent.

    One statement for each 200 of them.

    Args:
        execution: Of the model's repository.
        keys: Ids whose values were checked.
        deleted: Whether soft-deleted rows count.
    """
    statements, names = execution.statements, execution.plan.id_fields
    columns = [statements.column(name) for name in names]
    found: dict[Key, Key] = {}
    for start in range(0, len(keys), _MOST):
        part = keys[start : start + _MOST]
        matches = [
            and_(*(column == literal(value, column.type) for column, value in zip(columns, key, strict=True)))
            for key in part
        ]
        flags = [case((match, 1), else_=0).label(f"is_{place}") for place, match in enumerate(matches)]
        statement = statements.selected(names).add_columns(*flags)
        statement = statement.where(*statements.criteria(Selection(deleted=deleted)), or_(*matches))
        for row in execution.fetch(statement, execution.scope_parameters()):
            own = tuple(row[: len(names)])
            found.update((key, own) for key, is_own in zip(part, row[len(names) :], strict=True) if is_own)
    return found
