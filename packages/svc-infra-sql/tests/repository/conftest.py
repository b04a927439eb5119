"""A database of each kind, kept for a module's tests; each test's transaction is rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from dbservers.plugin import COVERAGE, DATABASE_URLS
from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count the test for the database that it runs on, as the plugin does for its own fixtures."""
    kind = getattr(getattr(item, "callspec", None), "params", {}).get("kept_url")
    if kind is not None:
        item.config.stash[COVERAGE].want(DATABASE_URLS[kind])


@pytest.fixture(scope="module", params=list(DATABASE_URLS))
def kept_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database of each kind in turn, for all tests of a module."""
    if request.param in {"postgres", "mysql"}:
        server = request.getfixturevalue(f"{request.param}_server")
        url = server.create_database()
        yield url
        server.drop_database(url)
    else:
        library = pytest.importorskip("sqlite3" if request.param == "sqlite" else "duckdb", exc_type=ImportError)
        found = sqlite3.sqlite_version if request.param == "sqlite" else library.__version__
        request.config.stash[COVERAGE].have(DATABASE_URLS[request.param], found, "library")
        folder: Path = tmp_path_factory.mktemp(request.param)
        yield f"{request.param}:///{folder / 'db'}"


@pytest.fixture(scope="module")
def made_tables() -> set[str]:
    """The URLs whose database has the tables of the module."""
    return set()


@pytest.fixture
async def database(kept_url: str, request: pytest.FixtureRequest, made_tables: set[str]) -> AsyncIterator[Database]:
    """The database, with the tables of the module's `TABLES`."""
    has_computed = any(column.computed is not None for table in request.module.TABLES for column in table.columns)
    if has_computed and kept_url.startswith("duckdb") and sqlalchemy.__version__.startswith("2.0."):
        pytest.skip("SQLAlchemy 2.0 has no virtual columns for PostgreSQL's kin, and DuckDB no stored ones")
    async with Database(kept_url) as database:
        if kept_url not in made_tables:
            async with database.engine.begin() as connection:
                await connection.run_sync(ModelBase.metadata.create_all, tables=request.module.TABLES)
            made_tables.add(kept_url)
        yield database


@pytest.fixture
async def session(database: Database) -> AsyncIterator[AsyncSession]:
    """A session whose transaction is rolled back."""
    async with AsyncSession(database.engine, expire_on_commit=False) as session:
        yield session
        await session.rollback()


@pytest.fixture
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[AsyncSession]:
    """A session on SQLite in memory, for what does not depend on the database."""
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(ModelBase.metadata.create_all, tables=request.module.TABLES)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session
    await engine.dispose()


class Statements(list[str]):
    """The statements that a session has sent."""

    def taken(self) -> list[str]:
        """Those since the last call."""
        found = list(self)
        self.clear()
        return found


@pytest.fixture
async def statements(session: AsyncSession) -> AsyncIterator[Statements]:
    """What the session sends."""
    found = Statements()
    engine = session.get_bind()

    def record(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement != "BEGIN":  # the SQLite engine's own
            found.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    yield found
    event.remove(engine, "before_cursor_execute", record)
