"""One connection to the target database, through an async or a sync driver, for code that is not async."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from svc_infra.dburl import ResolvedUrl

__all__ = ["run_blocking", "run_on_connection"]

T = TypeVar("T")


def run_blocking(work: Callable[[], T]) -> T:
    """Call `work` where it may start an event loop: here, or in a thread of its own when a loop runs here already.

    The caller waits either way. In a service's start-up that is what one wants; elsewhere in async code prefer
    `await asyncio.to_thread(upgrade)`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            failures.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="svc-infra-migrate")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def run_on_connection(target: ResolvedUrl, work: Callable[[Connection], T]) -> T:
    """Connect, call `work` with the connection, roll back what it left open, and disconnect.

    With an async driver `work` runs in the driver's own event loop, where everything that SQLAlchemy offers to sync
    code works, `connection.engine.connect()` for a second connection too.
    """
    return asyncio.run(_run_async(target, work)) if target.mode == "async" else _run_sync(target, work)


def _run_sync(target: ResolvedUrl, work: Callable[[Connection], T]) -> T:
    from sqlalchemy import NullPool, create_engine

    engine = create_engine(target.url, connect_args=dict(target.connect_args), poolclass=NullPool)
    _prepare(engine, target)
    try:
        with engine.connect() as connection:
            return work(connection)
    finally:
        engine.dispose()


async def _run_async(target: ResolvedUrl, work: Callable[[Connection], T]) -> T:
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(target.url, connect_args=dict(target.connect_args), poolclass=NullPool)
    _prepare(engine.sync_engine, target)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _prepare(engine: Engine, target: ResolvedUrl) -> None:
    """Make the engine fit for DDL: a rotated password is read anew, and SQLite's transactions hold DDL too."""
    from sqlalchemy import event

    password = target.password
    if password is not None:

        @event.listens_for(engine, "do_connect")
        def _read_password(_dialect: object, _record: object, _args: list[object], params: dict[str, object]) -> None:
            params["password"] = password()

    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)


def _prepare_sqlite(engine: Engine) -> None:
    # sqlite3 begins a transaction before INSERT and UPDATE only, so that a failed revision would keep its CREATE and
    # ALTER; BEGIN in our hands makes DDL transactional.
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#serializable-isolation-savepoints-transactional-ddl
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: object, _record: object) -> None:
        dbapi_connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
        # A batch operation drops and recreates its table; with enforcement on, the drop would delete the rows that
        # refer to it. https://www.sqlite.org/lang_altertable.html#otheralter, step 1
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("PRAGMA busy_timeout = 5000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN")
