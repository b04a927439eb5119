"""The MongoDB deployments of an application, kept on `app.state`, so that two applications share nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from fastapi import FastAPI
from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.types import MongoDatabase
from svc_infra.health import HealthRegistry

__all__ = ["MongoNotStarted", "get_mongo"]

DEFAULT = "default"
_ATTRIBUTE = "svc_infra_mongo"


class MongoNotStarted(RuntimeError):
    """MongoDB was used that the application did not declare, or before its lifespan started or after it ended."""


@dataclass(slots=True)
class MongoSlot:
    """One declared deployment of an application.

    Attributes:
        name: The name by which routes choose it.
        connect: Makes the client at start.
        require_server: Whether the start fails when no server answers.
        implied: Whether `setup_mongo` declared it because nothing else had; an explicit declaration replaces it.
        mongo: The open client while the application runs.
        health: The check of this deployment, made at the first health request.
        checks: Called at start, before the client opens; raise to stop the start-up.
    """

    name: str
    connect: Callable[[], Mongo]
    require_server: bool
    implied: bool = False
    mongo: Mongo | None = None
    health: HealthRegistry | None = None
    checks: list[Callable[[FastAPI], None]] = field(default_factory=list)

    @asynccontextmanager
    async def opened(self, app: FastAPI) -> AsyncIterator[None]:
        """Keep the client open while the application runs."""
        for check in self.checks:
            check(app)
        mongo = self.connect()
        self.health = None
        try:
            if self.require_server:
                await mongo.connect()
            self.mongo = mongo
            yield
        finally:
            self.mongo = None
            await mongo.close()


def mongo_slots_of(app: FastAPI) -> dict[str, MongoSlot]:
    """Return the declared deployments of *app* by name, to be changed in place."""
    slots: dict[str, MongoSlot] | None = getattr(app.state, _ATTRIBUTE, None)
    if slots is None:
        slots = {}
        setattr(app.state, _ATTRIBUTE, slots)
    return slots


def get_mongo(app: FastAPI, name: str = DEFAULT) -> Mongo:
    """Return the open MongoDB client *name* of *app*.

    Raises:
        MongoNotStarted: `add_mongo_db` was not called for this name, or the application's lifespan is not running.
    """
    slot = mongo_slots_of(app).get(name)
    if slot is not None and slot.mongo is not None:
        return slot.mongo
    if slot is None:
        raise MongoNotStarted(f"MongoDB {name!r} is not declared: call add_mongo_db(app, name={name!r}) first.")
    raise MongoNotStarted(f"MongoDB {name!r} is declared but not open: the application's lifespan is not running.")


def mongo_database_of(connection: HTTPConnection, name: str = DEFAULT) -> MongoDatabase:
    """Return the configured database of deployment *name* of the application that serves *connection*."""
    return get_mongo(connection.app, name).database()
