"""One client per event loop, from the first use in that loop until it is closed.

Both drivers bind a client to the loop of its first use; in another loop Motor fails with "Event loop is closed" and
PyMongo with a RuntimeError, even on close. A web worker has one loop, but tests, scripts and threads have several, so a
`Mongo` keeps one client for each and lets go of those whose loop has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Self

from svc_infra.db.nosql.mongo.errors import MongoNotInitialised, MongoSettingsError, MongoUnreachable
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoClient, MongoDatabase

__all__ = ["Mongo"]

_logger = logging.getLogger("svc_infra.db.nosql.mongo")


class Mongo:
    """A MongoDB deployment, usable from any event loop of this process.

        async with Mongo(MongoSettings(url="mongodb://localhost", db_name="shop")) as mongo:
            await mongo.database().orders.insert_one({"total": 3})

    Several clusters are several objects; several databases of one cluster are `mongo.database("other")`.

    Args:
        settings: The configuration; None: what the environment says.
    """

    def __init__(self, settings: MongoSettings | None = None) -> None:
        self.settings: MongoSettings = settings if settings is not None else MongoSettings()
        self._clients: dict[asyncio.AbstractEventLoop, MongoClient] = {}
        self._closings: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def client(self) -> MongoClient:
        """Return the running loop's client, made at the first call. Nothing is sent to the server.

        Raises:
            MongoNotInitialised: The object was closed.
            MongoSettingsError: PyMongo does not accept an option.
            RuntimeError: No event loop is running.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise MongoNotInitialised("the MongoDB client is closed; open another one")
            self._forget_dead()
            client = self._clients.get(loop)
            if client is None:
                client = self._clients[loop] = _open(self.settings, loop)
            return client

    def database(self, name: str | None = None) -> MongoDatabase:
        """Return a database of the running loop's client: the configured one, or the one of that name."""
        return self.client()[name or self.settings.db_name]

    async def connect(self, *, timeout: float | None = None) -> MongoDatabase:  # noqa: ASYNC109 - bounds a driver that ignores cancelling
        """Make sure that a server answers and return the configured database.

        Args:
            timeout: Seconds to wait; None: the settings' server selection timeout.

        Raises:
            MongoUnreachable: No server answered in time, or it refused the credentials.
        """
        seconds = self.settings.server_selection_timeout_seconds if timeout is None else timeout
        error = await self._ping_error(seconds)
        if error is not None:
            raise MongoUnreachable(self._unreachable(error, seconds)) from error
        return self.database()

    async def ping(self, *, timeout: float = 2.0) -> bool:  # noqa: ASYNC109 - as above
        """Return whether a server answers within `timeout` seconds. Never raises for one that does not."""
        if self._closed:
            return False
        error = await self._ping_error(timeout)
        if error is not None:
            _logger.warning("MongoDB at %s does not answer: %s", self.settings.redacted_url, _explain(error))
        return error is None

    async def close(self, *, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - as above
        """Close the clients of all loops within `timeout` seconds. Idempotent; no client can be had afterwards."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, {}
            if self._pid != os.getpid():
                clients = {}
        here = asyncio.get_running_loop()
        import pymongo

        # Closing says goodbye to the server first; with a deadline the driver goes on to the sockets without an answer.
        with pymongo.timeout(timeout * 0.8):
            closings = [_close(client, loop, here) for loop, client in clients.items()]
            tasks = [asyncio.ensure_future(closing) for closing in closings if closing is not None]
        if not tasks:
            return
        done, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            # Not cancelled: a client whose closing is cut leaks its sockets, and this one may still end by itself.
            self._closings.add(task)
            task.add_done_callback(self._closed_late)
            _logger.warning("closing a MongoDB client took more than %g s and is no longer waited for", timeout)
        for task in done:
            if (error := task.exception()) is not None:
                _logger.warning("closing a MongoDB client failed: %s", _explain(error))

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _closed_late(self, task: asyncio.Future[None]) -> None:
        self._closings.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.warning("closing a MongoDB client failed: %s", _explain(error))

    def _forget_dead(self) -> None:
        if self._pid != os.getpid():
            # A forked child can't use the parent's connections, and closing them here would end the parent's sessions.
            self._clients, self._pid = {}, os.getpid()
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            client = self._clients.pop(loop)
            if self.settings.driver == "motor":
                # Motor's client is a synchronous one inside, which can be closed from anywhere.
                threading.Thread(target=client.close, name="close mongo client", daemon=True).start()

    def _unreachable(self, error: BaseException, seconds: float) -> str:
        from pymongo.errors import OperationFailure

        where = f"at {self.settings.redacted_url} (from {self.settings.source})"
        if isinstance(error, OperationFailure):
            return f"the MongoDB server {where} refused, check user, password and authSource: {_explain(error)}"
        return f"no MongoDB server answered within {seconds:g} s {where}: {_explain(error)}"

    async def _ping_error(self, seconds: float) -> BaseException | None:
        from pymongo.errors import PyMongoError

        pinging = asyncio.ensure_future(_ping(self.client(), seconds))
        # The driver keeps to its own deadline, which leaves the connection usable; this bound is for when it does not.
        done, _ = await asyncio.wait({pinging}, timeout=seconds + 0.25)
        if not done:
            pinging.cancel()
            return TimeoutError("the driver did not keep to its deadline")
        error = pinging.exception()
        if error is not None and not isinstance(error, PyMongoError | OSError | TimeoutError):
            raise error
        return error


async def _ping(client: MongoClient, seconds: float) -> None:
    import pymongo
    from pymongo.read_preferences import PrimaryPreferred

    with pymongo.timeout(seconds):
        await client.admin.command("ping", read_preference=PrimaryPreferred())


def _open(settings: MongoSettings, loop: asyncio.AbstractEventLoop) -> MongoClient:
    from pymongo.errors import ConfigurationError, InvalidURI

    try:
        options = _client_options(settings)
        if settings.driver == "pymongo":
            from pymongo.asynchronous.mongo_client import AsyncMongoClient

            return AsyncMongoClient(settings.url, **options)
        from motor.motor_asyncio import AsyncIOMotorClient

        return AsyncIOMotorClient(settings.url, io_loop=loop, **options)
    except (ConfigurationError, InvalidURI, TypeError, ValueError) as error:
        if isinstance(error, MongoSettingsError):
            raise
        raise MongoSettingsError(
            f"the MongoDB client can't be made from {settings.redacted_url} (from {settings.source}): {_explain(error)}"
        ) from error


def _client_options(settings: MongoSettings) -> dict[str, Any]:
    """Return the keyword arguments, which override the URL's options: hence only defaults that the URL does not set."""
    from pymongo.uri_parser import split_options

    query = settings.url.partition("?")[2]
    # Without this PyMongo only warns about an option that it does not know or can't read, and goes on without it.
    in_url = {name.lower() for name in split_options(query, validate=True, warn=False)} if query else set()
    defaults: dict[str, Any] = {
        "serverSelectionTimeoutMS": int(settings.server_selection_timeout_seconds * 1000),
        "waitQueueTimeoutMS": int(settings.wait_queue_timeout_seconds * 1000),
        # Without these a UUID can't be stored and datetimes come back naive.
        "uuidRepresentation": "standard",
        "tz_aware": True,
    }
    kept = {name: value for name, value in defaults.items() if name.lower() not in in_url}
    return {**kept, **settings.client_kwargs, **settings.options}


def _close(
    client: MongoClient, loop: asyncio.AbstractEventLoop, here: asyncio.AbstractEventLoop
) -> Awaitable[None] | None:
    from motor.motor_asyncio import AsyncIOMotorClient

    if isinstance(client, AsyncIOMotorClient):
        # It says goodbye to the server, blocking for as long as that takes.
        return asyncio.to_thread(client.close)
    if loop is here:
        return client.close()
    if loop.is_running():
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.close(), loop))
    return None  # it can't be closed outside its loop, which has ended


def _explain(error: BaseException) -> str:
    # PyMongo's texts name hosts and the state of the deployment, never a password.
    text = str(error).partition(", Topology Description")[0].partition(", full error:")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
