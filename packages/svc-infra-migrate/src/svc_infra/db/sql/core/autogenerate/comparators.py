"""Comparisons that are added to Alembic's autogenerate as a plugin, by the database's own form of both sides.

https://alembic.sqlalchemy.org/en/latest/api/plugins.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic.autogenerate import renderers
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Column, Computed, Identity, PrimaryKeyConstraint, Table
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import NullType

from svc_infra.db.sql.core.autogenerate.duckdb import compare_unnamed_constraints
from svc_infra.db.sql.core.autogenerate.enums import compare_enums
from svc_infra.db.sql.core.autogenerate.identities import render_alter_column
from svc_infra.db.sql.core.autogenerate.indexes import compare_indexes
from svc_infra.db.sql.core.autogenerate.live_unique import compare_live_unique
from svc_infra.db.sql.core.autogenerate.mysql import compare_foreign_key_indexes
from svc_infra.db.sql.core.autogenerate.sequences import compare_sequences
from svc_infra.db.sql.core.autogenerate.twins import Twin, Twins, checks_of

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy.engine.interfaces import ReflectedCheckConstraint

__all__ = ["PLUGIN", "register"]

PLUGIN = "svc_infra.migrate"
CONTINUE, STOP = PriorityDispatchResult.CONTINUE, PriorityDispatchResult.STOP

_registered: list[Plugin] = []
_renders = render_alter_column  # importing it replaces Alembic's


def register() -> str:
    """Make the plugin known to Alembic, once per process, and return its name."""
    if not _registered:
        plugin = Plugin(PLUGIN)
        plugin.add_autogenerate_comparator(_compare_type, "column", "types", priority=DispatchPriority.FIRST)
        plugin.add_autogenerate_comparator(
            _compare_default, "column", "server_default", priority=DispatchPriority.FIRST
        )
        plugin.add_autogenerate_comparator(_compare_checks, "table", "checkconstraints")
        plugin.add_autogenerate_comparator(_compare_primary_key, "table", "primarykey")
        plugin.add_autogenerate_comparator(_compare_computed, "table", "computed")
        plugin.add_autogenerate_comparator(compare_indexes, "table", "indexes", priority=DispatchPriority.LAST)
        plugin.add_autogenerate_comparator(compare_live_unique, "table", "indexes", priority=DispatchPriority.LAST)
        plugin.add_autogenerate_comparator(
            compare_foreign_key_indexes, "table", "foreignkeys", priority=DispatchPriority.LAST
        )
        plugin.add_autogenerate_comparator(
            compare_unnamed_constraints, "table", "constraints", priority=DispatchPriority.LAST
        )
        # Enums come last, because a new value is added outside the transaction and so before everything else.
        plugin.add_autogenerate_comparator(compare_sequences, "schema", "sequences", priority=DispatchPriority.LAST)
        plugin.add_autogenerate_comparator(compare_enums, "schema", "enums", priority=DispatchPriority.LAST)
        _registered.append(plugin)
    return PLUGIN


def _twin(context: AutogenContext, conn_table: Table, metadata_table: Table) -> Twin | None:
    twins = context.opts.get("twins")
    if not isinstance(twins, Twins):
        return None
    return twins.of(metadata_table, (column.name for column in conn_table.columns))


def _compare_type(
    context: AutogenContext,
    operation: ops.AlterColumnOp,
    _schema: str | None,
    _table: str,
    name: str,
    conn_column: Column[object],
    metadata_column: Column[object],
) -> PriorityDispatchResult:
    twin = _twin(context, conn_column.table, metadata_column.table)
    operation.existing_type = conn_column.type
    if twin is None or name not in twin.columns or isinstance(conn_column.type, NullType):
        return CONTINUE
    wanted = twin.columns[name]["type"]
    if isinstance(wanted, NullType):
        return CONTINUE
    if conn_column.type.compile(context.dialect) != wanted.compile(context.dialect):
        operation.modify_type = metadata_column.type
    return STOP


def _compare_default(
    context: AutogenContext,
    operation: ops.AlterColumnOp,
    _schema: str | None,
    _table: str,
    name: str,
    conn_column: Column[object],
    metadata_column: Column[object],
) -> PriorityDispatchResult:
    existing, wanted = conn_column.server_default, metadata_column.server_default
    operation.existing_server_default = existing
    if isinstance(existing, Computed) or isinstance(wanted, Computed):
        return STOP  # see _compare_computed
    if existing is None and wanted is None:
        return CONTINUE if context.dialect.name in {"mysql", "mariadb"} else STOP
    twin = _twin(context, conn_column.table, metadata_column.table)
    if twin is None or name not in twin.columns or isinstance(existing, Identity) or isinstance(wanted, Identity):
        return CONTINUE
    text = getattr(getattr(existing, "arg", None), "text", None)
    if metadata_column is metadata_column.table.autoincrement_column and wanted is None:
        if context.dialect.name in {"mysql", "mariadb"}:
            operation.kw["autoincrement"] = True
        if str(text).startswith("nextval("):
            return STOP  # the database's own way to number rows
        return CONTINUE
    if _without_parentheses(text) != _without_parentheses(twin.columns[name]["default"]):
        operation.modify_server_default = wanted
    if metadata_column.autoincrement is False:
        operation.kw["autoincrement"] = False
    return STOP


def _without_parentheses(default: str | None) -> str | None:
    """Take off the parentheses that SQLite keeps as they were written."""
    while default and default.startswith("(") and default.endswith(")"):
        default = default[1:-1].strip()
    return default


def _compare_computed(
    context: AutogenContext,
    group: ops.ModifyTableOps,
    schema: str | None,
    table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    """Replace a generated column whose expression changed: no database can change it, and its values are derived."""
    if conn_table is None or metadata_table is None:
        return CONTINUE
    twin = _twin(context, conn_table, metadata_table)
    if twin is None:
        return CONTINUE
    for column in metadata_table.columns:
        existing = conn_table.columns.get(column.name)
        if existing is None or column.name not in twin.columns:
            continue
        wanted = twin.columns[column.name].get("computed")
        found = existing.computed
        if wanted is None or found is None:
            if bool(wanted) == bool(found):
                continue
        elif str(found.sqltext) == wanted["sqltext"] and bool(found.persisted) == bool(wanted.get("persisted")):
            continue
        group.ops.append(ops.DropColumnOp.from_column_and_tablename(schema, table, existing))
        group.ops.append(ops.AddColumnOp.from_column_and_tablename(schema, table, column))
    return CONTINUE


def _compare_checks(
    context: AutogenContext,
    group: ops.ModifyTableOps,
    schema: str | None,
    table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    if conn_table is None or metadata_table is None:
        return CONTINUE
    twin = _twin(context, conn_table, metadata_table)
    if twin is None:
        return CONTINUE
    preparer = context.dialect.identifier_preparer
    existing = [
        item
        for item in context.inspector.get_check_constraints(table, schema=schema)
        if not _is_implicit(item, twin, conn_table)
    ]
    by_name = {item["name"]: item for item in existing if item["name"]}
    for check in checks_of(metadata_table):
        text = twin.checks.get(check)
        if text is None:
            if all(column.name in conn_table.columns for column in check.columns) or getattr(
                check, "_create_rule", None
            ):
                continue  # one that this database does not have
            group.ops.append(ops.AddConstraintOp.from_constraint(check))  # with its new column
            continue
        name = preparer.format_constraint(check, _alembic_quote=False)
        found = by_name.get(str(name)) or next(
            (item for item in existing if item["sqltext"] == text and item["name"] not in by_name), None
        )
        if name is None and found is None:
            found = next((item for item in existing if item["sqltext"] == text), None)
        if found is not None:
            existing.remove(found)
            if found["sqltext"] == text:
                continue
            group.ops.append(ops.DropConstraintOp.from_constraint(_reflected(found, conn_table)))
        group.ops.append(ops.AddConstraintOp.from_constraint(check))
    for item in existing:
        if item["name"]:
            group.ops.append(ops.DropConstraintOp.from_constraint(_reflected(item, conn_table)))
    return CONTINUE


def _is_implicit(item: ReflectedCheckConstraint, twin: Twin, conn_table: Table) -> bool:
    """Tell whether the database made a CHECK by itself, as MariaDB does for JSON columns, which it names after them."""
    name = item["name"]
    return name in twin.implicit_checks or (
        str(name) in conn_table.columns and item["sqltext"].startswith("json_valid(")
    )


def _reflected(item: ReflectedCheckConstraint, conn_table: Table) -> CheckConstraint:
    name = item["name"]
    return CheckConstraint(item["sqltext"], name=conv(name) if name else None, table=conn_table)


def _compare_primary_key(
    _context: AutogenContext,
    group: ops.ModifyTableOps,
    _schema: str | None,
    _table: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    if conn_table is None or metadata_table is None:
        return CONTINUE
    existing, wanted = conn_table.primary_key, metadata_table.primary_key
    if [column.name for column in existing] == [column.name for column in wanted]:
        return CONTINUE
    if len(existing.columns):
        group.ops.append(ops.DropConstraintOp.from_constraint(_named(existing, wanted)))
    if len(wanted.columns):
        group.ops.append(ops.AddConstraintOp.from_constraint(wanted))
    return CONTINUE


@renderers.dispatch_for(ops.CreatePrimaryKeyOp, replace=True)
def _render_primary_key(context: AutogenContext, operation: ops.CreatePrimaryKeyOp) -> str:
    """Write what Alembic compares nothing for, and so never writes."""
    names = [str(getattr(column, "name", column)) for column in operation.columns]
    name = str(operation.constraint_name) if operation.constraint_name else None
    if context._has_batch:  # noqa: SLF001  as Alembic's renderers ask
        return f"batch_op.create_primary_key({name!r}, {names!r})"
    prefix = context.opts.get("alembic_module_prefix") or "op."
    schema = f", schema={operation.schema!r}" if operation.schema else ""
    return f"{prefix}create_primary_key({name!r}, {operation.table_name!r}, {names!r}{schema})"


def _named(existing: PrimaryKeyConstraint, wanted: PrimaryKeyConstraint) -> PrimaryKeyConstraint:
    """Give an unnamed primary key, as SQLite has them, the name that the model's has, so that a batch can find it."""
    if existing.name is None:
        existing.name = wanted.name
    return existing
