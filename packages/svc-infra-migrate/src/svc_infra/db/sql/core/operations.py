"""Alembic's operations: what each does, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alembic.operations import ops
from sqlalchemy import Column, Dialect
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

from svc_infra.db.sql.core.autogenerate.enums import AddEnumValuesOp, CreateEnumOp, DropEnumOp, ReplaceEnumOp
from svc_infra.db.sql.core.autogenerate.sequences import AlterSequenceOp, CreateSequenceOp, DropSequenceOp

__all__ = ["describe_operation", "leaf_operations"]


def leaf_operations(container: ops.OpContainer | ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """Yield the operations without the groupings that Alembic puts around those of one table."""
    if isinstance(container, ops.OpContainer):
        for operation in container.ops:
            yield from leaf_operations(operation)
    else:
        yield container


def describe_operation(operation: ops.MigrateOperation, dialect: Dialect | None = None) -> str:
    """Say what an operation does, as "add column users.email VARCHAR(100)".

    Args:
        operation: One that is no grouping of others.
        dialect: The database, whose names of types are used.
    """
    match operation:
        case ops.CreateTableOp():
            return f"create table {_table(operation.table_name, operation.schema)}"
        case ops.DropTableOp():
            return f"drop table {_table(operation.table_name, operation.schema)}"
        case ops.RenameTableOp():
            return f"rename table {_table(operation.table_name, operation.schema)} to {operation.new_table_name}"
        case ops.AddColumnOp():
            column = operation.column
            null = "" if column.nullable else " NOT NULL"
            name = f"{_table(operation.table_name, operation.schema)}.{column.name}"
            return f"add column {name} {_sql(column.type, dialect)}{null}"
        case ops.DropColumnOp():
            return f"drop column {_table(operation.table_name, operation.schema)}.{operation.column_name}"
        case ops.AlterColumnOp():
            where = f"{_table(operation.table_name, operation.schema)}.{operation.column_name}"
            return f"change column {where}: {'; '.join(_changes(operation, dialect)) or 'no change'}"
        case ops.CreateIndexOp():
            unique = "unique " if operation.unique else ""
            where = f"{_table(operation.table_name, operation.schema)} ({_columns(operation.columns, dialect)})"
            return f"create {unique}index {operation.index_name} on {where}"
        case ops.DropIndexOp():
            return f"drop index {operation.index_name} of {_table(operation.table_name or '?', operation.schema)}"
        case ops.CreateUniqueConstraintOp():
            where = f"{_table(operation.table_name, operation.schema)} ({_columns(operation.columns, dialect)})"
            return f"add unique constraint {operation.constraint_name} on {where}"
        case ops.CreateForeignKeyOp():
            source = f"{_table(operation.source_table, None)} ({', '.join(operation.local_cols)})"
            target = f"{_table(operation.referent_table, None)} ({', '.join(operation.remote_cols)})"
            return f"add foreign key {operation.constraint_name} from {source} to {target}"
        case ops.CreateCheckConstraintOp():
            where = _table(operation.table_name, operation.schema)
            return f"add check constraint {operation.constraint_name} on {where}: {_sql(operation.condition, dialect)}"
        case ops.CreatePrimaryKeyOp():
            where = f"{_table(operation.table_name, operation.schema)} ({_columns(operation.columns, dialect)})"
            return f"add primary key {operation.constraint_name} on {where}"
        case ops.DropConstraintOp():
            kind = {"foreignkey": "foreign key", "primary": "primary key"}.get(
                operation.constraint_type or "", f"{operation.constraint_type or ''} constraint".strip()
            )
            return f"drop {kind} {operation.constraint_name} of {_table(operation.table_name, operation.schema)}"
        case ops.CreateTableCommentOp():
            return f"set comment of {_table(operation.table_name, operation.schema)}: {operation.comment!r}"
        case ops.DropTableCommentOp():
            return f"drop comment of {_table(operation.table_name, operation.schema)}"
        case AddEnumValuesOp():
            added = [value for value in operation.values if value not in operation.old_values]
            return f"add to enum {operation.name}: {', '.join(added)}"
        case ReplaceEnumOp():
            removed = f", without {', '.join(operation.removed)}" if operation.removed else ""
            return f"replace enum {operation.name} by {', '.join(operation.values)}{removed}"
        case CreateEnumOp():
            return f"create enum {operation.name}: {', '.join(operation.values)}"
        case DropEnumOp():
            return f"drop enum {operation.name}"
        case CreateSequenceOp():
            return f"create sequence {operation.name}"
        case DropSequenceOp():
            return f"drop sequence {operation.name}"
        case AlterSequenceOp():
            return f"change sequence {operation.name} to {operation.options.clauses()}"
        case ops.ExecuteSQLOp():
            return f"execute {operation.sqltext}"
        case _:
            return type(operation).__name__


def _changes(operation: ops.AlterColumnOp, dialect: Dialect | None) -> Iterator[str]:
    if operation.modify_type is not None:
        yield f"type {_sql(operation.existing_type, dialect)} to {_sql(operation.modify_type, dialect)}"
    if operation.modify_nullable is not None:
        yield "nullable" if operation.modify_nullable else "not nullable"
    if operation.modify_server_default is not False:
        old, new = operation.existing_server_default, operation.modify_server_default
        yield f"default {_default(old, dialect)} to {_default(new, dialect)}"
    if operation.modify_comment is not False:
        yield f"comment to {operation.modify_comment!r}"
    if operation.modify_name is not None:
        yield f"name to {operation.modify_name}"


def _default(default: object, dialect: Dialect | None) -> str:
    argument = getattr(default, "arg", getattr(default, "sqltext", default))
    return "none" if argument is None or argument is False else _sql(argument, dialect)


def _table(name: str, schema: str | None) -> str:
    return f"{schema}.{name}" if schema else name


def _columns(columns: Sequence[object], dialect: Dialect | None) -> str:
    return ", ".join(column.name if isinstance(column, Column) else _sql(column, dialect) for column in columns)


def _sql(item: object, dialect: Dialect | None) -> str:
    """Write a type or an expression as the database reads it."""
    if isinstance(item, TypeEngine):
        return item.compile(dialect) if dialect is not None else str(item)
    if isinstance(item, ClauseElement):
        return str(item.compile(dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}))
    return str(item)
