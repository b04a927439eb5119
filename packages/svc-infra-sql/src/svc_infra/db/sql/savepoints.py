"""Savepoints: a part of a transaction that can be undone by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, TextClause, text

from svc_infra.db.sql import unit_of_work
from svc_infra.db.sql.direct import count_directly
from svc_infra.db.sql.errors import InvalidQuery
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.lone import LoneConnection

__all__ = ["BULK", "savepoint", "undone_on_error"]

BULK: Final = "svc_infra_bulk"
"""The savepoint of `undone_on_error`."""

_DEPTH: Final = "svc_infra_savepoint_depth"


@contextmanager
def undone_on_error(execution: Execution[Any]) -> Iterator[Connection]:
    """A connection on which everything is undone when the block fails.

    On DuckDB, which has no savepoints, the whole transaction is rolled back.
    """
    connection = execution.connect(execution.statements.insert(()))
    if not execution.writes_directly and execution.capabilities.has_savepoints:
        with unit_of_work.undone_on_error(execution):
            yield connection
        return
    if not execution.capabilities.has_savepoints:
        try:
            yield connection
        except BaseException:
            (connection if execution.session is None else execution.session).rollback()
            raise
        return
    info = connection.info  # of the driver's connection, which an error may take away
    info[_DEPTH] = depth = info.get(_DEPTH, 0) + 1
    try:
        savepoint(connection, f"SAVEPOINT {BULK}")
        try:
            yield connection
        except BaseException:
            if not connection.invalidated and not connection.closed:
                savepoint(connection, f"ROLLBACK TO SAVEPOINT {BULK}")
            raise
        savepoint(connection, f"RELEASE SAVEPOINT {BULK}")
    finally:
        info[_DEPTH] = depth - 1


def savepoint(connection: Connection, statement: str) -> None:
    """Send a statement about savepoints, given in the words of the SQL standard.

    A write of many within another's hook has savepoints of its own: MySQL forgets the older one of the same name.

    Raises:
        InvalidQuery: Where every statement is a transaction of its own.
    """
    if isinstance(connection, LoneConnection):
        raise InvalidQuery(f"{statement.split(' ')[0]} needs a transaction; use database.session() and not lone()")
    depth = connection.info.get(_DEPTH, 1)
    if depth > 1:
        statement = f"{statement}_{depth}"
    if connection.dialect.name == "mssql":
        verb, _, name = statement.rpartition(" ")
        if verb.startswith("RELEASE"):
            return  # Transact-SQL has no word for it: a savepoint ends with its transaction
        statement = f"{'ROLLBACK' if verb.startswith('ROLLBACK') else 'SAVE'} TRANSACTION {name}"
    if count_directly(connection, _kept(statement), {}) is None:
        connection.exec_driver_sql(statement)


@cache
def _kept(statement: str) -> TextClause:
    """The statement, always the same object, as it must be to be run on the driver itself."""
    return text(statement)
