"""Foreign keys that could lead out of a scope.

The database lets a foreign key name any row there is, also another tenant's, and so tells whether it exists. (Its
row-level security does not change that: referential integrity checks bypass it, says PostgreSQL's manual, "Row Security
Policies".) So a scoped repository looks for the rows that data name, as far as the model that they belong to has the
fields of the scope: see `svc_infra.db.sql.reference_checks`.

A key that includes the scope's own column can't lead out, whoever writes it, and is left to the database:
`FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    ForeignKeyConstraint,
    Subquery,
    Table,
    and_,
    any_,
    bindparam,
    select,
    tuple_,
)
from sqlalchemy.exc import NoReferencedColumnError, NoReferencedTableError
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.errors import ForeignKeyViolation
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.visibility import Visibility

__all__ = ["Reference", "references_of"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A foreign key that the database alone would let lead out of the scope.

    Attributes:
        place: Its number among those of the model.
        names: The fields that refer.
        columns: Their columns.
        within: The fields of the same model that they refer to; empty when it is another one.
        visible: The rows that may be referred to, their columns in the order of `names`.
        violation: Constraint, columns and table, as a refusal tells them.
    """

    place: int
    names: tuple[str, ...]
    columns: tuple[Column[Any], ...]
    within: tuple[str, ...]
    visible: Subquery
    violation: tuple[str | None, tuple[str, ...], str]

    def found(self, wanted: Sequence[Any]) -> ColumnElement[bool]:
        """The condition that a visible row has the values, given as expressions."""
        return and_(*(column == value for column, value in zip(self.visible.c, wanted, strict=True)))

    def listed(self, *, use_arrays: bool) -> ColumnElement[bool]:
        """The condition that a visible row has values that are in the list bound as `list_parameter`."""
        columns, kind = tuple(self.visible.c), self.columns[0].type
        if len(columns) > 1:
            return tuple_(*columns).in_(bindparam(self.list_parameter, expanding=True))
        if use_arrays:
            return columns[0] == any_(bindparam(self.list_parameter, type_=ARRAY(kind)))
        return columns[0].in_(bindparam(self.list_parameter, type_=kind, expanding=True))

    @property
    def list_parameter(self) -> str:
        """The name of the parameter that carries a list of values."""
        return f"ref_{self.place}"

    def parameter(self, part: int) -> str:
        """The name of the parameter that carries the value of one of the fields."""
        return f"ref_{self.place}_{part}"

    def error(self) -> ForeignKeyViolation:
        """The refusal, which says the same of a row that is not there and of one that may not be seen."""
        constraint, columns, table = self.violation
        return ForeignKeyViolation(
            f"{table}.{', '.join(columns)}: the row refers to one that does not exist, or is still referred to",
            constraint=constraint,
            columns=columns,
            table=table,
        )


def references_of(fields: ModelFields[Any], visibility: Visibility) -> tuple[tuple[Reference, ...], bool]:
    """The foreign keys that could lead out of the scope, and whether every table that is referred to is known by now.

    A key to a table that the models' metadata do not hold is left to the database.
    """
    found: list[Reference] = []
    is_complete = True
    for constraint in _foreign_keys(fields):
        try:
            pairs = [(element.parent, element.column) for element in constraint.elements]
        except (NoReferencedTableError, NoReferencedColumnError):
            is_complete = False
            continue
        target, source = _target(pairs[0][1].table, fields, visibility)
        confined = visibility.within(target)
        names = tuple(name for name in (fields.name_of(own) for own, _ in pairs) if name is not None)
        covered = {(fields.name_of(own), other) for own, other in pairs}
        if len(names) < len(pairs) or all((name, target[name]) in covered for name in confined.scope_fields):
            continue
        columns = [other.label(f"referred_{part}") for part, (_, other) in enumerate(pairs)]
        visible = select(*columns).select_from(source).where(*confined.criteria(target.__getitem__)).subquery()
        within = tuple(name for name in (fields.name_of(other) for _, other in pairs) if name is not None)
        found.append(
            Reference(
                place=len(found),
                names=names,
                columns=tuple(fields.columns[name] for name in names),
                within=within if len(within) == len(pairs) else (),
                visible=visible,
                violation=(
                    constraint.name if isinstance(constraint.name, str) else None,
                    tuple(own.name for own, _ in pairs),
                    constraint.table.name,
                ),
            )
        )
    return tuple(found), is_complete


def _foreign_keys(fields: ModelFields[Any]) -> list[ForeignKeyConstraint]:
    tables = [table for table in fields.mapper.tables if isinstance(table, Table)]
    # SQLAlchemy keeps a set; the order decides which of several refusals is told.
    constraints = [each for table in tables for each in table.foreign_key_constraints if not _inherits(each, tables)]
    return sorted(constraints, key=lambda each: (each.table.name, tuple(each.column_keys)))


def _inherits(constraint: ForeignKeyConstraint, tables: Sequence[Table]) -> bool:
    """Whether the key joins the tables of one object, and so refers to no other."""
    own = set(constraint.table.primary_key.columns.keys())
    referred = {element.target_fullname.rpartition(".")[0] for element in constraint.elements}
    return set(constraint.column_keys) <= own and referred <= {
        table.fullname for table in tables if table is not constraint.table
    }


def _target(table: Any, fields: ModelFields[Any], visibility: Visibility) -> tuple[Mapping[str, Column[Any]], Any]:
    """The columns of the table that is referred to by the names of its model's fields, and what to select from."""
    found: tuple[Mapping[str, Column[Any]], Any] = (dict(table.columns.items()), table)
    known = -1
    for mapper in fields.mapper.registry.mappers:
        if mapper.local_table is not table or (mapper.inherits is not None and mapper.inherits.local_table is table):
            continue
        columns = ModelFields(mapper.class_).columns
        number = len(visibility.within(columns).scope_fields)
        if number > known:
            found, known = (columns, mapper.persist_selectable), number
    return found
