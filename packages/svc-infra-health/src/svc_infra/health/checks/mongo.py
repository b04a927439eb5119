"""Whether a MongoDB deployment answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from svc_infra.health.check import ClosableCheck, import_early, seconds_left
from svc_infra.health.checks.reach import why_unreachable
from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import Outcome

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient

__all__ = ["check_mongo"]


def check_mongo(
    url: str | None = None,
    *,
    connect_timeout: float = 2.0,
    writable: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> ClosableCheck:
    """Return a check that sends `ping` through a client of its own, with one connection.

    Args:
        url: A `mongodb://` or `mongodb+srv://` address. None: what `MONGO_URL`, `MONGO_URL_FILE` and so on say when the
            check runs.
        connect_timeout: Seconds that finding a server, connecting, and the answer may take. The check's own timeout
            bounds the whole.
        writable: Whether a primary must be there; by default any member that can answer is enough.
        environ: Where the address is looked up.
    """
    return _MongoCheck(url, connect_timeout, writable, environ)


class _MongoCheck:
    def __init__(self, url: str | None, connect_timeout: float, writable: bool, environ: Mapping[str, str]) -> None:
        self._url = url
        self._connect_timeout = connect_timeout
        self._writable = writable
        self._environ = environ
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        import_early("pymongo")

    async def __call__(self) -> Outcome:
        client = self._connected()
        from pymongo.errors import AutoReconnect, NetworkTimeout, ServerSelectionTimeoutError

        try:
            try:
                await self._ping(client)
            except (NetworkTimeout, ServerSelectionTimeoutError):
                raise
            except AutoReconnect:
                # A connection kept from the last check, closed by a restart. `ping` is not among the commands that the
                # driver tries again by itself.
                await self._ping(client)
        except ServerSelectionTimeoutError as error:
            raise await _told(client, error) from error
        return Outcome()

    async def _ping(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        import pymongo
        from pymongo.read_preferences import Primary, PrimaryPreferred

        preference = Primary() if self._writable else PrimaryPreferred()
        # Finding out why there is no server needs some of the time, too. A deadline inside the driver keeps the
        # connection usable; cancelling from outside costs it.
        with pymongo.timeout(seconds_left(self._connect_timeout) * 0.8):
            await client.admin.command("ping", read_preference=preference)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.close()

    def _connected(self) -> AsyncMongoClient[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        if self._client is not None and self._loop is loop:
            return self._client
        try:
            from pymongo import AsyncMongoClient
            from pymongo.errors import PyMongoError
        except ImportError as error:
            raise CheckFailed(
                "driver", "check_mongo needs the pymongo package: install svc-infra-health[mongo]"
            ) from error
        from svc_infra.dburl.mongo import resolve_mongo_url

        # A ping needs no database name; one that is missing is not this check's business.
        environ = {"MONGO_DB": "admin", **self._environ}
        if self._url:
            environ["MONGO_URL"] = self._url
        url = resolve_mongo_url(environ).url
        limit = int(self._connect_timeout * 1000)
        try:
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
                url,
                appname="svc-infra-health",
                maxPoolSize=1,
                minPoolSize=0,
                serverSelectionTimeoutMS=limit,
                connectTimeoutMS=limit,
                socketTimeoutMS=limit,
                waitQueueTimeoutMS=limit,
            )
        except PyMongoError as error:
            raise CheckFailed("configuration", f"the MongoDB address is not usable: {type(error).__name__}") from error
        self._client, self._loop = client, loop
        return client


async def _told(client: AsyncMongoClient[dict[str, Any]], error: Exception) -> CheckFailed:
    """Return why no server could be selected."""
    for host, port in client.topology_description.server_descriptions():
        reason = await why_unreachable(host, port) if port is not None else None
        if reason is not None:
            return CheckFailed(reason, f"no MongoDB server can be used; {host}:{port}: {reason}")
    return CheckFailed("unreachable", f"no MongoDB server can be used: {error}".partition(", Topology Description")[0])
