"""Many rows into DuckDB as one JSON text, since each bound parameter costs it a millisecond or more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Column, Connection, Dialect, Interval, LargeBinary, Table, text
from sqlalchemy.types import TypeDecorator

__all__ = ["insert_json_rows"]


def insert_json_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[Column[Any]],
    rows: Sequence[Sequence[Any]],
    returned: Sequence[Column[Any]] = (),
) -> Sequence[Any] | None:
    """Insert rows and return those columns of them, in no certain order; None when the values can't go as JSON.

    Args:
        connection: A connection to DuckDB.
        table: The table.
        columns: The columns of each row, in order.
        rows: The values in Python's types.
        returned: The columns to return; empty to return nothing.
    """
    if any(isinstance(column.type, Interval | LargeBinary | TypeDecorator) for column in columns):
        return None
    dialect = connection.dialect
    # A JSON value is part of the text as it is.
    processors = [
        None if isinstance(column.type, JSON) else column.type.dialect_impl(dialect).bind_processor(dialect)
        for column in columns
    ]
    if any(
        isinstance(column.type, JSON) and not column.type.none_as_null and any(row[place] is None for row in rows)
        for place, column in enumerate(columns)
    ):
        return None  # JSON's null, which would become SQL's
    documents = [place for place, column in enumerate(columns) if isinstance(column.type, JSON)]
    if documents and not _is_json([[row[place] for place in documents] for row in rows], dialect):
        return None
    keys = [f"c{position}" for position in range(len(columns))]
    records = [
        {
            key: value if value is None or process is None else process(value)
            for key, process, value in zip(keys, processors, row, strict=True)
        }
        for row in rows
    ]
    try:
        content = json.dumps(records, default=str, allow_nan=False)
    except ValueError:
        return None
    structure = json.dumps([{key: _ddl(column, connection) for key, column in zip(keys, columns, strict=True)}])
    prepare = dialect.identifier_preparer
    listed = ", ".join(prepare.quote(column.name) for column in columns)
    taken = ", ".join(f"x.{key}" for key in keys)
    statement = (
        f"INSERT INTO {prepare.format_table(table)} ({listed}) "  # noqa: S608 (quoted names, no values)
        f"SELECT {taken} FROM (SELECT unnest(from_json(:content, :structure)) AS x)"
    )
    parameters = {"content": content, "structure": structure}
    if not returned:
        connection.execute(text(statement), parameters)
        return ()
    names = ", ".join(prepare.quote(column.name) for column in returned)
    result = connection.execute(text(f"{statement} RETURNING {names}").columns(*returned), parameters)
    return [tuple(row) for row in result]  # as fields may be called otherwise than columns


def _is_json(values: object, dialect: Dialect) -> bool:
    """Whether the values are written as they are; not what the engine's own serializer takes, or none does."""
    if getattr(dialect, "_json_serializer", None) is not None:
        return False
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _ddl(column: Column[Any], connection: Connection) -> str:
    return "JSON" if isinstance(column.type, JSON) else column.type.compile(dialect=connection.dialect)
