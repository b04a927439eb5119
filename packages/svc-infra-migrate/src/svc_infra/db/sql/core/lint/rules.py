"""Which rules an operation breaks on each database; what they say stands in the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import JSON, String, Text
from sqlalchemy.dialects.postgresql import JSONB

from svc_infra.db.sql.core.lint.statements import broken_by_sql

__all__ = ["Revised", "broken_rules"]

_VOLATILE = re.compile(
    r"\b(random|clock_timestamp|timeofday|gen_random_uuid|uuid_generate_v\w+|uuidv[47]|nextval)\s*\(", re.IGNORECASE
)
_MYSQL = frozenset({"mysql", "mariadb"})


class Revised:
    """What a revision has done so far.

    Attributes:
        new_tables: Tables that it has created; nobody uses them yet.
        unvalidated: Constraints that it has added as NOT VALID.
    """

    def __init__(self) -> None:
        self.new_tables: set[str] = set()
        self.unvalidated: set[str] = set()

    def note(self, operation: ops.MigrateOperation) -> None:
        """Remember what later operations of the revision are judged by."""
        if isinstance(operation, ops.CreateTableOp):
            self.new_tables.add(operation.table_name)
        elif isinstance(operation, ops.AddConstraintOp) and _is_not_valid(operation):
            self.unvalidated.add(str(getattr(operation, "constraint_name", "")))


def broken_rules(
    operation: ops.MigrateOperation, dialect: str, revised: Revised, *, autocommits: bool
) -> Iterator[str]:
    """Yield the names of the rules that an operation breaks.

    Args:
        operation: The operation.
        dialect: Name of the database's dialect.
        revised: What the revision has done before it.
        autocommits: Whether the operation runs outside a transaction.
    """
    if isinstance(operation, ops.ExecuteSQLOp):
        sql = str(operation.sqltext)
        yield from broken_by_sql(sql, dialect, revised.new_tables, revised.unvalidated, autocommits=autocommits)
        return
    if getattr(operation, "table_name", getattr(operation, "source_table", None)) in revised.new_tables:
        return
    is_postgres = dialect == "postgresql"
    match operation:
        case ops.DropTableOp():
            yield "drop-table"
        case ops.DropColumnOp():
            yield "drop-column"
        case ops.RenameTableOp():
            yield "rename-table"
        case ops.AlterColumnOp():
            yield from _alter(operation, is_postgres=is_postgres)
        case ops.AddColumnOp():
            yield from _add(operation, dialect)
        case ops.CreateIndexOp():
            yield from _create_index(operation, is_postgres=is_postgres, autocommits=autocommits)
        case ops.DropIndexOp() if is_postgres:
            yield from _concurrency("drop", operation.kw, autocommits=autocommits)
        case ops.CreateForeignKeyOp() if (is_postgres and not _is_not_valid(operation)) or dialect in _MYSQL:
            yield "foreign-key-validates"
        case ops.CreateCheckConstraintOp() if is_postgres and not _is_not_valid(operation):
            yield "check-validates"
        case ops.CreateUniqueConstraintOp():
            yield "unique-builds-index" if is_postgres else "unique-fails-on-duplicates"
        case ops.CreatePrimaryKeyOp():
            yield "primary-key-change"
        case ops.AddConstraintOp() if operation.constraint_type == "exclude":
            yield "exclusion-builds-index"
        case _:
            return


def _alter(operation: ops.AlterColumnOp, *, is_postgres: bool) -> Iterator[str]:
    if operation.modify_name is not None:
        yield "rename-column"
    if operation.modify_type is not None and not _is_free(operation, is_postgres=is_postgres):
        yield "type-change"
    if operation.modify_nullable is False:
        yield "set-not-null"


def _add(operation: ops.AddColumnOp, dialect: str) -> Iterator[str]:
    column, is_postgres = operation.column, dialect == "postgresql"
    default = column.server_default
    is_numbered = column.identity is not None or (column.primary_key and column.autoincrement is True)
    if is_numbered:
        yield "numbered-column"
    elif not column.nullable and default is None and column.computed is None:
        yield "not-null-without-default"
    text = str(getattr(default, "arg", "")) if default is not None else ""
    if is_postgres and (_VOLATILE.search(text) or (column.computed is not None and column.computed.persisted)):
        yield "volatile-default"
    if is_postgres and isinstance(column.type, JSON) and not isinstance(column.type, JSONB):
        yield "json-column"
    if column.foreign_keys and (is_postgres or dialect in _MYSQL):
        yield "foreign-key-validates"
    if column.unique:
        yield "unique-builds-index" if is_postgres else "unique-fails-on-duplicates"
    elif column.index and is_postgres:
        yield "create-index-not-concurrently"


def _create_index(operation: ops.CreateIndexOp, *, is_postgres: bool, autocommits: bool) -> Iterator[str]:
    if is_postgres:
        yield from _concurrency("create", operation.kw, autocommits=autocommits)
    elif operation.unique:
        yield "unique-fails-on-duplicates"


def _concurrency(verb: str, options: dict[str, object], *, autocommits: bool) -> Iterator[str]:
    if not options.get("postgresql_concurrently"):
        yield f"{verb}-index-not-concurrently"
    elif not autocommits:
        yield "concurrently-in-transaction"


def _is_not_valid(operation: ops.AddConstraintOp) -> bool:
    return bool(getattr(operation, "kw", {}).get("postgresql_not_valid"))


def _is_free(operation: ops.AlterColumnOp, *, is_postgres: bool) -> bool:
    """Tell whether PostgreSQL changes the type without touching the rows: longer or unlimited text."""
    old, new = operation.existing_type, operation.modify_type
    if not is_postgres or old is None or not isinstance(old, String) or not isinstance(new, (String, Text)):
        return False
    return new.length is None or (old.length is not None and old.length <= new.length)
