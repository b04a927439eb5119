"""Waits that end by their bound even when a driver ignores its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

#: Tasks that outlived their bound; referenced here until they end, as the event loop only refers to them weakly.
_abandoned: set[asyncio.Task[object]] = set()


async def bounded(work: Coroutine[object, object, T], seconds: float) -> T:
    """Run `work` for at most `seconds`.

    `asyncio.wait_for` waits for the cancelled work to end, which on a frozen connection takes many seconds (psycopg) or
    for ever. Here the work is cancelled and left to itself.

    Raises:
        TimeoutError: When the work has not ended in time.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise TimeoutError
    return task.result()


def _abandon(task: asyncio.Task[T]) -> None:
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[object]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # fetched, so that asyncio does not report it as never retrieved
