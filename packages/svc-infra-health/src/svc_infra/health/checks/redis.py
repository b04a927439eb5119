"""Whether a Redis or Valkey server answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from svc_infra.dburl.variables import read_variables
from svc_infra.health.check import ClosableCheck, import_early
from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import Outcome

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["check_redis"]


def check_redis(
    url: str | None = None, *, connect_timeout: float = 2.0, environ: Mapping[str, str] = os.environ
) -> ClosableCheck:
    """Return a check that sends PING over one connection of its own.

    Args:
        url: `redis://`, `rediss://` or `unix://`. None: `REDIS_URL` of `environ`, read when the check runs.
        connect_timeout: Seconds that connecting, and each answer, may take. The check's own timeout bounds the whole.
        environ: Where `REDIS_URL` is looked up, with the project's .env file behind it.
    """
    return _RedisCheck(url, connect_timeout, environ)


class _RedisCheck:
    def __init__(self, url: str | None, connect_timeout: float, environ: Mapping[str, str]) -> None:
        self._url = url
        self._connect_timeout = connect_timeout
        self._environ = environ
        self._client: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        import_early("redis.asyncio")

    async def __call__(self) -> Outcome:
        client = self._connected()
        await client.ping()
        return Outcome()

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _connected(self) -> Redis:
        loop = asyncio.get_running_loop()
        if self._client is not None and self._loop is loop:
            return self._client
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise CheckFailed(
                "driver", "check_redis needs the redis package: install svc-infra-health[redis]"
            ) from error
        url = self._url or read_variables(self._environ).get("REDIS_URL", "").strip()
        if not url:
            raise CheckFailed("configuration", "no Redis address: check_redis was given none and REDIS_URL is not set")
        try:
            client: Redis = Redis.from_url(
                url,
                socket_timeout=self._connect_timeout,
                socket_connect_timeout=self._connect_timeout,
                # One retry, at once: a connection kept from the last check may have been closed by a restart.
                retry=Retry(NoBackoff(), 1),
                max_connections=1,
            )
        except ValueError as error:
            # redis-py's text may quote the address, password included.
            raise CheckFailed(
                "configuration", "the Redis address is not redis://, rediss:// or unix://, or is malformed"
            ) from error
        self._client, self._loop = client, loop
        return client
