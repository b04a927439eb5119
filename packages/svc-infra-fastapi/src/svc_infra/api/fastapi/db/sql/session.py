"""A database session for a route: one transaction per request, committed before the response leaves.

FastAPI ends a dependency of scope "function" when the endpoint has returned and its result is serialised, and before
the response is sent. So a failed commit (a deferred constraint, a lost connection) becomes an error response, never a
200.
Streaming responses and background tasks run after that: open a session of their own with
`database_of(request).session()`. In a WebSocket endpoint the session and its one transaction last until the endpoint
returns; one that stays open for long takes a session for each message in the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Annotated, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from fastapi import Depends
from svc_infra.api.fastapi.db.sql.state import DEFAULT, database_of
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.replicas import join_scope

__all__ = [
    "SessionDependency",
    "SqlReadSessionDep",
    "SqlSessionDep",
    "get_read_session",
    "get_session",
    "session_of",
]

SessionDependency: TypeAlias = Callable[[HTTPConnection], AsyncIterator[AsyncSession]]
"""A dependency that gives a session: `get_session`, `get_read_session`, or what `session_of` returns."""


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """Give a session of the default database; commit when the endpoint succeeds, else roll back.

    Rolled back on every exception, an HTTPException included, and when the request is cancelled. Override this function
    in `app.dependency_overrides` to give tests a session of their own.
    """
    async with _database(connection).session() as session:
        yield session


async def get_read_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """Give a read-only session of the default database, on a replica if one has what the request wrote."""
    async with _database(connection).session(readonly=True) as session:
        yield session


def session_of(name: str, *, readonly: bool = False) -> SessionDependency:
    """Return the dependency that gives a session of the database *name*, to be used with `scope="function"`.

        AuditSession = Annotated[AsyncSession, Depends(session_of("audit"), scope="function")]

    It is the same object at each call, so that all of a request, generated routes included, share one session.
    """
    if name == DEFAULT:
        return get_read_session if readonly else get_session
    return _named(name, readonly)


@cache
def _named(name: str, readonly: bool) -> SessionDependency:
    async def get_named_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
        async with _database(connection, name).session(readonly=readonly) as session:
            yield session

    return get_named_session


def _database(connection: HTTPConnection, name: str = DEFAULT) -> Database:
    """Return the open database; where it has read replicas, a request reads what it wrote, in all its sessions."""
    database = database_of(connection, name)
    if database.replicas is not None:
        join_scope(connection.scope)
    return database


SqlSessionDep: TypeAlias = Annotated[AsyncSession, Depends(get_session, scope="function")]
"""A session of the default database, as the type of an endpoint's parameter."""

SqlReadSessionDep: TypeAlias = Annotated[AsyncSession, Depends(get_read_session, scope="function")]
"""A read-only session of the default database, as the type of an endpoint's parameter."""
