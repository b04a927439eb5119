"""What may be registered as a check, and how a callable of any kind is run without blocking the loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import importlib
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import Outcome

__all__ = ["Check", "CheckReturn", "ClosableCheck", "Worker", "call", "import_early", "seconds_left"]

T = TypeVar("T")

CheckReturn: TypeAlias = Outcome | bool | None
"""None and True mean healthy, False unhealthy; an `Outcome` says more. Raising means unhealthy."""

Check: TypeAlias = Callable[[], CheckReturn | Awaitable[CheckReturn]]
"""A function without arguments, sync or async. A sync one runs in a thread of its own."""


@runtime_checkable
class ClosableCheck(Protocol):
    """A check that holds something open, such as a connection."""

    def __call__(self) -> Awaitable[CheckReturn]:
        """Run the check."""
        ...

    async def aclose(self) -> None:
        """Let go of what is held; the check may be used again afterwards."""
        ...


class Worker:
    """Runs blocking functions in a daemon thread, one at a time.

    Not the loop's default executor: a thread there that never returns blocks `asyncio.run` and the exit of the
    interpreter, and a few of them starve everything else that uses it. A thread can't be cancelled, so while one still
    hangs no other is started: the number of stuck threads is one, not one per probe.
    """

    def __init__(self) -> None:
        self._ended: threading.Event | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """Run the function in a thread and wait for its result. Cancelling stops the wait, not the thread.

        Raises:
            CheckFailed: The thread of an earlier call still hangs.
        """
        if self._ended is not None and not self._ended.is_set():
            raise CheckFailed(
                "timeout", "an earlier run of this check still hangs in its thread, so no other is started"
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        ended = self._ended = threading.Event()

        def deliver(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = context.run(function)
            except StopIteration as stopped:  # a future refuses to carry it
                error = RuntimeError("the check raised StopIteration")
                error.__cause__ = stopped
            except BaseException as raised:  # noqa: BLE001 - handed to the waiter
                error = raised
            ended.set()
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile; nobody waits any more
                loop.call_soon_threadsafe(deliver, result, error)

        threading.Thread(target=work, name="health check", daemon=True).start()
        return await future


_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("health_check_deadline", default=None)


def seconds_left(most: float) -> float:
    """Return how long a check may still take, up to `most`: a little less than until it is given up.

    With it a check can give its driver a deadline, so that the driver says what is wrong ("refused") before the check
    is reported as timed out.
    """
    deadline = _deadline.get()
    if deadline is None:
        return most
    left = deadline - time.monotonic()
    return max(0.01, min(most, left - max(0.05, left * 0.1)))


async def call(check: Check, worker: Worker, timeout: float) -> Outcome:  # noqa: ASYNC109 - only told to the check
    """Run a check of any kind and return its outcome; what it raises passes through.

    Args:
        check: The check.
        worker: Where it runs if it is a sync one.
        timeout: Seconds after which it will be given up.
    """
    _deadline.set(time.monotonic() + timeout)
    returned: CheckReturn | Awaitable[CheckReturn]
    returned = check() if _is_async(check) else await worker.run(check)
    if inspect.isawaitable(returned):
        returned = await returned
    if isinstance(returned, Outcome):
        return returned
    if returned is None or returned is True:
        return Outcome()
    if returned is False:
        return Outcome(status="unhealthy", reason="failed", detail="the check returned False")
    raise TypeError(f"a check returns None, a bool or an Outcome, not {type(returned).__name__}")


def import_early(module: str) -> None:
    """Import a driver when its check is made: the first import takes longer than a probe may.

    One that is missing is reported by the check when it runs.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module(module)


def _is_async(check: Check) -> bool:
    unwrapped = inspect.unwrap(check)
    while hasattr(unwrapped, "func"):  # functools.partial
        unwrapped = unwrapped.func
    return inspect.iscoroutinefunction(unwrapped) or inspect.iscoroutinefunction(getattr(unwrapped, "__call__", None))  # noqa: B004
