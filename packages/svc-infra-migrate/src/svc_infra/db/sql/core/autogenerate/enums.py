"""PostgreSQL's enum types: created before their first column, changed when their values change, dropped after the last.

Alembic creates a type with the first table that uses it and forgets about it then: a new value never arrives, a new
column fails because its type is missing, a second table because it is there, and after a downgrade the type is in the
way of the next upgrade. So the types get operations of their own, and columns are rendered so that they create none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from alembic.autogenerate import renderers
from alembic.operations import ops
from alembic.util import PriorityDispatchResult
from sqlalchemy import ARRAY, Connection, Dialect, Enum, Table, TypeDecorator, text
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = [
    "AddEnumValuesOp",
    "CreateEnumOp",
    "DropEnumOp",
    "EnumUse",
    "ReplaceEnumOp",
    "compare_enums",
    "native_enum",
    "render_enum",
]


@dataclass(frozen=True)
class EnumUse:
    """A column whose type is, or is an array of, an enum.

    Attributes:
        table: The table's name, quoted and with its schema.
        column: The column's name, quoted.
        is_array: Whether the column holds arrays.
        default: Its default as SQL, or None.
    """

    table: str
    column: str
    is_array: bool
    default: str | None


class CreateEnumOp(ops.MigrateOperation):
    """Create an enum type."""

    def __init__(self, name: str, values: Sequence[str]) -> None:
        self.name: str = name
        self.values: tuple[str, ...] = tuple(values)

    def reverse(self) -> DropEnumOp:
        """Return the operation that drops it."""
        return DropEnumOp(self.name, self.values)


class DropEnumOp(ops.MigrateOperation):
    """Drop an enum type that no column uses any more."""

    def __init__(self, name: str, values: Sequence[str]) -> None:
        self.name: str = name
        self.values: tuple[str, ...] = tuple(values)

    def reverse(self) -> CreateEnumOp:
        """Return the operation that creates it again."""
        return CreateEnumOp(self.name, self.values)


class ReplaceEnumOp(ops.MigrateOperation):
    """Replace an enum type by one with other values, which rewrites its columns."""

    def __init__(self, name: str, values: Sequence[str], old_values: Sequence[str], uses: Sequence[EnumUse]) -> None:
        self.name: str = name
        self.values: tuple[str, ...] = tuple(values)
        self.old_values: tuple[str, ...] = tuple(old_values)
        self.uses: tuple[EnumUse, ...] = tuple(uses)

    @property
    def removed(self) -> tuple[str, ...]:
        """The values that rows may hold and the new type does not have."""
        return tuple(value for value in self.old_values if value not in self.values)

    def reverse(self) -> ReplaceEnumOp:
        """Return the replacement back."""
        return ReplaceEnumOp(self.name, self.old_values, self.values, self.uses)


class AddEnumValuesOp(ReplaceEnumOp):
    """Add values to an enum type in place."""


def compare_enums(
    context: AutogenContext, operations: ops.UpgradeOps, _schemas: Iterable[str | None]
) -> PriorityDispatchResult:
    """Compare the enum types of the models with those of the database; runs after the tables are compared."""
    connection, dialect = context.connection, context.dialect
    if connection is None or dialect.name != "postgresql":
        return PriorityDispatchResult.CONTINUE
    wanted = dict(_enums_of(context.sorted_tables, dialect))
    existing = _existing_enums(connection)
    before: list[ops.MigrateOperation] = []
    for name, values in wanted.items():
        if name not in existing:
            before.append(CreateEnumOp(name, values))
        elif list(values) != list(existing[name]):
            before.append(_change(connection, name, values, existing[name]))
    used = _types_of_existing_tables(connection)
    dropped = _dropped_columns(operations)
    after = [
        DropEnumOp(name, values)
        for name, values in existing.items()
        if name not in wanted and name in used and used[name] <= dropped
    ]
    # First what runs outside a transaction, so that it commits nothing half done.
    before.sort(key=lambda operation: not isinstance(operation, AddEnumValuesOp))
    operations.ops[:0] = before
    operations.ops += after
    return PriorityDispatchResult.CONTINUE


def _change(connection: Connection, name: str, values: Sequence[str], old: Sequence[str]) -> ops.MigrateOperation:
    uses = _uses(connection, name)
    kept = [value for value in values if value in old]
    if list(old) == kept:
        return AddEnumValuesOp(name, values, old, uses)
    return ReplaceEnumOp(name, values, old, uses)


def _enums_of(tables: Iterable[Table], dialect: Dialect) -> Iterator[tuple[str, tuple[str, ...]]]:
    for table in tables:
        for column in table.columns:
            enum = native_enum(column.type, dialect)
            if enum is not None:
                yield _type_name(enum, dialect), tuple(enum.enums)


def native_enum(column_type: TypeEngine[object], dialect: Dialect) -> Enum | None:
    """Return the enum of a column that is stored as a type of the database, also inside a decorator or an array."""
    if isinstance(column_type, TypeDecorator):
        column_type = column_type.load_dialect_impl(dialect)
    if isinstance(column_type, ARRAY):
        column_type = column_type.item_type
    return column_type if isinstance(column_type, Enum) and column_type.native_enum and column_type.name else None


def _type_name(enum: Enum, dialect: Dialect) -> str:
    preparer = dialect.identifier_preparer
    name = preparer.quote(str(enum.name))
    is_default = enum.schema is None or enum.schema == dialect.default_schema_name
    return name if is_default else f"{preparer.quote_schema(str(enum.schema))}.{name}"


def _existing_enums(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return the enum types of the database as `format_type` writes their names, with their values in order."""
    rows = connection.execute(
        text(
            "SELECT format_type(t.oid, NULL), array_agg(e.enumlabel::text ORDER BY e.enumsortorder)"
            " FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY t.oid"
        )
    )
    return {name: tuple(values) for name, values in rows}


