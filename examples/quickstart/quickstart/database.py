"""The quick start's database: where it is, its tables, and its first rows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from quickstart.dataset import Dataset
from quickstart.loading import is_loaded, load
from svc_infra.db.sql.core import Project, downgrade, find_project, upgrade
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected
from svc_infra.dburl import MissingDriver, ResolvedUrl, resolve_url

__all__ = ["Target", "prepare", "reset"]

FOLDER = Path(__file__).parent.parent
DEFAULT_URL = f"sqlite:///{FOLDER / 'quickstart.db'}"
START_SECONDS = 10


@dataclass(frozen=True)
class Target:
    """The database to use and the migrations for it.

    Attributes:
        url: The URL as it was given, with its password.
        resolved: The same with driver and connect arguments; its password is hidden when it is printed.
        project: The revision files.
    """

    url: str = field(repr=False)
    resolved: ResolvedUrl
    project: Project

    @classmethod
    def choose(cls, environ: Mapping[str, str]) -> Target:
        """Return the database that `SQL_URL` in *environ* names, without it a SQLite file beside this project.

        No other variable is looked at for the URL: a DATABASE_URL meant for another project stays untouched.

        Raises:
            svc_infra.dburl.DatabaseUrlError: `SQL_URL` can't be used.
        """
        named = environ.get("SQL_URL", "").strip()
        url = named or DEFAULT_URL
        resolved = resolve_url(url, environ=environ, source="SQL_URL" if named else "the quick start's default")
        return cls(url, resolved, find_project(FOLDER, environ=environ))


async def prepare(target: Target, dataset: Dataset) -> None:
    """Bring the tables up to date, and load *dataset* when they are empty."""
    async with _connected(target) as database:
        upgrade(database_url=target.url, project=target.project)
        if await is_loaded(database):
            return
        start = time.monotonic()
        rows = await load(database, dataset)
        print(f"Loaded {rows:,} rows in {time.monotonic() - start:.0f} s.")


async def reset(target: Target) -> None:
    """Drop the tables."""
    async with _connected(target):
        downgrade("base", database_url=target.url, project=target.project)
    print(f"{target.resolved.url} is empty; the next run starts over.")


@asynccontextmanager
async def _connected(target: Target) -> AsyncIterator[Database]:
    """Open the database, and name it when it does not answer."""
    async with _make(target) as database:
        try:
            await database.ping(START_SECONDS)
        except Disconnected as error:
            raise Disconnected(f"{target.resolved.url}: {error}") from error
        yield database


def _make(target: Target) -> Database:
    try:
        return Database(target.resolved)
    except ModuleNotFoundError as error:
        # Drivers that need more than pip are not looked for before they are used.
        problem = f"the driver needs the module {error.name!r}, which is not installed"
        raise MissingDriver("SQL_URL", problem, f"Run pip install {error.name}") from error
