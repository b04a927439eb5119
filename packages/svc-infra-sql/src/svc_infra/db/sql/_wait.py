"""Waits that end by their bound even when a driver ignores its cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")

#: Tasks that nobody waits for: those that outlived their bound, and work in the background. Referenced here until they
#: end, as the event loop only refers to them weakly.
_unattended: set[asyncio.Task[object]] = set()


async def bounded(
    work: Coroutine[object, object, T], seconds: float, *, discard: Callable[[T], object] | None = None
) -> T:
    """Run `work` for at most `seconds`.

    `asyncio.wait_for` waits for the cancelled work to end, which on a frozen connection takes many seconds (psycopg) or
    for ever. Here the work is cancelled and left to itself.

    Args:
        work: What to run.
        seconds: How long.
        discard: Gets the result of work that ended in spite of its cancellation, for example to close it.

    Raises:
        TimeoutError: When the work has not ended in time.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        give_up(task, discard)
        raise
    if not done:
        give_up(task, discard)
        raise TimeoutError
    return task.result()


def start(work: Coroutine[object, object, object]) -> asyncio.Task[object]:
    """Run `work`, which must be bounded by itself, in the background."""
    task = asyncio.get_running_loop().create_task(work)
    _unattended.add(task)
    task.add_done_callback(_forget)
    return task


async def settle(seconds: float) -> None:
    """Wait for what was given up, and for the work in the background, of this event loop; at most `seconds`."""
    loop = asyncio.get_running_loop()
    tasks = {task for task in _unattended if task.get_loop() is loop}
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
        await asyncio.sleep(0)  # a transport that was closed meanwhile closes its socket in the loop's next turn


def give_up(task: asyncio.Task[T], discard: Callable[[T], object] | None = None) -> None:
    """Cancel a task that nobody waits for any longer; how it ends, then, is not reported as overlooked."""
    task.cancel()
    _unattended.add(task)
    task.add_done_callback(_forget)
    if discard is not None:
        task.add_done_callback(lambda ended: _discard(ended, discard))


def _discard(task: asyncio.Task[T], discard: Callable[[T], object]) -> None:
    if not task.cancelled() and task.exception() is None:
        discard(task.result())


def _forget(task: asyncio.Task[object]) -> None:
    _unattended.discard(task)
    if not task.cancelled():
        task.exception()  # fetched, so that asyncio does not report it as never retrieved
