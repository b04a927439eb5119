"""Whether the caller may see a resource on the page, and as which tenant: what its own routes would say.

The guards and the tenant resolver of a resource are FastAPI dependencies, so FastAPI resolves them here, too: those of
the route that lists records for the list, those of the route that reads one, with its id in the path, for a record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fastapi import Depends, FastAPI, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from svc_infra.api.fastapi.db.sql.route import depends_of
from svc_infra.api.fastapi.db.sql.state import ServedResource

__all__ = ["Admission", "Looking"]

Looking: TypeAlias = Literal["list", "get"]
"""What the caller wants to look at: rows, or one of them."""

_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_LOOKING: Final[tuple[Looking, ...]] = ("list", "get")
_TENANT: Final = "svc_infra.admin.tenant"


class Admission:
    """Asks what guards a resource.

    Args:
        app: The application, whose dependency overrides hold here, too.
        served: The resource.
        with_guards: Whether its guards are asked, and not its tenant resolver alone.
    """

    def __init__(self, app: FastAPI, served: ServedResource, *, with_guards: bool = True) -> None:
        self._handlers = {looking: _handler(app, served, looking, with_guards) for looking in _LOOKING}
        self._key = tuple(column.name for column in served.binding.id_columns)

    async def tenant_of(self, request: Request, looking: Looking, key: Sequence[str] = ()) -> object:
        """Return the tenant of the caller, None when there is none.

        Args:
            request: The request for the page.
            looking: What the caller wants to look at.
            key: The id of the record, as texts.

        Raises:
            HTTPException: A guard refuses, or asks for what a request for the page has not.
        """
        scope = {**request.scope, "path_params": dict(zip(self._key, key, strict=False))}
        try:
            await self._handlers[looking](Request(scope, request.receive))
        except RequestValidationError as error:
            raise HTTPException(403, "A guard of this resource asks for what this page can't send.") from error
        found: object = scope.get(_TENANT)
        return found


def _handler(app: FastAPI, served: ServedResource, looking: Looking, with_guards: bool) -> _Handler:
    resource = served.binding.resource
    guards: list[params.Depends] = []
    if with_guards:
        guards = [
            *app.router.dependencies,
            *served.dependencies,
            *depends_of(resource.dependencies),
            *depends_of(resource.options(looking).dependencies),
        ]

    async def endpoint(request: Request, tenant: object = Depends(served.tenant or _nobody)) -> Response:
        request.scope[_TENANT] = tenant
        return Response()

    endpoint.__annotations__ = {"request": Request, "tenant": object, "return": Response}
    path = resource.prefix + (served.binding.id_path if looking == "get" else "")
    inner = APIRoute(path, endpoint, response_model=None, dependencies=guards, dependency_overrides_provider=app)
    return inner.get_route_handler()


async def _nobody() -> None:
    """Stand in for the tenant of a resource without tenants."""
