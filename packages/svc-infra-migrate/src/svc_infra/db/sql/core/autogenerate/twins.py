"""What the database makes of the models: each table is created once more as a temporary one and read back.

A database rewrites what it is given: `now()` becomes `current_timestamp()`, `x IN (1, 2)` becomes
`x = ANY (ARRAY[1, 2])`, `0` becomes `0.00`. Comparing the text of a model with that of the database finds differences
that are none, or has to ignore the ones that are. Comparing the database's form of both sides needs to know nothing
about any of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Connection, Index, Table, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex

from svc_infra.db.sql.core.autogenerate.definitions import index_definitions

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn

__all__ = ["SUPPORTED", "Twin", "Twins", "checks_of", "index_predicate"]

SUPPORTED = frozenset({"postgresql", "mysql", "mariadb", "sqlite", "duckdb"})
"""Dialects whose temporary tables can be read back; on the others Alembic's own comparison is used."""


@dataclass(frozen=True)
class Twin:
    """A model's table as the database writes it.

    Attributes:
        columns: By name.
        checks: The text of the model's CHECK constraints.
        implicit_checks: Names of CHECK constraints that the database added by itself.
        indexes: The definitions of the indexes with a predicate or an expression, by their names in the model.
    """

    columns: Mapping[str, ReflectedColumn]
    checks: Mapping[CheckConstraint, str]
    implicit_checks: frozenset[str]
    indexes: Mapping[str, str]