def _types_of_existing_tables(connection: Connection) -> dict[str, set[tuple[str, str]]]:
    """Return the columns, as table and column, that use each enum type directly or as an array."""
    rows = connection.execute(
        text(
            "SELECT format_type(t.oid, NULL), c.relname, a.attname FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')"
            " JOIN pg_type u ON u.oid = a.atttypid"
            " JOIN pg_type t ON t.oid = CASE WHEN u.typelem <> 0 THEN u.typelem ELSE u.oid END"
            " WHERE t.typtype = 'e' AND NOT a.attisdropped"
        )
    )
    used: dict[str, set[tuple[str, str]]] = {}
    for name, table, column in rows:
        used.setdefault(name, set()).add((table, column))
    return used


def _uses(connection: Connection, name: str) -> tuple[EnumUse, ...]:
    rows = connection.execute(
        text(
            "SELECT a.attrelid::regclass::text, quote_ident(a.attname), u.typelem <> 0, pg_get_expr(d.adbin, d.adrelid)"
            " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')"
            " JOIN pg_type u ON u.oid = a.atttypid"
            " JOIN pg_type t ON t.oid = CASE WHEN u.typelem <> 0 THEN u.typelem ELSE u.oid END"
            " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
            " WHERE format_type(t.oid, NULL) = :name AND NOT a.attisdropped AND NOT c.relispartition ORDER BY 1, 2"
        ),
        {"name": name},
    )
    return tuple(EnumUse(*row) for row in rows)


def _dropped_columns(operations: ops.OpContainer) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for operation in operations.ops:
        if isinstance(operation, ops.OpContainer):
            found |= _dropped_columns(operation)
        elif isinstance(operation, ops.DropColumnOp):
            found.add((operation.table_name, operation.column_name))
        elif isinstance(operation, ops.DropTableOp):
            found |= {(operation.table_name, column.name) for column in operation.to_table().columns}
    return found


