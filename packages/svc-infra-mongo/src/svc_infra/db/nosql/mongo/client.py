"""The process's MongoDB client: open it at start, ask for its database anywhere, close it at the end.

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        await init_mongo()  # reads MONGO_URL and MONGO_DB from the environment
        yield
        await close_mongo()

These are functions over one `Mongo` object, for programs that have one deployment. Others hold `Mongo` objects.
"""

from __future__ import annotations

import threading

from svc_infra.db.nosql.mongo._fastapi import let_fastapi_write_ids
from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.errors import MongoAlreadyInitialised, MongoNotInitialised
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoDatabase

__all__ = ["acquire_db", "close_mongo", "init_mongo", "ping_mongo"]

_lock = threading.Lock()
_current: Mongo | None = None


async def init_mongo(settings: MongoSettings | None = None, *, ping: bool = True) -> MongoDatabase:
    """Open the client and return its database. Calling it again with the same settings returns the same.

    Args:
        settings: The configuration; None: the one in use, or what the environment says.
        ping: Whether to fail when no server answers. Without it the first operation finds out.

    Raises:
        MongoAlreadyInitialised: A client with other settings is open; close it first, or use a `Mongo` object.
        MongoUnreachable: No server answered within the settings' server selection timeout.
        svc_infra.dburl.errors.DatabaseUrlError: The environment's configuration is missing or malformed.
        MongoSettingsError: An option can't be used.
    """
    before = _current
    mongo = _open(settings)
    if not ping:
        return mongo.database()
    try:
        return await mongo.connect()
    except BaseException:
        if mongo is not before:
            # A start that failed leaves nothing behind, so that it can be tried again, with other settings too.
            await mongo.close()
        raise


async def acquire_db(name: str | None = None) -> MongoDatabase:
    """Return the database, for the loop that is running. Without `init_mongo` before, the environment's.

    Args:
        name: Another database of the same deployment.

    Raises:
        MongoNotInitialised: `close_mongo` was called last.
        svc_infra.dburl.errors.DatabaseUrlError: Nothing was opened before, and the environment's configuration is
            missing or malformed.
    """
    return _acquire().database(name)


async def ping_mongo(timeout: float = 2.0) -> bool:  # noqa: ASYNC109 - bounds a driver that ignores cancelling
    """Return True if a server answers within `timeout` seconds, False if not or after `close_mongo`. Never hangs.

    Raises:
        svc_infra.dburl.errors.DatabaseUrlError: Nothing was opened before, and the environment's configuration is
            missing or malformed: no time mends that.
    """
    try:
        mongo = _acquire()
    except MongoNotInitialised:
        return False
    return await mongo.ping(timeout=timeout)


async def close_mongo(timeout: float = 5.0) -> None:  # noqa: ASYNC109 - as above
    """Close the client within `timeout` seconds. Idempotent."""
    mongo = _current
    if mongo is not None:
        await mongo.close(timeout=timeout)


def _open(settings: MongoSettings | None) -> Mongo:
    global _current  # noqa: PLW0603 - the guide's functions are about one client per process
    with _lock:
        if _current is not None and not _current.closed:
            if settings is not None and settings != _current.settings:
                raise MongoAlreadyInitialised(
                    f"MongoDB is open with {_current.settings!r}, not {settings!r}; "
                    "call close_mongo() first, or use a Mongo object for a second deployment"
                )
            return _current
        _current = Mongo(settings)
        let_fastapi_write_ids()
        return _current


def _acquire() -> Mongo:
    if _current is not None and _current.closed:
        raise MongoNotInitialised("MongoDB was closed by close_mongo(); call init_mongo() to open it again")
    return _current or _open(None)
