"""A lock in the database, so that of many replicas that start at once one prepares and the others wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from svc_infra.db.nosql.mongo.errors import LockTimeout
from svc_infra.db.nosql.mongo.types import MongoDatabase

__all__ = ["LOCKS", "lease"]

LOCKS = "svc_infra_locks"
"""The collection that holds the locks."""

_POLL_SECONDS = 0.2


@asynccontextmanager
async def lease(
    db: MongoDatabase, name: str, *, wait_seconds: float = 60.0, lease_seconds: float = 60.0
) -> AsyncIterator[None]:
    """Hold a named lock while the block runs.

    It is renewed while the block runs and expires `lease_seconds` after its holder died, by the server's clock only as
    far as the replicas' clocks agree: choose it well above their difference.

    Args:
        db: The database that holds it.
        name: What is locked.
        wait_seconds: How long to wait for another holder.
        lease_seconds: How long the lock of a holder that died stays.

    Raises:
        LockTimeout: Another one holds it; the message says who.
    """
    locks: Any = cast("Any", db)[LOCKS]
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    await _acquire(locks, name, owner, wait_seconds, lease_seconds)
    renewing = asyncio.create_task(_renew(locks, name, owner, lease_seconds))
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        await asyncio.shield(locks.delete_one({"_id": name, "owner": owner}))


async def _acquire(locks: Any, name: str, owner: str, wait_seconds: float, lease_seconds: float) -> None:
    from pymongo.errors import DuplicateKeyError

    deadline = time.monotonic() + wait_seconds
    while True:
        now = datetime.now(UTC)
        taken = {"owner": owner, "until": now + timedelta(seconds=lease_seconds)}
        with contextlib.suppress(DuplicateKeyError):
            # Insert it, or take over one that has expired; a lock that is held matches neither and is a duplicate.
            await locks.update_one({"_id": name, "until": {"$lt": now}}, {"$set": taken}, upsert=True)
            return
        if time.monotonic() >= deadline:
            held = await locks.find_one({"_id": name}) or {}
            raise LockTimeout(
                f"the lock {name!r} is held by {held.get('owner', 'another process')}; waited {wait_seconds:g} s. "
                f"If that process is gone, the lock ends at {held.get('until')}"
            )
        await asyncio.sleep(min(_POLL_SECONDS, max(0.01, deadline - time.monotonic())))


async def _renew(locks: Any, name: str, owner: str, lease_seconds: float) -> None:
    while True:
        await asyncio.sleep(lease_seconds / 3)
        until = datetime.now(UTC) + timedelta(seconds=lease_seconds)
        await locks.update_one({"_id": name, "owner": owner}, {"$set": {"until": until}})