def render_enum(kind: str, item: object, context: AutogenContext) -> str | Literal[False]:
    """Render a column's enum type so that it creates no type; Alembic's `render_item`."""
    dialect = context.dialect
    if kind != "type" or dialect.name != "postgresql" or not isinstance(item, TypeEngine):
        return False
    enum = native_enum(item, dialect)
    if enum is None:
        return False
    context.imports.add("from sqlalchemy.dialects import postgresql")
    schema = f", schema={enum.schema!r}" if enum.schema else ""
    values = ", ".join(repr(value) for value in enum.enums)
    text = f"postgresql.ENUM({values}, name={str(enum.name)!r}{schema}, create_type=False)"
    stored = item.load_dialect_impl(dialect) if isinstance(item, TypeDecorator) else item
    return f"postgresql.ARRAY({text})" if isinstance(stored, ARRAY) else text


def _literal(value: str) -> str:
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


def _execute(prefix: str, sql: str) -> str:
    return f"{prefix}execute({sql!r})"


def _prefix(context: AutogenContext) -> str:
    return str(context.opts.get("alembic_module_prefix") or "op.")


@renderers.dispatch_for(CreateEnumOp)
def _render_create(context: AutogenContext, operation: CreateEnumOp) -> str:
    values = ", ".join(map(_literal, operation.values))
    return _execute(_prefix(context), f"CREATE TYPE {operation.name} AS ENUM ({values})")


@renderers.dispatch_for(DropEnumOp)
def _render_drop(context: AutogenContext, operation: DropEnumOp) -> str:
    return _execute(_prefix(context), f"DROP TYPE {operation.name}")


@renderers.dispatch_for(AddEnumValuesOp)
def _render_add(context: AutogenContext, operation: AddEnumValuesOp) -> list[str]:
    """Add each value after the one before it; a new value can't be used before the transaction that adds it ends."""
    prefix = _prefix(context)
    lines = [f"with {prefix}get_context().autocommit_block():"]
    for position, value in enumerate(operation.values):
        if value in operation.old_values:
            continue
        if position:
            place = f" AFTER {_literal(operation.values[position - 1])}"
        else:
            place = f" BEFORE {_literal(operation.old_values[0])}" if operation.old_values else ""
        sql = f"ALTER TYPE {operation.name} ADD VALUE IF NOT EXISTS {_literal(value)}{place}"
        lines.append(_execute(prefix, sql))
    return [*lines, ""]  # Alembic indents by itself; an empty line ends the block


@renderers.dispatch_for(ReplaceEnumOp)
def _render_replace(context: AutogenContext, operation: ReplaceEnumOp) -> list[str]:
    prefix = _prefix(context)
    old = _old_name(operation.name)
    values = ", ".join(map(_literal, operation.values))
    lines = [
        _execute(prefix, f"ALTER TYPE {operation.name} RENAME TO {old.rpartition('.')[2]}"),
        _execute(prefix, f"CREATE TYPE {operation.name} AS ENUM ({values})"),
    ]
    for use in operation.uses:
        array = "[]" if use.is_array else ""
        column = f"ALTER TABLE {use.table} ALTER COLUMN {use.column}"
        if use.default is not None:
            lines.append(_execute(prefix, f"{column} DROP DEFAULT"))
        conversion = f"{use.column}::text{array}::{operation.name}{array}"
        lines.append(_execute(prefix, f"{column} TYPE {operation.name}{array} USING {conversion}"))
        if use.default is not None:
            lines.append(_execute(prefix, f"{column} SET DEFAULT {use.default}"))
    lines.append(_execute(prefix, f"DROP TYPE {old}"))
    return lines


def _old_name(name: str) -> str:
    schema, dot, last = name.rpartition(".")
    quoted = last.startswith('"')
    renamed = f'"{last[1:-1]}_old"' if quoted else f"{last}_old"
    return f"{schema}{dot}{renamed}"
