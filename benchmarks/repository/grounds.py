"""What the contenders run on: each opens a transaction before a call and rolls it back after it, both off the clock."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from benchmarks.repository.cases import Ground
from benchmarks.repository.model import WRITTEN, Item


class Opened(Protocol):
    """A ground that is open."""

    async def begin(self) -> Any:
        """Open a transaction and give what a contender takes."""

    async def rollback(self) -> None:
        """Undo what it did."""


class OnSession:
    """A SQLAlchemy session, which forgets its objects after each call."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def begin(self) -> AsyncSession:
        """Open a transaction, which SQLAlchemy's drivers otherwise do with the first statement, so on the clock."""
        connection = await self._session.connection()
        await connection.exec_driver_sql("BEGIN" if connection.dialect.name == "sqlite" else "SELECT 1")
        return self._session

    async def rollback(self) -> None:
        """Undo what it did and forget the objects."""
        await self._session.rollback()
        self._session.expunge_all()


class OnAsyncpg:
    """A connection of asyncpg."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transaction: Any = None
        self.fetch = connection.fetch

    async def begin(self) -> OnAsyncpg:
        """Open a transaction."""
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        return self

    async def rollback(self) -> None:
        """Undo what it did."""
        await self._transaction.rollback()

    async def insert_many(self, _statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Send rows by COPY, the fastest way there is."""
        await self._connection.copy_records_to_table(Item.__tablename__, records=rows, columns=WRITTEN)


class OnAiosqlite:
    """A connection of aiosqlite; its instants are text, as SQLAlchemy writes them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def begin(self) -> OnAiosqlite:
        """Open a transaction."""
        await self._connection.execute("BEGIN")
        return self

    async def rollback(self) -> None:
        """Undo what it did."""
        await self._connection.rollback()

    async def fetch(self, statement: str, *values: Any) -> Any:
        """All rows of a statement."""
        return await self._connection.execute_fetchall(statement.replace("$", "?"), tuple(map(_stored, values)))

    async def insert_many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Send one statement with many rows."""
        await self._connection.executemany(statement.replace("$", "?"), [tuple(map(_stored, row)) for row in rows])


def _stored(value: Any) -> Any:
    return value.replace(tzinfo=None).isoformat(" ", "microseconds") if isinstance(value, datetime) else value


class OnPiccolo:
    """A transaction of Piccolo, which its queries find by themselves."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._transaction: Any = None

    async def begin(self) -> Any:
        """Open a transaction."""
        self._transaction = self._engine.transaction()
        return await self._transaction.__aenter__()

    async def rollback(self) -> None:
        """Undo what it did."""
        undone = RuntimeError("undone")
        await self._transaction.__aexit__(RuntimeError, undone, None)


@asynccontextmanager
async def opened(engine: AsyncEngine) -> AsyncIterator[dict[Ground, Opened]]:
    """The grounds on one database, without Piccolo's when that is not installed."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(AsyncSession(engine, expire_on_commit=False))
        grounds: dict[Ground, Opened] = {"session": OnSession(session)}
        open_driver = _open_asyncpg if engine.dialect.name == "postgresql" else _open_aiosqlite
        grounds["driver"] = await open_driver(stack, engine.url)
        if importlib.util.find_spec("piccolo") is not None:
            grounds["piccolo"] = await _open_piccolo(stack, engine.url)
        yield grounds


async def _open_asyncpg(stack: AsyncExitStack, url: URL) -> Opened:
    import asyncpg

    connection = await asyncpg.connect(**_asyncpg_arguments(url))
    stack.push_async_callback(connection.close)
    return OnAsyncpg(connection)


def _asyncpg_arguments(url: URL) -> dict[str, Any]:
    named = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    return {**named, "database": url.database, "ssl": False}


async def _open_aiosqlite(stack: AsyncExitStack, url: URL) -> Opened:
    import aiosqlite

    return OnAiosqlite(await stack.enter_async_context(aiosqlite.connect(str(url.database))))


async def _open_piccolo(stack: AsyncExitStack, url: URL) -> Opened:
    from benchmarks.repository.with_piccolo import Items

    engine: Any
    if url.get_backend_name() == "postgresql":
        from piccolo.engine.postgres import PostgresEngine

        engine = PostgresEngine(_asyncpg_arguments(url), extensions=(), log_queries=False)
        await engine.start_connection_pool(min_size=1, max_size=1)
        stack.push_async_callback(engine.close_connection_pool)
    else:
        from piccolo.engine.sqlite import SQLiteEngine

        engine = SQLiteEngine(str(url.database))
    Items._meta.db = engine  # noqa: SLF001 (Piccolo's own name for it)
    return OnPiccolo(engine)
