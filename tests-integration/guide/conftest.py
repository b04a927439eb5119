"""What the guide's examples stand on: an environment of their own, and the tables of `myapp` in a real database."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from myapp.tables import create_tables
from sqlalchemy.ext.asyncio import AsyncSession

from migrate.processes import processes
from svc_infra.db.sql.database import Database

__all__ = ["processes"]

# The variables of the guide; one that is set on the machine must not decide what an example does.
PREFIXES = ("SQL_", "DB_", "DATABASE_", "PRIVATE_SQL_", "MONGO_", "REDIS_", "ALEMBIC_", "READ_DB_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin without any of the guide's variables and without a ``.env`` in the working directory."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def sql_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with the tables of `myapp`, named by SQL_URL, on each SQL database in turn."""
    await create_tables(database_url)
    monkeypatch.setenv("SQL_URL", database_url)
    return database_url


@pytest.fixture
async def postgres_app_url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same on PostgreSQL alone."""
    await create_tables(postgres_url)
    monkeypatch.setenv("SQL_URL", postgres_url)
    return postgres_url


@pytest.fixture
async def session(sql_url: str) -> AsyncIterator[AsyncSession]:
    """A session on `sql_url`."""
    async with Database() as database, database.session() as opened:
        yield opened
