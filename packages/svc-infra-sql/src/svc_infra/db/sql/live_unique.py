"""A unique key among live rows: a soft-deleted row does not keep its e-mail address from the next one.

    class Account(UuidKey, SoftDelete, Tenant, ModelBase):
        __tablename__ = "accounts"
        email: Mapped[str] = mapped_column(String(200))
        __table_args__ = (live_unique("tenant_id", "email"),)

It is one `Index`, which each database gets in its own form (see `Capabilities.live_unique`):

- PostgreSQL, SQLite and SQL Server: a partial index, `CREATE UNIQUE INDEX ... WHERE deleted_at IS NULL`.
- MySQL and MariaDB have none. There the index has one more, generated and invisible column, which is 1 in live rows and
  NULL in deleted ones, and NULLs are never equal. Column and index come and go by one ALTER TABLE. The column needs
  MySQL 8.0.23 or MariaDB 10.3.
- DuckDB has neither (its indexes take no WHERE, and no generated column). There the key is unique among all rows.

Importing this module teaches SQLAlchemy the option `mysql_where` of an index, which migrations carry too.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Index, and_, column, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, DropIndex
from sqlalchemy.sql.compiler import DDLCompiler

__all__ = ["live_unique", "marker_column"]

_LONGEST_NAME = 64

Index.argument_for("mysql", "where", None)


def live_unique(
    *columns: str, deleted_field: str | None = "deleted_at", flag_field: str | None = None, name: str | None = None
) -> Index:
    """A unique index over the rows that are not soft-deleted, for `__table_args__`.

    A write that takes a live row's key, `restore` included, raises `UniqueViolation` with the columns; `upsert` can
    name them as its key.

    Args:
        columns: Names of the columns.
        deleted_field: Column with the time of the soft delete, NULL in live rows; None without one.
        flag_field: Boolean column that is true in live rows; None without one.
        name: Name of the index; by default the naming convention's.

    Raises:
        ValueError: When no column is given, or neither of the fields that tell live rows.

    >>> from sqlalchemy import Column, DateTime, MetaData, String, Table
    >>> from sqlalchemy.dialects import postgresql
    >>> users = Table("users", MetaData(), Column("email", String(9)), Column("deleted_at", DateTime))
    >>> index = live_unique("email", name="uq_users_email")
    >>> users.append_constraint(index)
    >>> print(CreateIndex(index).compile(dialect=postgresql.dialect()))
    CREATE UNIQUE INDEX uq_users_email ON users (email) WHERE deleted_at IS NULL
    """
    live: list[Any] = []
    if deleted_field is not None:
        live.append(column(deleted_field).is_(None))
    if flag_field is not None:
        live.append(column(flag_field, Boolean()) == true())
    if not columns or not live:
        raise ValueError("live_unique needs a column, and deleted_field or flag_field to tell live rows by")
    condition = and_(*live)
    options: dict[str, Any] = {f"{dialect}_where": condition for dialect in ("postgresql", "sqlite", "mssql", "mysql")}
    return Index(name, *columns, unique=True, **options)


def marker_column(index: Index) -> str | None:
    """The name of the generated column that MySQL and MariaDB need for an index; None for any other index."""
    if index.dialect_options["mysql"].get("where") is None:
        return None
    return f"{str(index.name)[: _LONGEST_NAME - 5]}_live"


@compiles(CreateIndex, "mysql", "mariadb")
def _create_on_mysql(create: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:
    index: Index = create.element
    marker = marker_column(index)
    if marker is None:
        return _plain_create(create, compiler, **options)
    preparer, sql = compiler.preparer, compiler.sql_compiler
    where = index.dialect_options["mysql"]["where"]
    parts: list[Any] = [where, *index.expressions]
    condition, *names = [sql.process(part, include_table=False, literal_binds=True) for part in parts]
    name, quoted = compiler._prepared_index_name(index), preparer.quote(marker)  # noqa: SLF001 (as dialects do)
    lenient = "IF NOT EXISTS " if create.if_not_exists else ""
    return (
        f"ALTER TABLE {preparer.format_table(_table(index))} "
        f"ADD COLUMN {lenient}{quoted} TINYINT GENERATED ALWAYS AS (IF({condition}, 1, NULL)) VIRTUAL INVISIBLE, "
        f"ADD UNIQUE INDEX {lenient}{name} ({', '.join([*names, quoted])})"
    )


@compiles(DropIndex, "mysql", "mariadb")
def _drop_on_mysql(drop: DropIndex, compiler: DDLCompiler, **options: Any) -> str:
    index: Index = drop.element
    marker = marker_column(index)
    if marker is None:
        plain: str = compiler.visit_drop_index(drop, **options)  # type: ignore[no-untyped-call]
        return plain
    name, lenient = compiler._prepared_index_name(index), "IF EXISTS " if drop.if_exists else ""  # noqa: SLF001
    table = compiler.preparer.format_table(_table(index))
    return f"ALTER TABLE {table} DROP INDEX {lenient}{name}, DROP COLUMN {lenient}{compiler.preparer.quote(marker)}"


@compiles(CreateIndex, "duckdb")
def _create_on_duckdb(create: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:
    text = _plain_create(create, compiler, **options)
    return text if marker_column(create.element) is None else text.partition(" WHERE ")[0]


def _plain_create(create: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:
    text: str = compiler.visit_create_index(create, **options)  # type: ignore[no-untyped-call]
    return text


def _table(index: Index) -> Any:
    if index.table is None:
        raise ValueError(f"the index {index.name} belongs to no table")
    return index.table
