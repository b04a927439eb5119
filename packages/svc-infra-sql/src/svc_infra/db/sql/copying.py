"""COPY: the way into PostgreSQL for many rows, several times faster than INSERT."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from sqlalchemy import ARRAY, Boolean, Column, Connection, Dialect, Table, TypeDecorator
from sqlalchemy.sql.schema import CallableColumnDefault, ScalarElementColumnDefault
from sqlalchemy.sql.type_api import NativeForEmulated
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import await_only

from svc_infra.db.sql._begun import begin
from svc_infra.db.sql._deadline import answered_in_time
from svc_infra.db.sql.translate import VALUE_ERRORS
from svc_infra.db.sql.value_checks import is_known

__all__ = ["begin_copy", "copies", "copy_rows", "default_of", "holds_array", "is_copyable", "note_refusal"]

_DRIVERS = frozenset({"asyncpg", "psycopg"})
#: What SQLAlchemy derives from its own types.
_OF_EXTENSIONS = frozenset({"CITEXT"})

#: Seconds within which the server must say that a COPY has ended of which the driver can't write a value.
END_SECONDS: Final = 5.0


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


def is_copyable(columns: Iterable[Column[Any]], dialect: Dialect) -> bool:
    """Whether values of the columns can be sent as they are: no type computes them by SQL, or is the driver's to know.

    asyncpg has no form of tsvector in COPY, say, nor of an extension's types.
    """
    return all(_is_sendable(column.type.dialect_impl(dialect)) for column in columns)


def holds_array(column: Column[Any], dialect: Dialect) -> bool:
    """Whether a column's values are arrays for the database, which unnest would take apart."""
    kind = column.type.dialect_impl(dialect)
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return isinstance(kind, ARRAY)


def _is_sendable(kind: TypeEngine[Any]) -> bool:
    if isinstance(kind, TypeDecorator):
        return not _has_bind_expression(kind, TypeDecorator) and _is_sendable(kind.impl_instance)
    if isinstance(kind, ARRAY):
        return _is_sendable(kind.item_type)
    is_own = is_known(kind) or isinstance(kind, NativeForEmulated)
    return is_own and not _has_bind_expression(kind, TypeEngine) and kind.__visit_name__ not in _OF_EXTENSIONS


def _has_bind_expression(kind: TypeEngine[Any], base: type[TypeEngine[Any]]) -> bool:
    is_overridden = type(kind).bind_expression is not base.bind_expression
    return is_overridden and not type(kind).__module__.startswith("sqlalchemy.")


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
) -> list[Sequence[Any]]:
    """The values of each column as the driver takes them, made before any is sent (see `_copy_asyncpg`)."""
    dialect = connection.dialect
    processors = [
        None
        if isinstance(column.type, Boolean) and dialect.supports_native_boolean  # what it checks was checked
        else column.type.dialect_impl(dialect).bind_processor(dialect)
        for column in columns
    ]
    return [
        each if process is None else list(map(process, each)) for process, each in zip(processors, values, strict=True)
    ]


async def _copy_asyncpg(driver: Any, table: Table, columns: Sequence[Column[Any]], rows: Iterable[Any]) -> None:
    names = [column.name for column in columns]
    try:
        await driver.copy_records_to_table(
            table.name, records=rows, columns=names, schema_name=table.schema, timeout=None
        )
    except VALUE_ERRORS:
        # The driver can't write one, and awaits the end of the COPY before it sends anything else. When the database
        # has refused a row before, that has come already; the connection is given up then.
        with contextlib.suppress(Exception):
            await driver.execute("", timeout=END_SECONDS)
        raise


async def _copy_psycopg(driver: Any, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)
