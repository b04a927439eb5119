"""Leave a load balancer time to look elsewhere before the server stops taking connections.

    add_graceful_shutdown(app, delay_seconds=5)

A server closes its port as soon as SIGTERM arrives, while a load balancer goes on sending requests until it has seen a
failing readiness probe. With this, SIGTERM first turns every health route of the application unhealthy (503, liveness
excepted) and everything else goes on; after the delay the server is told, lets requests in flight finish and stops.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Final, TypeAlias

from fastapi import FastAPI
from svc_infra.api.fastapi.lifespan import wrap_lifespan

__all__ = ["add_graceful_shutdown", "is_draining"]

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

Handler: TypeAlias = Callable[[int, FrameType | None], object]

_ATTRIBUTE: Final = "svc_infra_draining"


def add_graceful_shutdown(app: FastAPI, *, delay_seconds: float = 5.0) -> None:
    """Turn readiness to 503 when SIGTERM arrives, and hand the signal to the server *delay_seconds* later.

    A second SIGTERM is handed on at once. It works under uvicorn, alone or below a process manager, which handles the
    signal in the main thread; where the lifespan runs in another thread, as in tests, nothing is installed.

    Args:
        app: The application; its lifespan must not have started yet.
        delay_seconds: What a load balancer needs to see the change: its probe's period times the failures it waits for,
            and a little more. The process needs that long and the longest request to end, so give it both.

    Raises:
        ValueError: The delay is negative.
    """
    if not delay_seconds >= 0:
        raise ValueError(f"add_graceful_shutdown: delay_seconds is {delay_seconds!r}; it can't be negative")

    @asynccontextmanager
    async def listening(started: FastAPI) -> AsyncIterator[None]:
        setattr(started.state, _ATTRIBUTE, False)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGTERM)
        handler = _delaying(started, before if callable(before) else _end, delay_seconds)
        signal.signal(signal.SIGTERM, handler)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGTERM) is handler:
                signal.signal(signal.SIGTERM, before)

    wrap_lifespan(app, listening)


def is_draining(app: FastAPI) -> bool:
    """Whether *app* was told to stop and answers its last requests."""
    return bool(getattr(app.state, _ATTRIBUTE, False))


def _delaying(app: FastAPI, server: Handler, delay_seconds: float) -> Handler:
    loop = asyncio.get_running_loop()

    def drain(number: int) -> None:
        logger.info("SIGTERM: readiness is 503 from now on, the server stops in %g s", delay_seconds)
        loop.call_later(delay_seconds, server, number, None)

    def handle(number: int, frame: FrameType | None) -> None:
        if is_draining(app):
            server(number, frame)
            return
        setattr(app.state, _ATTRIBUTE, True)
        loop.call_soon_threadsafe(drain, number)

    return handle


def _end(number: int, _frame: FrameType | None) -> None:
    """Do what the signal does in a program that does not handle it."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
