"""What the overview tells of databases and resources, each part found within a bounded time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import inspect as inspect_schema
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool
from starlette.exceptions import HTTPException

from fastapi import FastAPI
from svc_infra.api.fastapi.admin.resources import AdminResource, TenantMissing
from svc_infra.api.fastapi.admin.values import number_text
from svc_infra.api.fastapi.db.sql.state import get_database, slots_of
from svc_infra.api.fastapi.problems import ProblemError
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import PoolTimeout, SqlError, StatementTimeout

__all__ = [
    "COUNT_LIMIT",
    "DatabaseStatus",
    "ExpectedRevisions",
    "Migrations",
    "PoolStatus",
    "count_rows",
    "database_status",
]

ExpectedRevisions: TypeAlias = Callable[[], Collection[str] | Awaitable[Collection[str]]]
"""Gives the revisions that the code needs, such as `svc_infra.db.sql.core.heads` wrapped by the application."""

COUNT_LIMIT: Final = 10_000
"""Where counting the rows of a resource stops."""

_COUNT_BUDGET_SECONDS: Final = 2.0
_EXPECTED_SECONDS: Final = 5.0
_VERSIONS: Final = text("SELECT version_num FROM alembic_version ORDER BY version_num")
_ESTIMATE: Final = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:name)")


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The connections to one server.

    Attributes:
        server: Where they lead, without user and password.
        in_use: Connections that are lent out.
        idle: Connections that wait to be lent.
        limit: How many there may be; None when the pool has no count of them.
    """

    server: str
    in_use: int
    idle: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Migrations:
    """What Alembic's table says, beside what the code needs.

    Attributes:
        current: The database's revisions; None when it has no such table or did not answer.
        expected: The revisions that the code needs; None when the application did not say.
        problem: Why one of them is not known.
    """

    current: tuple[str, ...] | None = None
    expected: tuple[str, ...] | None = None
    problem: str | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the database is at other revisions than the code needs."""
        return self.expected is not None and self.expected != (self.current or ())


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """One database of the application.

    Attributes:
        name: Its name within the application.
        kind: The dialect and driver.
        milliseconds: How long it took to answer; None when it didn't.
        problem: Why it didn't, without the driver's text.
        pools: Its connections and those to its replicas.
        migrations: Its schema's state.
    """

    name: str
    kind: str
    milliseconds: float | None
    problem: str | None
    pools: Sequence[PoolStatus]
    migrations: Migrations


async def database_status(
    app: FastAPI, name: str, expected: ExpectedRevisions | None, statement_timeout_ms: int
) -> DatabaseStatus:
    """Ask a database how it is: about a second when it does not answer."""
    database = get_database(app, name)
    pools = [_pool_status(engine) for engine in database.all_engines]
    milliseconds: float | None = None
    problem: str | None = None
    try:
        milliseconds = await database.ping(1.0) * 1000
    except PoolTimeout:
        problem = "all connections are in use"
    except SqlError:
        problem = "does not answer"
    migrations = Migrations()
    if problem is None:
        migrations = await _migrations(database, expected, statement_timeout_ms)
    kind = f"{database.engine.dialect.name}, {database.engine.dialect.driver}"
    return DatabaseStatus(name, kind, milliseconds, problem, pools, migrations)


def _pool_status(engine: AsyncEngine) -> PoolStatus:
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        return PoolStatus(_server(engine.url), 0, 0, None)
    # SQLAlchemy 2.1 has no public name for the largest overflow.
    limit = pool.size() + max(pool._max_overflow, 0)  # noqa: SLF001
    return PoolStatus(_server(engine.url), pool.checkedout(), pool.checkedin(), limit)


def _server(url: URL) -> str:
    port = "" if url.port is None else f":{url.port}"
    return "/".join(part for part in (f"{url.host or ''}{port}", url.database or "") if part) or "in memory"


async def _migrations(database: Database, expected: ExpectedRevisions | None, timeout_ms: int) -> Migrations:
    needed: tuple[str, ...] | None = None
    problem: str | None = None
    if expected is not None:
        try:
            needed = tuple(sorted(await asyncio.wait_for(_call(expected), _EXPECTED_SECONDS)))
        except Exception as error:  # noqa: BLE001 (the application's own function; the page says that it failed)
            problem = f"the expected revisions could not be found ({type(error).__name__})"
    try:
        async with database.session(readonly=True, statement_timeout_ms=timeout_ms) as session:
            connection = await session.connection()
            if not await connection.run_sync(lambda found: inspect_schema(found).has_table("alembic_version")):
                return Migrations(None, needed, problem)
            current = tuple((await session.execute(_VERSIONS)).scalars().all())
    except (SqlError, SQLAlchemyError):
        return Migrations(None, needed, problem)
    return Migrations(current, needed, problem)


async def _call(function: ExpectedRevisions) -> Collection[str]:
    # Reading migration scripts takes files and time, so a plain function runs in a thread.
    found = await asyncio.to_thread(function)
    return await found if inspect.isawaitable(found) else found


async def count_rows(
    app: FastAPI,
    resources: Iterable[AdminResource],
    tenant_of: Callable[[AdminResource], Awaitable[object]],
    statement_timeout_ms: int,
) -> dict[str, str]:
    """Return, by slug, how many rows each resource has: estimated or counted up to a limit, as a text.

    What was not counted when the time is up is "not counted"; the page is there all the same.
    """
    found: dict[str, str] = {}
    start = time.monotonic()
    for resource in resources:
        if time.monotonic() - start > _COUNT_BUDGET_SECONDS:
            found[resource.slug] = "not counted"
            continue
        try:
            tenant = await tenant_of(resource)
            found[resource.slug] = await _count(app, resource, tenant, statement_timeout_ms)
        except HTTPException:
            found[resource.slug] = "not allowed"
        except (TenantMissing, ProblemError):
            found[resource.slug] = "needs a tenant"
        except StatementTimeout:
            found[resource.slug] = "not counted"
        except (SqlError, SQLAlchemyError):
            found[resource.slug] = "can't be read"
    return found


async def _count(app: FastAPI, resource: AdminResource, tenant: object, timeout_ms: int) -> str:
    rows = resource.scoped(tenant)
    database = get_database(app, resource.database)
    async with database.session(readonly=True, statement_timeout_ms=timeout_ms) as session:
        is_whole = rows is resource.binding.repo and not rows.soft_delete
        if is_whole and database.engine.dialect.name == "postgresql":
            name = {"name": rows.fields.table.fullname}
            estimate: Any = await session.scalar(_ESTIMATE, name)
            if estimate is not None and estimate > COUNT_LIMIT:
                return f"about {number_text(int(estimate))}"
        count = await rows.count(session, at_most=COUNT_LIMIT + 1)
    return f"over {number_text(COUNT_LIMIT)}" if count > COUNT_LIMIT else number_text(count)


def declared_databases(app: FastAPI) -> list[str]:
    """Return the names of the application's databases."""
    return sorted(slots_of(app))
