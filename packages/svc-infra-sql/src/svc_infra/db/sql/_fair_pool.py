"""A pool whose connections go to whoever has waited longest.

SQLAlchemy's asyncio pool keeps its connections in an `asyncio.Queue`. There a returned connection only wakes the first
waiter; whoever asks before that one has run takes the connection, and the waiter goes to the end of the line. Under
load some callers wait until their timeout while others are served again and again: of 256 clients on 20 connections the
slowest hundredth waited for as long as the load lasted. Here a returned connection is handed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import Empty, Full, QueueCommon

T = TypeVar("T")


class FairQueue(QueueCommon[T]):
    """A queue that serves in the order of asking; used on one event loop at a time.

    Args:
        maxsize: How many items it takes; 0 for any number.
        use_lifo: Whether the item put last is given first.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        # Never are there both items and waiters: an item goes to the first waiter without a stay here.
        self._items: deque[T] = deque()
        self._waiters: deque[asyncio.Future[T]] = deque()

    def empty(self) -> bool:
        """Whether there is no item."""
        return not self._items

    def full(self) -> bool:
        """Whether no further item is taken."""
        return 0 < self.maxsize <= len(self._items)

    def qsize(self) -> int:
        """How many items there are."""
        return len(self._items)

    def put_nowait(self, item: T) -> None:
        """Give *item* to whoever waits longest, or keep it.

        Raises:
            Full: Nobody waits and there is no room.
        """
        if not self._hand_over(item):
            if self.full():
                raise Full
            self._items.append(item)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        """Put as `put_nowait`; the pool never waits for room."""
        self.put_nowait(item)

    def get_nowait(self) -> T:
        """Take an item that is there.

        Raises:
            Empty: There is none.
        """
        if not self._items:
            raise Empty
        return self._items.pop() if self.use_lifo else self._items.popleft()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item, waiting for one when *block*, at most *timeout* seconds; in SQLAlchemy's synchronous half.

        Raises:
            Empty: There was none, in time.
        """
        if self._items or not block:
            return self.get_nowait()
        return await_only(self._wait(timeout))

    async def _wait(self, timeout: float | None) -> T:  # noqa: ASYNC109 (SQLAlchemy's signature)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiters.append(waiter)
        timer = None if timeout is None else loop.call_later(timeout, self._expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.remove(waiter)
            elif waiter.exception() is None and not self._hand_over(waiter.result()):
                # It was let in while there was room for it, so it stays, full or not.
                self._items.append(waiter.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _expire(self, waiter: asyncio.Future[T]) -> None:
        if not waiter.done():
            self._waiters.remove(waiter)
            waiter.set_exception(Empty())

    def _hand_over(self, item: T) -> bool:
        # A cancelled waiter takes itself out of the line, when its task runs.
        waiter = next((waiter for waiter in self._waiters if not waiter.done()), None)
        if waiter is None:
            return False
        self._waiters.remove(waiter)
        waiter.set_result(item)
        return True


class FairQueuePool(AsyncAdaptedQueuePool):
    """SQLAlchemy's asyncio pool with a fair queue."""

    _queue_class: type[QueueCommon[ConnectionPoolEntry]] = FairQueue
    # Among SQLAlchemy's loggers, which are silent below WARNING unless asked; by its module it would not be one.
    _sqla_logger_namespace = "sqlalchemy.pool.FairQueuePool"
