"""DuckDB and Snowflake for `--sql` where their packages, which bring SQLAlchemy's dialects, are not installed.

They write DDL as those packages do; nothing connects with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy import Column, Integer
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler, PGDialect, PGIdentifierPreparer, PGTypeCompiler
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import DDLCompiler, GenericTypeCompiler

if TYPE_CHECKING:
    from sqlalchemy.schema import CreateTable
    from sqlalchemy.types import JSON, DateTime, Double, Float, LargeBinary, Uuid

__all__ = ["DuckDB", "Snowflake", "register_offline_dialect"]

_PACKAGES = {"duckdb": "duckdb_sqlalchemy", "snowflake": "snowflake.sqlalchemy"}


def register_offline_dialect(name: str) -> None:
    """Register the dialect `name` for writing SQL unless its package is installed."""
    if name not in _PACKAGES:
        return
    try:
        import_module(_PACKAGES[name])
    except ModuleNotFoundError:
        registry.register(name, __name__, {"duckdb": "DuckDB", "snowflake": "Snowflake"}[name])


def _counts_by_itself(column: Column[object]) -> bool:
    """Tell whether the database chooses the value of a new row."""
    is_counter = column is column.table.autoincrement_column
    return is_counter and column.server_default is None and isinstance(column.type, Integer)


class _DuckDBTypes(PGTypeCompiler):
    def visit_FLOAT(self, type_: Float[float], **kw: object) -> str:  # noqa: N802  SQLAlchemy's name
        del type_, kw
        return "DOUBLE"

    def visit_DOUBLE_PRECISION(self, type_: Double[float], **kw: object) -> str:  # noqa: N802
        del type_, kw
        return "DOUBLE"


class _DuckDBDDL(PGDDLCompiler):
    def visit_create_table(self, create: CreateTable, **kw: object) -> str:
        """Write the sequence before the table that counts by it; DuckDB has no SERIAL."""
        table = create.element
        sequences = [
            f"CREATE SEQUENCE IF NOT EXISTS {self._sequence(column)};\n\n"
            for column in table.columns
            if _counts_by_itself(column)
        ]
        written: str = super().visit_create_table(create, **kw)  # type: ignore[no-untyped-call]
        return "".join(sequences) + written.lstrip()

    def get_column_specification(self, column: Column[object], **kw: object) -> str:
        """Write a column."""
        if not _counts_by_itself(column):
            written: str = super().get_column_specification(column, **kw)  # type: ignore[no-untyped-call]
            return written
        kind = self.dialect.type_compiler_instance.process(column.type)
        name = self.preparer.format_column(column)
        return f"{name} {kind} DEFAULT nextval('{self._sequence(column)}') NOT NULL"

    def _sequence(self, column: Column[object]) -> str:
        return self.preparer.quote(f"{column.table.name}_{column.name}_seq")


class _DuckDBNames(PGIdentifierPreparer):
    # What DuckDB 1.5 reserves beyond PostgreSQL, by its duckdb_keywords().
    reserved_words = PGIdentifierPreparer.reserved_words | {
        *(
            "anti",
            "asof",
            "at",
            "by",
            "collation",
            "columns",
            "concurrently",
            "describe",
            "generated",
            "glob",
            "lambda",
        ),
        *("lambda", "lateral", "map", "pivot", "pivot_longer", "pivot_wider", "positional", "qualify", "semi", "show"),
        *("struct", "summarize", "tablesample", "try_cast", "unpack", "unpivot"),
    }


class DuckDB(PGDialect):
    """DuckDB, whose SQL is PostgreSQL's but for a few words."""

    name = "duckdb"
    supports_statement_cache = True
    preparer: type[PGIdentifierPreparer] = _DuckDBNames
    type_compiler_cls: ClassVar[type[PGTypeCompiler]] = _DuckDBTypes
    ddl_compiler: type[PGDDLCompiler] = _DuckDBDDL


class _SnowflakeTypes(GenericTypeCompiler):
    def visit_JSON(self, type_: JSON, **kw: object) -> str:  # noqa: N802
        del type_, kw
        return "VARIANT"

    def visit_large_binary(self, type_: LargeBinary, **kw: object) -> str:
        del type_, kw
        return "BINARY"

    def visit_uuid(self, type_: Uuid[str], **kw: object) -> str:
        del type_, kw
        return "CHAR(32)"

    def visit_datetime(self, type_: DateTime, **kw: object) -> str:
        del kw
        return "TIMESTAMP_TZ" if type_.timezone else "datetime"


class _SnowflakeDDL(DDLCompiler):
    def get_column_specification(self, column: Column[object], **kw: object) -> str:
        """Write a column."""
        written = super().get_column_specification(column, **kw)
        return f"{written} AUTOINCREMENT" if _counts_by_itself(column) else written


class Snowflake(DefaultDialect):
    """Snowflake."""

    name = "snowflake"
    supports_statement_cache = True
    type_compiler_cls: ClassVar[type[GenericTypeCompiler]] = _SnowflakeTypes
    ddl_compiler: type[DDLCompiler] = _SnowflakeDDL
