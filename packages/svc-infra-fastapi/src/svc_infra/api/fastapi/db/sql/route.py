"""A generated route: documented like any FastAPI route, run without what a generated route does not need.

FastAPI's own handler resolves a dependency graph, validates each parameter and the response, and keeps two exit stacks
for every request. A generated route knows its parameters, so when nothing else is asked of it (no dependencies, no
overrides) its operation is called directly. With dependencies, FastAPI resolves them and nothing else changes: the same
operation runs, on the session that the dependencies use too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from fastapi import Depends, params
from fastapi.dependencies.models import Dependant
from fastapi.exception_handlers import http_exception_handler
from fastapi.routing import APIRoute
from svc_infra.api.fastapi.db.sql.body import read_body, replayed
from svc_infra.api.fastapi.db.sql.session import SessionDependency, session_of
from svc_infra.api.fastapi.db.sql.state import DEFAULT, database_of
from svc_infra.api.fastapi.problem_document import problem_fields, problem_response
from svc_infra.api.fastapi.problems import Problem, ProblemError, problem_of, with_members, without_field
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.reading import Executor
from svc_infra.db.sql.session import UNABLE_TO_REFUSE_WRITES, commit_in_time

__all__ = ["SQL", "Backend", "Call", "Operation", "ResourceRoute", "RouteSessions", "RouteSpec"]


@dataclass(frozen=True, slots=True)
class RouteSessions:
    """The dependencies that give sessions of a route's database, each as FastAPI's `Depends` takes it.

    A request takes one connection at a time: requests that hold one, which a guard has read with, and wait for a second
    would fill the pool and wait for each other.

    Attributes:
        shared: On whose session the route can run. Of those that its guards use it takes the last.
        others: On whose session it can't run. What guards have begun there ends before the route begins.
    """

    shared: tuple[SessionDependency, ...] = ()
    others: tuple[SessionDependency, ...] = ()


@dataclass(slots=True)
class Call:
    """One request to a generated route.

    Attributes:
        request: The request.
        database: The database, for what outlives the request's session, such as a stream.
        readonly: Whether the route only reads, so that a replica may serve it.
        tenant: The tenant of the request, None where the resource has none.
        session: The session that the request's dependencies use too; None when none of them does.
    """

    request: Request
    database: Database
    readonly: bool = False
    tenant: object = None
    session: AsyncSession | None = None

    def open_session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open the session of the request; leaving it commits or rolls back, unless FastAPI does that."""
        return self.database.session(readonly=self.readonly) if self.session is None else nullcontext(self.session)

    def open_reader(self) -> AbstractAsyncContextManager[Executor]:
        """Open what one SELECT runs on, which is cheaper than a session."""
        return self.database.lone(readonly=True) if self.session is None else nullcontext(self.session)

    def open_writer(self) -> AbstractAsyncContextManager[Executor]:
        """Open what one INSERT, UPDATE or DELETE runs on."""
        return self.database.lone() if self.session is None else nullcontext(self.session)


class Operation(Protocol):
    """What a generated route does."""

    async def __call__(self, call: Any, /) -> Response:
        """Answer the request; *call* is what the backend of the route makes of it."""
        ...


class Backend(Protocol):
    """What a kind of database gives to its routes."""

    def call(
        self, request: Request, spec: RouteSpec, tenant: object = None, session: AsyncSession | None = None
    ) -> object:
        """Return what an operation is called with."""
        ...

    def sessions(self, spec: RouteSpec) -> RouteSessions:
        """Return the dependencies that give sessions of the route's database."""
        ...

    def problem_of(self, error: Exception) -> Problem | None:
        """Return the problem that *error* stands for, or None when it is a bug."""
        ...


class SqlBackend:
    """The backend of databases that SQLAlchemy speaks to."""

    def call(
        self, request: Request, spec: RouteSpec, tenant: object = None, session: AsyncSession | None = None
    ) -> Call:
        """Return the call on the route's database."""
        return Call(request, database_of(request, spec.database), spec.readonly, tenant, session)

    def sessions(self, spec: RouteSpec) -> RouteSessions:
        """Return what is behind `SqlReadSessionDep` and `SqlSessionDep`; a route that reads can run on both."""
        reading, writing = session_of(spec.database, readonly=True), session_of(spec.database)
        if spec.streams:
            return RouteSessions((), (reading, writing))
        return RouteSessions((reading, writing), ()) if spec.readonly else RouteSessions((writing,), (reading,))

    def problem_of(self, error: Exception) -> Problem | None:
        """Return the problem of an error of SQL, of a request or of HTTP."""
        return problem_of(error)


SQL: Final[Backend] = SqlBackend()


