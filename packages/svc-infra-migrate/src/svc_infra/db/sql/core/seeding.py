"""Filling a database by a function of the project."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard, cast

from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.errors import MigrationError
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sqlalchemy import Connection

    from svc_infra.dburl import ResolvedUrl

__all__ = ["seed"]


def seed(target: str, *, database_url: str | None = None, project: Project | None = None) -> object:
    """Call a function of the project that fills the database.

    A function that takes a parameter is given a session in a transaction, which is committed when it returns and rolled
    back when it raises: an `AsyncSession` when the function is async, else a `Session`.

    Args:
        target: "module:function", imported from the project's folder or its `src`.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.

    Returns:
        What the function returns.

    Raises:
        MigrationError: There is no such function, its module can't be imported, or it raised.
    """
    project = project or any_project()
    function = _load(target, project)
    wants_session = bool(inspect.signature(function).parameters)
    resolved = resolve_target(project, database_url) if wants_session else None
    try:
        if _is_async(function):
            return run_blocking(lambda: asyncio.run(_call_async(function, resolved)))
        result = (
            function()
            if resolved is None
            else run_blocking(lambda: run_on_connection(resolved, lambda connection: _call(function, connection)))
        )
    except Exception as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise MigrationError(
            f"{target} failed{', and its transaction was rolled back' if wants_session else ''}: "
            f"{type(error).__name__}: {reason}"
        ) from error
    if inspect.iscoroutine(result):
        result.close()
        raise MigrationError(f"{target} is a sync function that returned a coroutine; define it with async def")
    return result


def _is_async(function: Callable[..., object]) -> TypeGuard[Callable[..., Coroutine[object, object, object]]]:
    """Tell whether calling it gives a coroutine: an async function, a partial of one, or an object with such a call."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004


def _load(target: str, project: Project) -> Callable[..., object]:
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise MigrationError(f"a seed is module:function, got {target!r}")
    for root in reversed(project.source_roots):
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise MigrationError(f"can't import {module_name} to seed from: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise MigrationError(f"{module_name} has no function {name}")
    return cast("Callable[..., object]", function)


async def _call_async(
    function: Callable[..., Coroutine[object, object, object]], resolved: ResolvedUrl | None
) -> object:
    if resolved is None:
        return await function()
    from svc_infra.db.sql.database import Database

    async with Database(resolved.with_mode("async")) as database, database.session() as session:
        return await function(session)


def _call(function: Callable[..., object], connection: Connection) -> object:
    from sqlalchemy.orm import Session

    with Session(connection) as session, session.begin():
        return function(session)
