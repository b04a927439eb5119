"""Rows of the same fields, kept by column, so that many are checked and sent at the cost of few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from svc_infra.db.sql.copying import default_of
from svc_infra.db.sql.errors import SqlError
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.uuid7 import uuid7
from svc_infra.db.sql.values import is_expression

__all__ = ["Block"]

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Block:
    """Checked rows.

    Attributes:
        names: The fields of each row.
        columns: The values of each field.
        places: Where each row stood in the batch.
        has_expressions: Whether a value is an expression that only a statement can carry.
    """

    names: tuple[str, ...]
    columns: tuple[Sequence[Any], ...]
    places: Sequence[int]
    has_expressions: bool = False

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def checked(cls, execution: Execution[M], batch: Sequence[Mapping[str, object]]) -> list[Block] | None:
        """The blocks of a batch as it was given, or None when a row of it is refused or needs a look by itself."""
        found: list[Block] = []
        plan, checker = execution.plan, execution.checker
        generated = plan.fields.generated_key
        if not all(issubclass(kind, Mapping) for kind in set(map(type, batch))):
            return None
        try:
            scope = execution.scope_values()
            for shape, places in _shapes(batch).items():
                rows = batch if len(places) == len(batch) else [batch[place] for place in places]
                # In one go for all fields; the shape has the order of the fields.
                columns = dict(zip(shape, zip(*(row.values() for row in rows), strict=True), strict=True))
                values: dict[str, Sequence[Any]] = {}
                for name in plan.written(dict.fromkeys(shape)):
                    checked = checker.column(name, columns[name])
                    if checked is None:
                        return None
                    values[name] = checked
                for name, value in scope.items():
                    values[name] = [value] * len(places)
                if generated is not None and generated not in values:
                    values[generated] = [checker.value(generated, str(uuid7())) for _ in places]
                found.append(cls(tuple(values), tuple(values.values()), places))
        except SqlError:
            return None
        return found

    @classmethod
    def grouped(cls, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
        """The blocks of rows that were checked one by one."""
        shapes: dict[frozenset[str], list[int]] = {}
        for place, row in enumerate(rows):
            shapes.setdefault(frozenset(row), []).append(place)
        return [
            cls(
                names := tuple(sorted(shape)),
                tuple([rows[place][name] for place in places] for name in names),
                places,
                any(is_expression(value) for place in places for value in rows[place].values()),
            )
            for shape, places in shapes.items()
        ]

    @staticmethod
    def rows(blocks: Sequence[Block]) -> list[dict[str, Any]]:
        """The rows of blocks, in the order of the batch."""
        found = {
            place: dict(zip(block.names, values, strict=True))
            for block in blocks
            for place, values in zip(block.places, _records(block), strict=True)
        }
        return [found[place] for place in sorted(found)]

    def column(self, name: str) -> Sequence[Any]:
        """The values of a field."""
        return self.columns[self.names.index(name)]

    def parameters(self, fields: ModelFields[M]) -> list[dict[str, Any]]:
        """The rows as an INSERT takes them."""
        keys = [fields.columns[name].key for name in self.names]
        return [dict(zip(keys, values, strict=True)) for values in _records(self)]

    def filled(self, fields: ModelFields[M]) -> tuple[list[Any], list[Sequence[Any]]]:
        """The columns and their values, with Python's defaults; no columns when only SQLAlchemy can do it."""
        if self.has_expressions:
            return [], []
        given = [fields.columns[name] for name in self.names]
        known = set(given)
        columns, values = list(given), list(self.columns)
        try:
            for column in fields.table.columns:
                if column in known:
                    continue
                make = default_of(column)
                if make is not None:
                    columns.append(column)
                    values.append([make() for _ in self.places])
        except (LookupError, AttributeError, TypeError):
            # A default that is an SQL expression, or that reads the row that SQLAlchemy would give it.
            return [], []
        return columns, values


def _shapes(batch: Sequence[Mapping[str, object]]) -> dict[tuple[str, ...], Sequence[int]]:
    """The places of the rows that have the same fields in the same order."""
    shapes = list(map(tuple, batch))
    if len(set(shapes)) == 1:
        return {shapes[0]: range(len(batch))}
    found: dict[tuple[str, ...], list[int]] = {}
    for place, shape in enumerate(shapes):
        found.setdefault(shape, []).append(place)
    return dict(found)


def _records(block: Block) -> Sequence[tuple[Any, ...]]:
    return list(zip(*block.columns, strict=True)) if block.columns else [()] * len(block.places)
