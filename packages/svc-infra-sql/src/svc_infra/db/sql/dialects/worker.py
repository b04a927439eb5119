"""A thread that makes the blocking calls of one connection, in order, for coroutines of one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["Worker"]

T = TypeVar("T")
_Job = tuple[asyncio.Future[object] | None, Callable[[], object]]


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
        self.interrupt = interrupt
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
        self._jobs.put((future, call))  # type: ignore[arg-type]  # a Future is invariant, the queue only sets results
        try:
            return await future
        except asyncio.CancelledError:
            if self.interrupt is not None:
                self.interrupt()
            raise

    def stop(self) -> None:
        """End the thread after the calls already queued; does not wait."""
        if not self._stopped:
            self._stopped = True
            self._jobs.put(None)

    def post(self, call: Callable[[], object]) -> None:
        """Queue a call whose result and error nobody waits for; dropped when the worker was stopped."""
        if not self._stopped:
            self._jobs.put((None, call))

    def join(self, seconds: float) -> None:
        """Wait for the thread's end after `stop()`, at most `seconds`; blocks, so only when the end is near."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future is not None and future.cancelled():
                continue
            try:
                result, error = call(), None
            except BaseException as raised:  # noqa: BLE001 (handed over to the coroutine that waits)
                result, error = None, raised
            try:
                if future is not None:
                    self._loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                # The loop is closed: nobody waits any more, but the calls that close the connection must still run.
                continue
            finally:
                del (
                    job,
                    future,
                    call,
                    result,
                    error,
                )  # keep neither rows nor frames alive while waiting for the next call


def _settle(future: asyncio.Future[object], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if isinstance(error, StopIteration):  # can't be raised into a future
        error = RuntimeError(f"the driver raised {error!r}")
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
