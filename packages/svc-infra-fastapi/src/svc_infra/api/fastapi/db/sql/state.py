"""The databases of an application, kept on `app.state`, so that two applications in one process share nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from fastapi import FastAPI, params
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.db.sql.database import Database
from svc_infra.health import HealthRegistry

__all__ = ["DatabaseNotStarted", "ServedResource", "database_of", "get_database"]

DEFAULT = "default"
_ATTRIBUTE = "svc_infra_sql"


class DatabaseNotStarted(RuntimeError):
    """A database was used that the application did not declare, or before its lifespan started or after it ended."""


@dataclass(frozen=True, slots=True)
class ServedResource:
    """A resource that has generated routes, and what `setup_sql` was told about who may use them.

    Attributes:
        binding: The resource.
        tenant: The dependency that gives the tenant of a request, or None.
        dependencies: Guards of all routes of that call.
    """

    binding: ResourceBinding
    tenant: Callable[..., object] | None = None
    dependencies: Sequence[params.Depends] = ()


@dataclass(slots=True)
class DatabaseSlot:
    """One declared database of an application.

    Attributes:
        name: The name by which sessions and routes choose it.
        connect: Creates the Database at start, or None when *database* is the caller's own, who closes it.
        implied: Whether `setup_sql` declared it because nothing else had; an explicit declaration replaces it.
        database: The open database while the application runs.
        checks: Called at start, before the database opens; raise to stop the start-up.
        starts: Awaited at start with the open database; raise to stop the start-up.
        health: The check of this database, made at the first health request.
        served: The resources in this database that have generated routes.
    """

    name: str
    connect: Callable[[], Database] | None
    implied: bool = False
    database: Database | None = None
    checks: list[Callable[[FastAPI], None]] = field(default_factory=list)
    starts: list[Callable[[Database], Awaitable[None]]] = field(default_factory=list)
    health: HealthRegistry | None = None
    served: list[ServedResource] = field(default_factory=list)

    @asynccontextmanager
    async def opened(self, app: FastAPI) -> AsyncIterator[None]:
        """Keep the database open while the application runs; it may run several times, one after the other."""
        for check in self.checks:
            check(app)
        self.health = None
        if self.connect is None:
            await self._start(self.database)
            yield
            return
        database = self.connect()
        self.database = database
        try:
            await self._start(database)
            yield
        finally:
            self.database = None
            await database.close()

    async def _start(self, database: Database | None) -> None:
        if database is not None:
            for start in self.starts:
                await start(database)


def slots_of(app: FastAPI) -> dict[str, DatabaseSlot]:
    """Return the declared databases of *app* by name, to be changed in place."""
    slots: dict[str, DatabaseSlot] | None = getattr(app.state, _ATTRIBUTE, None)
    if slots is None:
        slots = {}
        setattr(app.state, _ATTRIBUTE, slots)
    return slots


def get_database(app: FastAPI, name: str = DEFAULT) -> Database:
    """Return the open database *name* of *app*.

    Raises:
        DatabaseNotStarted: `add_sql_db` was not called for this name, or the application's lifespan is not running.
    """
    slots: dict[str, DatabaseSlot] = getattr(app.state, _ATTRIBUTE, {})
    slot = slots.get(name)
    if slot is not None and slot.database is not None:
        return slot.database
    call = "add_sql_db(app, ...)" if name == DEFAULT else f"add_sql_db(app, name={name!r}, ...)"
    if slot is None:
        known = f" It knows {', '.join(sorted(slots))}." if slots else ""
        raise DatabaseNotStarted(f"Database not initialized. Call {call} first.{known}")
    raise DatabaseNotStarted(
        f"The database {name!r} is declared but not open: the application's lifespan is not running. A server runs"
        " it; in a test use `with TestClient(app)` or run `app.router.lifespan_context(app)`. A mounted"
        " application's lifespan is not run by its parent."
    )


def database_of(connection: HTTPConnection, name: str = DEFAULT) -> Database:
    """Return the open database *name* of the application that serves *connection*, a request or a WebSocket.

    For work that outlives the request's own session, such as a background task, which opens one of its own:

        tasks.add_task(send_receipts, database_of(request))

    Raises:
        DatabaseNotStarted: As `get_database`.
    """
    return get_database(connection.app, name)
