"""A call of a driver that goes on while its caller does other things."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final, TypeVar

from sqlalchemy.util import await_only

from svc_infra.db.sql._wait import give_up

__all__ = ["begin"]

T = TypeVar("T")

#: Seconds in which a call must end that is cancelled before it has sent what it has to send.
CANCEL_SECONDS: Final = 5.0


def begin(call: Coroutine[object, object, T], is_sent: asyncio.Future[None] | None = None) -> asyncio.Task[T]:
    """Begin a call of a driver, and return when it has sent what it has to send; in SQLAlchemy's synchronous half.

    Args:
        call: What to call.
        is_sent: Done when everything is sent; without, that is so when the call waits for the first time.

    Returns:
        The call, whose end has to be awaited, with a bound.
    """
    task = asyncio.get_running_loop().create_task(call)
    try:
        await_only(_sent(task, is_sent))
    except BaseException:
        give_up(task)
        await_only(asyncio.wait({task}, timeout=CANCEL_SECONDS))
        raise
    return task


async def _sent(task: asyncio.Task[T], is_sent: asyncio.Future[None] | None) -> None:
    if is_sent is not None:
        task.add_done_callback(lambda _: _note(is_sent))  # it may fail before
        await is_sent
        return
    # It runs in the loop's next turn; uvloop writes at that turn's end.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _note(is_sent: asyncio.Future[None]) -> None:
    if not is_sent.done():
        is_sent.set_result(None)
