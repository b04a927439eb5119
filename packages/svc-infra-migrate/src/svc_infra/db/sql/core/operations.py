"""Alembic's operations: what each does, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alembic.operations import ops

__all__ = ["describe_operation", "leaf_operations"]


def leaf_operations(container: ops.OpContainer | ops.MigrateOperation) -> Iterator[ops.MigrateOperation]:
    """Yield the operations without the groupings that Alembic puts around those of one table."""
    if isinstance(container, ops.OpContainer):
        for operation in container.ops:
            yield from leaf_operations(operation)
    else:
        yield container


def describe_operation(operation: ops.MigrateOperation) -> str:
    """Say what an operation does, as "add column users.email VARCHAR(100)"."""
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
            return f"add column {_table(operation.table_name, operation.schema)}.{column.name} {column.type}{null}"
        case ops.DropColumnOp():
            return f"drop column {_table(operation.table_name, operation.schema)}.{operation.column_name}"
        case ops.AlterColumnOp():
            where = f"{_table(operation.table_name, operation.schema)}.{operation.column_name}"
            return f"change column {where}: {'; '.join(_changes(operation)) or 'no change'}"
        case ops.CreateIndexOp():
            unique = "unique " if operation.unique else ""
            where = f"{_table(operation.table_name, operation.schema)} ({_columns(operation.columns)})"
            return f"create {unique}index {operation.index_name} on {where}"
        case ops.DropIndexOp():
            return f"drop index {operation.index_name} of {_table(operation.table_name or '?', operation.schema)}"
        case ops.CreateUniqueConstraintOp():
            where = f"{_table(operation.table_name, operation.schema)} ({_columns(operation.columns)})"
            return f"add unique constraint {operation.constraint_name} on {where}"
        case ops.CreateForeignKeyOp():
            source = f"{_table(operation.source_table, None)} ({', '.join(operation.local_cols)})"
            target = f"{_table(operation.referent_table, None)} ({', '.join(operation.remote_cols)})"
            return f"add foreign key {operation.constraint_name} from {source} to {target}"
        case ops.CreateCheckConstraintOp():
            where = _table(operation.table_name, operation.schema)
            return f"add check constraint {operation.constraint_name} on {where}: {operation.condition}"
        case ops.CreatePrimaryKeyOp():
            where = f"{_table(operation.table_name, operation.schema)} ({_columns(operation.columns)})"
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
        case ops.ExecuteSQLOp():
            return f"execute {operation.sqltext}"
        case _:
            return type(operation).__name__


def _changes(operation: ops.AlterColumnOp) -> Iterator[str]:
    if operation.modify_type is not None:
        yield f"type {operation.existing_type} to {operation.modify_type}"
    if operation.modify_nullable is not None:
        yield "nullable" if operation.modify_nullable else "not nullable"
    if operation.modify_server_default is not False:
        yield f"default {_default(operation.existing_server_default)} to {_default(operation.modify_server_default)}"
    if operation.modify_comment is not False:
        yield f"comment to {operation.modify_comment!r}"
    if operation.modify_name is not None:
        yield f"name to {operation.modify_name}"
    if "autoincrement" in operation.kw:
        yield f"autoincrement to {operation.kw['autoincrement']}"


def _default(default: object) -> str:
    argument = getattr(default, "arg", getattr(default, "sqltext", default))
    return "none" if argument is None or argument is False else str(argument)


def _table(name: str, schema: str | None) -> str:
    return f"{schema}.{name}" if schema else name


def _columns(columns: Sequence[object]) -> str:
    return ", ".join(str(getattr(column, "name", None) or column) for column in columns)
