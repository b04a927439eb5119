"""Rows of the same fields, kept by column, so that many are checked and sent at the cost of few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
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
            for columns, places in _shapes(batch):
                values: dict[str, Sequence[Any]] = {}
                for name in plan.written(dict.fromkeys(columns)):
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


def _shapes(batch: Sequence[Mapping[str, object]]) -> list[tuple[dict[str, Sequence[Any]], Sequence[int]]]:
    """The values of each field of the rows that have the same fields, and the places of those rows."""
    alike = _alike(batch)
    if alike is not None:
        return [(alike, range(len(batch)))]
    shapes: dict[frozenset[str], list[int]] = {}
    for place, row in enumerate(batch):
        shapes.setdefault(frozenset(row), []).append(place)
    return [
        ({name: [batch[place][name] for place in places] for name in batch[places[0]]}, places)
        for places in shapes.values()
    ]


def _alike(batch: Sequence[Mapping[str, object]]) -> dict[str, Sequence[Any]] | None:
    """The values of each field of dictionaries that all have the same fields, in one go; None when they are not so."""
    if len(batch) < 2 or set(map(type, batch)) != {dict} or len(set(map(len, batch))) > 1:
        return None
    names = tuple(batch[0])
    if len(names) < 2:
        return None
    try:
        rows = list(map(itemgetter(*names), batch))
    except KeyError:
        return None
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _records(block: Block) -> Sequence[tuple[Any, ...]]:
    return list(zip(*block.columns, strict=True)) if block.columns else [()] * len(block.places)
