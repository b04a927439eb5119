"""Open and close a resource with the application, around the lifespan that it already has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI

__all__ = ["wrap_lifespan"]


def wrap_lifespan(app: FastAPI, resource: Callable[[FastAPI], AbstractAsyncContextManager[object]]) -> None:
    """Enter *resource* before the application's present lifespan starts and leave it after that one has ended.

    So the application's own start-up and shutdown code can use the resource, whichever was declared first. Each call
    wraps the result of the calls before it; an error while entering stops the start-up and closes what was already
    open.

    Args:
        app: The application; its lifespan must not have started yet.
        resource: Called with *app* at start, gives the context manager to enter.
    """
    inner: Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, object] | None]] = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[Mapping[str, object] | None]:
        async with resource(started), inner(started) as state:
            yield state

    app.router.lifespan_context = cast("Any", lifespan)
