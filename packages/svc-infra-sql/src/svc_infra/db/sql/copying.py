"""COPY: the way into PostgreSQL for many rows, several times faster than INSERT."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import ARRAY, Boolean, Column, Connection, Table, TypeDecorator
from sqlalchemy.sql.schema import CallableColumnDefault, ScalarElementColumnDefault
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import await_only

from svc_infra.db.sql._begun import begin
from svc_infra.db.sql._deadline import answered_in_time
from svc_infra.db.sql.value_checks import is_known

__all__ = ["begin_copy", "copies", "copy_rows", "default_of", "is_copyable", "note_refusal"]

_DRIVERS = frozenset({"asyncpg", "psycopg"})
_NO_DEFAULT = object()


def copies(connection: Connection, table: Table) -> bool:
    """Whether the driver has COPY, and the connection is not known to refuse it for the table."""
    return (
        connection.dialect.name == "postgresql"
        and connection.dialect.driver in _DRIVERS
        and table.fullname not in connection.info.get(_REFUSED, ())
    )


def note_refusal(connection: Connection, table: Table, error: BaseException) -> bool:
    """Whether an error is PostgreSQL's refusal of COPY to a role that row-level security confines; note it if so.

    The answer of `row_security_active` would say it before, for a round trip each time. A connection that changes its
    role goes on without COPY, which is right for any role.
    """
    cause = getattr(error, "orig", None) or error
    # "COPY FROM is not supported for tables with row-level security" (PostgreSQL manual, COPY): feature_not_supported.
    if connection.dialect.name != "postgresql" or getattr(cause, "sqlstate", None) != "0A000":
        return False
    refused: set[str] = connection.info.setdefault(_REFUSED, set())
    is_new = table.fullname not in refused
    refused.add(table.fullname)
    return is_new


_REFUSED = "svc_infra_refuses_copy"


def is_copyable(columns: Iterable[Column[Any]]) -> bool:
    """Whether values of the columns can be sent as they are: no type computes them by SQL, or is the driver's to know.

    asyncpg has no form of tsvector in COPY, say, nor of an extension's types.
    """
    return all(_is_sendable(column.type) for column in columns)


def _is_sendable(kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, TypeDecorator):
        return not _has_bind_expression(kind) and _is_sendable(kind.impl_instance)
    if isinstance(kind, ARRAY):
        return _is_sendable(kind.item_type)
    return is_known(kind) and not _has_bind_expression(kind)


def _has_bind_expression(kind: TypeEngine[Any]) -> bool:
    return type(kind).bind_expression is not TypeEngine.bind_expression and not type(kind).__module__.startswith(
        "sqlalchemy."
    )


def default_of(column: Column[Any]) -> Callable[[], object] | None:
    """What gives a column's value in Python when a row has none, or None when that is the database's to do.

    Raises:
        LookupError: When only SQLAlchemy can: an SQL expression or a sequence.
    """
    default = column.default
    if default is None:
        return None
    if isinstance(default, ScalarElementColumnDefault):
        value: object = default.arg
        return lambda: value
    if isinstance(default, CallableColumnDefault):
        make: Any = default.arg
        return lambda: make(None)
    raise LookupError(column.name)


def copy_rows(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], values: Sequence[Sequence[Any]]
) -> None:
    """Send rows by COPY, within the connection's transaction, of which a statement must have been sent.

    Args:
        connection: A connection for which `copies` holds.
        table: The table.
        columns: The columns.
        values: The values of each column in Python's types, all of one length.
    """
    rows = zip(*_bound(connection, columns, values), strict=True)
    driver: Any = connection.connection.driver_connection
    with answered_in_time(connection):
        if connection.dialect.driver == "asyncpg":
            await_only(_copy_asyncpg(driver, table, columns, rows))
        else:
            prepare = connection.dialect.identifier_preparer
            listed = ", ".join(prepare.quote(column.name) for column in columns)
            statement = f"COPY {prepare.format_table(table)} ({listed}) FROM STDIN"
            # The names are quoted for statements with parameters, in which "%" is written twice.
            await_only(_copy_psycopg(driver, statement.replace("%%", "%"), rows))


def begin_copy(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], values: Sequence[Sequence[Any]]
) -> Callable[[], tuple[()]]:
    """Do as `copy_rows` by asyncpg, but return when all is sent and the database writes it.

    Returns:
        What waits for the database, which must be called, and before anything else is sent on the connection.
    """
    is_sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> Iterator[Sequence[Any]]:
        is_sent.set_result(None)  # as nothing is awaited between the last row and the end of the data
        yield from ()

    rows = chain(zip(*_bound(connection, columns, values), strict=True), end())
    with answered_in_time(connection):
        call = begin(_copy_asyncpg(connection.connection.driver_connection, table, columns, rows), is_sent)

    def answer() -> tuple[()]:
        with answered_in_time(connection):
            await_only(call)
        return ()

    return answer


def _bound(
    connection: Connection, columns: Sequence[Column[Any]], values: Sequence[Sequence[Any]]
) -> list[Iterable[Any]]:
    """The values of each column as the driver takes them."""
    dialect = connection.dialect
    processors = [
        None
        if isinstance(column.type, Boolean) and dialect.supports_native_boolean  # what it checks was checked
        else column.type.dialect_impl(dialect).bind_processor(dialect)
        for column in columns
    ]
    return [each if process is None else map(process, each) for process, each in zip(processors, values, strict=True)]


async def _copy_asyncpg(driver: Any, table: Table, columns: Sequence[Column[Any]], rows: Iterable[Any]) -> None:
    names = [column.name for column in columns]
    await driver.copy_records_to_table(table.name, records=rows, columns=names, schema_name=table.schema, timeout=None)


async def _copy_psycopg(driver: Any, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)
