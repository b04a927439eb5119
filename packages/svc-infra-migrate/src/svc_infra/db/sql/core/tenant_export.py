"""The rows of one tenant as JSON, for a customer who asks for his data."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from typing import TextIO

    from sqlalchemy import Connection

__all__ = ["export_tenant"]

_ROWS_AT_ONCE = 500


def export_tenant(
    table: str,
    tenant_id: str,
    output: TextIO,
    *,
    tenant_field: str = "tenant_id",
    limit: int | None = None,
    database_url: str | None = None,
    project: Project | None = None,
) -> int:
    """Write the rows of a tenant as a JSON array, one row a line.

    Every type of value has a form: times in ISO 8601, decimals and UUIDs as text, bytes in Base64.

    Args:
        table: The table, with its schema in front where it has one.
        tenant_id: The tenant, as text; it is compared as the column's type.
        output: Where the rows go.
        tenant_field: The column with the tenant.
        limit: At most this many rows.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.

    Returns:
        The number of rows.

    Raises:
        MigrationError: There is no such table or column, or `tenant_id` is no value of its type.
    """
    target = resolve_target(project or any_project(), database_url)

    def work(connection: Connection) -> int:
        count = 0
        rows = _rows(connection, table, tenant_field, tenant_id, limit)
        output.write("[")
        for row in rows:
            output.write("\n" if count == 0 else ",\n")
            output.write(json.dumps(row, default=_plain, ensure_ascii=False))
            count += 1
        output.write("\n]\n")
        return count

    return run_blocking(lambda: run_on_connection(target, work))


def _rows(
    connection: Connection, name: str, tenant_field: str, tenant_id: str, limit: int | None
) -> Iterator[dict[str, object]]:
    from sqlalchemy import MetaData, Table, select
    from sqlalchemy.exc import NoSuchTableError

    schema, _, plain_name = name.rpartition(".")
    try:
        table = Table(plain_name, MetaData(), schema=schema or None, autoload_with=connection)
    except NoSuchTableError as error:
        raise MigrationError(f"there is no table {name}") from error
    if tenant_field not in table.columns:
        raise MigrationError(f"{name} has no column {tenant_field}; its columns: {', '.join(table.columns.keys())}")
    column = table.columns[tenant_field]
    statement = select(table).where(column == _as_type_of(column.type, tenant_id)).order_by(*table.primary_key)
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(statement.limit(limit))
    return (dict(row) for row in rows.mappings())


def _as_type_of(column_type: object, text: str) -> object:
    """Read the tenant's id as the column holds it."""
    try:
        kind = column_type.python_type  # type: ignore[attr-defined]
    except NotImplementedError:
        return text
    try:
        return kind(text) if kind in {int, uuid.UUID, decimal.Decimal} else text
    except (ValueError, decimal.InvalidOperation) as error:
        raise MigrationError(f"the tenant {text!r} is no {kind.__name__}, as the column holds") from error


def _plain(value: object) -> object:
    match value:
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode("ascii")
        case enum.Enum():
            return value.value
        case set() | frozenset() | tuple():
            return list(value)
        case _:
            return str(value)