@dataclass(frozen=True)
class RouteSpec:
    """What a route needs besides its operation.

    Attributes:
        readonly: Whether it only reads, so that a replica may serve it.
        streams: Whether it reads with a session of its own, which lasts until the answer is sent.
        database: Name of the database.
        backend: What that kind of database gives to its routes.
        tenant: The dependency that gives the tenant, or None.
        path_parameters: Name and annotation of each path parameter, for the document.
        body: The schema of the body, for the document.
        max_body_bytes: The largest body, where the operation reads it whole; None where it takes none or a stream.
        tenant_field: The field that holds the tenant, or None; problems about several fields do not name it.
        members: For each column that is called otherwise in the body, the member's name.
        problems: Status codes of the problems that it may answer with.
        reserved: Paths that its own path would match and that other routes have: an id can't be one of their names.
    """

    readonly: bool = False
    streams: bool = False
    database: str = DEFAULT
    backend: Backend = SQL
    tenant: Callable[..., object] | None = None
    tenant_field: str | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    path_parameters: Mapping[str, object] = field(default_factory=dict)
    body: object = None
    max_body_bytes: int | None = None
    problems: Sequence[int] = ()
    reserved: Sequence[str] = ()


class ResourceRoute(APIRoute):
    """An APIRoute that runs an `Operation`; with and without a slash at the end of its path.

    Args:
        path: The path, as for any route.
        operation: What it does.
        spec: What it needs.
        options: Everything else that `APIRoute` takes.
    """

    def __init__(self, path: str, operation: Operation, *, spec: RouteSpec, **options: Any) -> None:
        self.operation = operation
        self.spec = spec
        responses = dict(options.pop("responses", None) or {})
        for status in spec.problems:
            responses.setdefault(status, problem_response(status))
        super().__init__(path, _documented(operation, spec), responses=responses, **options)
        # The problem's schema has to be in the document although its media type is not the route's.
        self.response_fields: dict[int | str, Any] = {**self.response_fields, **problem_fields()}
        # One route serves both forms of the path, so that neither redirects nor doubles the routes to try.
        others = "|".join(re.escape(other) for other in spec.reserved)
        start = rf"^(?!(?:{others})/?\Z)" if others else "^"
        pattern = self.path_regex.pattern.removeprefix("^").removesuffix("$")
        # Not "$", which would let a line feed after it pass, so that the id "\n" would mean the collection.
        self.path_regex: re.Pattern[str] = re.compile(rf"{start}{pattern}/?\Z")
        self._through_fastapi = self.app
        if not self.dependencies and spec.tenant is None:
            self.app: ASGIApp = self._answer

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a route with dependencies or with an overridden session, which FastAPI resolves."""
        spec = self.spec
        self._sessions = spec.backend.sessions(spec)
        apart = _guarded_handler(self)
        shared = [session for session in self._sessions.shared if _depends_on(apart.dependant, session)]
        ended = [session for session in self._sessions.others if _depends_on(apart.dependant, session)] + shared[:-1]
        if shared or ended:
            guarded = _guarded_handler(self, shared[-1] if shared else None, ended)
            return _answering(_reading_first(guarded.handler, spec.max_body_bytes), spec)

        @cache
        def overriding(session: SessionDependency) -> _Guarded:
            return _guarded_handler(self, session)

        async def handle(request: Request) -> Response:
            overridden = self._overridden(request.app.dependency_overrides)
            return await (apart if overridden is None else overriding(overridden)).handler(request)

        return _answering(handle, spec)

    def _overridden(self, overrides: Mapping[Callable[..., object], object]) -> SessionDependency | None:
        """The dependency of the route's session that an application's tests replace, if one is."""
        return next((each for each in self._sessions.shared if each in overrides), None) if overrides else None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of a route without dependencies, as an ASGI application of its own.

        Errors are answered by the application's middleware, as those of any route.
        """
        if self._overridden(scope["app"].dependency_overrides) is not None:
            await self._through_fastapi(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await self.operation(self.spec.backend.call(request, self.spec))
        except Exception as error:
            _raise_problem(request, error, self.spec)
            raise
        await response(scope, receive, send)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the route serves a request; most do not, which the path alone tells."""
        if not scope.get("root_path") and self.path_regex.match(scope["path"]) is None:
            return Match.NONE, {}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a method that no route of this path has by the problem 405 with all methods of the path."""
        if self.methods and scope["method"] not in self.methods and "app" in scope:
            allowed = _allowed_methods(scope)
            headers = {"Allow": ", ".join(sorted(allowed or self.methods))}
            raise ProblemError(Problem("method-not-allowed", 405, "Method Not Allowed", headers=headers))
        await super().handle(scope, receive, send)


def _allowed_methods(scope: Scope) -> set[str]:
    found: set[str] = set()
    for route in scope["app"].router.routes:
        if isinstance(route, ResourceRoute) and route.path_regex.match(scope["path"]):
            found |= route.methods or set()
    return found


def _answering(
    handler: Callable[[Request], Awaitable[Response]], spec: RouteSpec
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Raise every known error as a `ProblemError`, for which `setup_sql` installs a handler.

    It has to be raised and can't be answered here: FastAPI ends the session's dependency after this handler, and the
    error must reach it for the transaction to be rolled back.
    """

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            _raise_problem(request, error, spec)
            raise

    return answer


def _raise_problem(request: Request, error: Exception, spec: RouteSpec) -> None:
    """Raise the problem that an error is, if it is one and not the application's own to answer."""
    if isinstance(error, ProblemError):
        error.problem = without_field(with_members(error.problem, spec.members), spec.tenant_field)
        return
    known = request.app.exception_handlers
    if isinstance(error, HTTPException) and known.get(HTTPException) is not http_exception_handler:
        return
    problem = spec.backend.problem_of(error)
    if problem is not None:
        raise ProblemError(without_field(with_members(problem, spec.members), spec.tenant_field)) from error


def _reading_first(
    handler: Callable[[Request], Awaitable[Response]], limit: int | None
) -> Callable[[Request], Awaitable[Response]]:
    """Read the body before the dependencies run: one that queries takes a connection, and clients may be slow."""
    if limit is None:
        return handler

    async def handle(request: Request) -> Response:
        return await handler(replayed(request, await read_body(request, limit)))

    return handle


@dataclass(frozen=True)
class _Guarded:
    """A handler of FastAPI's with what it depends on."""

    handler: Callable[[Request], Coroutine[Any, Any, Response]]
    dependant: Dependant


def _depends_on(dependant: Dependant, wanted: Callable[..., object]) -> bool:
    return any(each.call is wanted or _depends_on(each, wanted) for each in dependant.dependencies)


def _guarded_handler(
    route: ResourceRoute, session: SessionDependency | None = None, ended: Sequence[SessionDependency] = ()
) -> _Guarded:
    """Return FastAPI's handler of an endpoint that has the route's dependencies and none of its parameters.

    Args:
        route: The route.
        session: The dependency that gives the session that the operation shares with others; None when none needs it,
            so that the operation opens what it wants.
        ended: Those that give sessions whose transaction ends before the operation begins. Not one that is overridden:
            what an application's tests have begun is theirs to end.
    """
    operation, spec = route.operation, route.spec
    to_end = {f"ended_{place}": dependency for place, dependency in enumerate(ended)}

    async def endpoint(
        request: Request, session: AsyncSession | None = None, tenant: object = None, **held: AsyncSession
    ) -> Response:
        for name, dependency in to_end.items():
            if dependency not in request.app.dependency_overrides:
                await _end(held[name], database_of(request, spec.database))
        return await operation(spec.backend.call(request, spec, tenant, session))

    annotations: dict[str, object] = {"request": Request}
    if session is not None:
        annotations["session"] = Annotated[AsyncSession, Depends(session, scope="function")]
    if spec.tenant is not None:
        annotations["tenant"] = Annotated[object, Depends(spec.tenant)]
    for name, dependency in to_end.items():
        annotations[name] = Annotated[AsyncSession, Depends(dependency, scope="function")]
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    _sign(endpoint, parameters, Response)
    inner = APIRoute(
        route.path,
        endpoint,
        response_model=None,
        dependencies=route.dependencies,
        dependency_overrides_provider=route.dependency_overrides_provider,
        methods=["POST"],
    )
    return _Guarded(inner.get_route_handler(), inner.dependant)


async def _end(session: AsyncSession, database: Database) -> None:
    """End what guards have begun, so that its connection goes back to the pool; their objects stay as they are.

    Not where a commit could keep what was written in a read-only session, which only the session's end undoes there.
    """
    if session.in_transaction() and database.engine.dialect.name not in UNABLE_TO_REFUSE_WRITES:
        await commit_in_time(session, database)


def _documented(operation: Operation, spec: RouteSpec) -> Callable[..., object]:
    """Return a function with the signature that the OpenAPI document shall describe; it is never called."""

    async def endpoint(**_: object) -> Response:
        raise NotImplementedError

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for name, annotation in spec.path_parameters.items()
    ]
    if spec.tenant is not None:
        parameters.append(
            inspect.Parameter(
                "tenant", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[object, Depends(spec.tenant)]
            )
        )
    if spec.body is not None:
        parameters.append(inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, annotation=spec.body))
    _sign(endpoint, parameters, None)
    endpoint.__name__ = getattr(operation, "name", "operation")
    endpoint.__doc__ = getattr(operation, "description", None)
    return endpoint


def _sign(function: Callable[..., object], parameters: list[inspect.Parameter], returned: object) -> None:
    function.__signature__ = inspect.Signature(parameters, return_annotation=returned)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def depends_of(dependencies: Sequence[object]) -> list[params.Depends]:
    """Return *dependencies* as FastAPI's `Depends`, a plain callable being wrapped."""
    found: list[params.Depends] = []
    for dependency in dependencies:
        if isinstance(dependency, params.Depends):
            found.append(dependency)
        elif callable(dependency):
            found.append(Depends(dependency))
        else:
            raise TypeError(f"a guard is Depends(...) or a function, not {dependency!r}")
    return found
