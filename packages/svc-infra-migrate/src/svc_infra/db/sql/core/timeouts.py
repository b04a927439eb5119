"""Lock and statement timeouts of the connection that migrates, per database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.limits import Limits
from svc_infra.db.sql.core.progress import Progress

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["is_lock_conflict", "pause_seconds", "timeouts"]


def is_lock_conflict(error: BaseException) -> bool:
    """Tell whether an error says that somebody else was in the way, so that another try may succeed."""
    from svc_infra.db.sql.errors import LockTimeout, RetryableError
    from svc_infra.db.sql.translate import translate

    return isinstance(translate(error), (LockTimeout, RetryableError))


def pause_seconds(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """Return how long to pause after a failed attempt: 0.25 s, doubled each time up to 10 s, minus up to a half."""
    return float(min(0.25 * 2 ** (attempt - 1), 10.0)) * (1 - chance() / 2)


@contextmanager
def timeouts(connection: Connection, limits: Limits, progress: Progress) -> Iterator[None]:
    """Bound the waits of everything that runs on the connection, which must not be in a transaction.

    On PostgreSQL `CREATE INDEX CONCURRENTLY` in an autocommit block is not subject to them: its waits block nobody, and
    cut off it would leave an invalid index.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        with _timeouts_of_postgresql(connection, limits):
            yield
    elif dialect in {"mysql", "mariadb"}:
        seconds = max(1, ceil(limits.lock_timeout_ms / 1000))
        # lock_wait_timeout is the one for tables (a year by default), the other the one for rows.
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}")
        if limits.statement_timeout_ms is not None:
            _limit_statements_of_mysql(connection, limits.statement_timeout_ms)
        connection.rollback()
        with _statements_tried_again(connection, limits, progress):
            yield
    elif dialect == "mssql":
        connection.exec_driver_sql(f"SET LOCK_TIMEOUT {limits.lock_timeout_ms}")
        connection.rollback()
        yield
    else:
        if dialect == "sqlite":
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {limits.lock_timeout_ms}")
            connection.rollback()
        yield


@contextmanager
def _timeouts_of_postgresql(connection: Connection, limits: Limits) -> Iterator[None]:
    """Set the limits once for the session; from the first autocommit block on, anew in each transaction."""
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError, ResourceClosedError

    settings = {"lock_timeout": limits.lock_timeout_ms}
    if limits.statement_timeout_ms is not None:
        settings["statement_timeout"] = limits.statement_timeout_ms

    def setting(*, is_local: bool, off: bool = False) -> str:
        calls = [f"set_config('{name}', '{0 if off else value}', {is_local})" for name, value in settings.items()]
        return "SELECT " + ", ".join(calls)

    is_set = True

    def on_begin(begun: Connection) -> None:
        nonlocal is_set
        if begun.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            if is_set:
                is_set = False
                begun.exec_driver_sql(setting(is_local=False, off=True))
        elif not is_set:
            begun.exec_driver_sql(setting(is_local=True))

    connection.exec_driver_sql(setting(is_local=False))
    connection.commit()
    _end_with_the_client(connection)
    event.listen(connection, "begin", on_begin)
    try:
        yield
    finally:
        event.remove(connection, "begin", on_begin)
        if not connection.invalidated:
            with suppress(DBAPIError, ResourceClosedError, OSError):  # it may be lost
                for name in (*settings, "client_connection_check_interval"):
                    connection.exec_driver_sql(f"RESET {name}")
                connection.commit()


def _end_with_the_client(connection: Connection) -> None:
    """Let PostgreSQL end a statement whose process was killed.

    Otherwise it notices when the statement is done, and until then keeps its locks from whoever migrates next.
    https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
    """
    from sqlalchemy.exc import DBAPIError

    try:
        connection.exec_driver_sql("SET client_connection_check_interval = 1000")  # milliseconds
        connection.commit()
    except DBAPIError:  # before PostgreSQL 14, or not on the server's system
        connection.rollback()


def _limit_statements_of_mysql(connection: Connection, statement_timeout_ms: int) -> None:
    if getattr(connection.dialect, "is_mariadb", False):
        connection.exec_driver_sql(f"SET SESSION max_statement_time = {statement_timeout_ms / 1000}")
    else:
        # MySQL limits SELECT only. https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_max_execution_time
        connection.exec_driver_sql(f"SET SESSION max_execution_time = {statement_timeout_ms}")


@contextmanager
def _statements_tried_again(connection: Connection, limits: Limits, progress: Progress) -> Iterator[None]:
    """Try a statement again that did not get its lock.

    A whole revision can't be, because MySQL has committed what came before; the statement itself had no effect.
    """
    from sqlalchemy import event

    def attempt(execute: Callable[[], object]) -> bool:
        for number in range(1, limits.lock_retries + 2):
            try:
                execute()
            except Exception as error:
                if number > limits.lock_retries or not is_lock_conflict(error):
                    raise
                pause = pause_seconds(number)
                progress.note(
                    f"A table is in use; trying the statement again in {pause:.1f} s ({number}/{limits.lock_retries})"
                )
                time.sleep(pause)
            else:
                break
        return True

    def execute(cursor: _Cursor, statement: str, parameters: object, _context: object) -> bool:
        return attempt(lambda: cursor.execute(statement, parameters))

    def execute_without_parameters(cursor: _Cursor, statement: str, _context: object) -> bool:
        return attempt(lambda: cursor.execute(statement))

    engine = connection.engine
    event.listen(engine, "do_execute", execute)
    event.listen(engine, "do_execute_no_params", execute_without_parameters)
    try:
        yield
    finally:
        event.remove(engine, "do_execute", execute)
        event.remove(engine, "do_execute_no_params", execute_without_parameters)


if TYPE_CHECKING:
    from typing import Protocol

    class _Cursor(Protocol):
        def execute(self, statement: str, parameters: object = ..., /) -> object: ...