class Twins:
    """Makes the twins of the models' tables, each when it is first asked for.

    Args:
        connection: The connection to the database; what is created on it is undone at once.

    Attributes:
        failures: Why there is no twin of a table, by its name: the database refused the model's definition.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._twins: dict[str, Twin | None] = {}
        self.failures: dict[str, str] = {}

    def of(self, table: Table, existing_columns: Iterable[str]) -> Twin | None:
        """Return the twin of a model's table, or None when the database can't make one.

        Args:
            table: The model's table.
            existing_columns: The columns that are in the database too; only they are compared.
        """
        if self._connection.dialect.name not in SUPPORTED:
            return None
        if table.key not in self._twins:
            try:
                self._twins[table.key] = self._make(table, frozenset(existing_columns))
            except SQLAlchemyError as error:
                self.failures[table.key] = str(getattr(error, "orig", None) or error).strip()
                self._twins[table.key] = None
        return self._twins[table.key]

    def _make(self, table: Table, existing: frozenset[str]) -> Twin:
        draft = _Draft(self._connection, table, f"svc_infra_twin_{len(self._twins)}", existing)
        if self._connection.dialect.name == "duckdb":
            return self._make_without_savepoint(draft)
        savepoint = self._connection.begin_nested()
        try:
            for statement in draft.statements():
                self._connection.exec_driver_sql(statement)
            return draft.read()
        finally:
            if self._connection.dialect.name in {"mysql", "mariadb"}:
                # There a temporary table belongs to no transaction.
                self._connection.exec_driver_sql(f"DROP TEMPORARY TABLE IF EXISTS {draft.name}")
            if savepoint.is_active:
                savepoint.rollback()

    def _make_without_savepoint(self, draft: _Draft) -> Twin:
        """Make a twin on DuckDB, which has no savepoints; nothing else is in the transaction of a comparison."""
        try:
            for statement in draft.statements():
                self._connection.exec_driver_sql(statement)
            return draft.read()
        finally:
            self._connection.rollback()


class _Draft:
    """The statements that make a twin, and what was put into them."""

    def __init__(self, connection: Connection, table: Table, name: str, existing: frozenset[str]) -> None:
        self._connection = connection
        self._table = table
        self._existing = existing
        self._ddl = connection.dialect.ddl_compiler(connection.dialect, None)  # type: ignore[arg-type]
        self.name = name
        self._checks = {
            f"{name}_c{number}": check for number, check in enumerate(checks_of(table)) if self._is_comparable(check)
        }
        special = (
            index for index in table.indexes if index_predicate(index, connection) is not None or _has_expression(index)
        )
        self._indexes = {f"{name}_i{number}": index for number, index in enumerate(special)}

    def statements(self) -> Iterator[str]:
        """Yield CREATE TEMPORARY TABLE and CREATE INDEX."""
        dialect = self._connection.dialect
        parts = [
            self._ddl.get_column_specification(column)
            for column in self._table.columns
            if column.name in self._existing and not column.system
        ]
        if dialect.name in {"mysql", "mariadb"} and all(
            column.name in self._existing for column in self._table.primary_key
        ):
            # AUTO_INCREMENT wants a key.
            parts.append(self._ddl.process(self._table.primary_key))
        parts += [f"CONSTRAINT {name} CHECK ({self._sql(check.sqltext)})" for name, check in self._checks.items()]
        # One part a line: SQLAlchemy's reflection of SQLite reads the text line by line.
        lines = ",\n".join(part for part in parts if part)
        yield f"CREATE TEMPORARY TABLE {self.name} (\n{lines}\n)"
        for name, index in self._indexes.items():
            if all(column.name in self._existing for column in index.columns):
                yield self._create_index(name, index)

    def read(self) -> Twin:
        """Read back what the database made of it."""
        inspector = inspect(self._connection)
        schema = "temp" if self._connection.dialect.name == "sqlite" else None
        columns = {column["name"]: column for column in inspector.get_columns(self.name, schema=schema)}
        checks = {
            str(item["name"]): item["sqltext"] for item in inspector.get_check_constraints(self.name, schema=schema)
        }
        indexes = index_definitions(self._connection, self.name, schema) if self._indexes else {}
        return Twin(
            columns,
            {check: checks[name] for name, check in self._checks.items() if name in checks},
            frozenset(checks.keys() - self._checks.keys()),
            {str(index.name): indexes[name] for name, index in self._indexes.items() if name in indexes},
        )

    def _is_comparable(self, check: CheckConstraint) -> bool:
        """Leave out the ones of columns to come, and those that a type only has on other databases."""
        if any(column.name not in self._existing for column in check.columns):
            return False
        rule = getattr(check, "_create_rule", None)
        return rule is None or bool(rule(self._ddl))

    def _sql(self, expression: object) -> str:
        return str(self._ddl.sql_compiler.process(expression, include_table=False, literal_binds=True))  # type: ignore[arg-type]

    def _create_index(self, name: str, index: Index) -> str:
        """Return CREATE INDEX as SQLAlchemy writes it, on the twin."""
        preparer = self._connection.dialect.identifier_preparer
        statement = str(self._ddl.process(CreateIndex(index)))
        table = self._table
        _, _, rest = statement.partition(f" ON {preparer.format_table(table, use_schema=False)} ")
        if not rest:
            _, _, rest = statement.partition(f" ON {preparer.format_table(table)} ")
        unique = "UNIQUE " if index.unique else ""
        prefix = "temp." if self._connection.dialect.name == "sqlite" else ""
        return f"CREATE {unique}INDEX {prefix}{name} ON {self.name} {rest}"


def checks_of(table: Table) -> list[CheckConstraint]:
    """Return every CHECK constraint of a model's table, in a steady order."""
    constraints = chain(table.constraints, *(column.constraints for column in table.columns))
    found = dict.fromkeys(item for item in constraints if isinstance(item, CheckConstraint))
    return sorted(found, key=lambda check: (str(check.name), str(check.sqltext)))


def index_predicate(index: Index, connection: Connection) -> object | None:
    """Return the WHERE of a model's partial index on this database."""
    name = connection.dialect.name
    return index.dialect_options[name].get("where") if name in {"postgresql", "sqlite"} else None


def _has_expression(index: Index) -> bool:
    from sqlalchemy import Column

    return any(not isinstance(expression, Column) for expression in index.expressions)
