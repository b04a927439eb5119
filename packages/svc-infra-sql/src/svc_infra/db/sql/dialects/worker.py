"""A thread that makes the blocking calls of one connection, in order, for coroutines of one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["Worker"]

T = TypeVar("T")

#: Seconds between two interruptions of a call: one that comes just before the call begins has no effect.
INSIST_SECONDS = 0.05


class _Job:
    """A call, and who waits for it."""

    __slots__ = ("call", "future", "is_done")

    def __init__(self, call: Callable[[], object], future: asyncio.Future[object] | None = None) -> None:
        self.call = call
        self.future = future
        self.is_done = False


class Worker:
    """One thread and its queue of calls.

    The thread starts at once and ends with `stop()`. It is a daemon, so that a connection that nobody closed does not
    keep the process alive.

    Args:
        name: The thread's name, for debuggers and stack dumps.
        interrupt: Called from the event loop's thread when a running call is cancelled; should make that call return
            early, and must not block.
    """

    __slots__ = ("_jobs", "_loop", "_stopped", "_thread", "interrupt")

    def __init__(self, name: str, interrupt: Callable[[], object] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._stopped = False
        self.interrupt: Callable[[], object] | None = interrupt
        self._thread.start()

    async def run(self, call: Callable[[], T]) -> T:
        """Make the call in the thread and wait for its result; its error is raised with its traceback.

        On cancellation a call that has not begun is dropped; a running one is interrupted and left to end by itself.

        Raises:
            RuntimeError: When the worker was stopped.
        """
        if self._stopped:
            raise RuntimeError("the connection is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        job = _Job(call, future)  # type: ignore[arg-type]  # a Future is invariant, the thread only sets its result
        self._jobs.put(job)
        try:
            return await future
        except asyncio.CancelledError:
            self._insist(job)
            raise

    def _insist(self, job: _Job) -> None:
        """Interrupt a call until it has ended."""
        if self.interrupt is None or job.is_done or self._loop.is_closed():
            return
        self.interrupt()
        self._loop.call_later(INSIST_SECONDS, self._insist, job)

    def stop(self) -> None:
        """End the thread after the calls already queued; does not wait."""
        if not self._stopped:
            self._stopped = True
            self._jobs.put(None)

    def post(self, call: Callable[[], object]) -> None:
        """Queue a call whose result and error nobody waits for; dropped when the worker was stopped."""
        if not self._stopped:
            self._jobs.put(_Job(call))

    def join(self, seconds: float) -> None:
        """Wait for the thread's end after `stop()`, at most `seconds`; blocks, so only when the end is near."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
            del job  # keep neither rows nor frames alive while waiting for the next call

    def _do(self, job: _Job) -> None:
        future = job.future
        if future is not None and future.cancelled():
            job.is_done = True
            return
        try:
            result, error = job.call(), None
        except BaseException as raised:  # noqa: BLE001 (handed over to the coroutine that waits)
            result, error = None, raised
        job.is_done = True
        if future is None:
            return
        # The loop may be closed: nobody waits any more, but the calls that close the connection must still run.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if isinstance(error, StopIteration):  # can't be raised into a future
        error = RuntimeError(f"the driver raised {error!r}")
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
