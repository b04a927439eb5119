"""Puts the routes of a MongoDB resource on an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, cast

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from fastapi import Depends, FastAPI, Path, params
from fastapi.routing import APIRoute
from svc_infra.api.fastapi.db.nosql.mongo import operations
from svc_infra.api.fastapi.db.nosql.mongo.binding import MongoBinding
from svc_infra.api.fastapi.db.nosql.mongo.operations import MongoCall
from svc_infra.api.fastapi.db.nosql.mongo.problems import mongo_problem_of
from svc_infra.api.fastapi.db.nosql.mongo.state import mongo_database_of
from svc_infra.api.fastapi.db.sql.nouns import claim_slug
from svc_infra.api.fastapi.db.sql.operations import Head
from svc_infra.api.fastapi.db.sql.query_document import item_parameters, list_parameters
from svc_infra.api.fastapi.db.sql.route import Operation, ResourceRoute, RouteSpec
from svc_infra.api.fastapi.db.sql.schemas import page_schema_of, selection_schema_of
from svc_infra.api.fastapi.problems import ProblemError
from svc_infra.db.nosql.mongo.resource import MongoAction

__all__ = ["MongoResourceRoutes"]

_WRITE_PROBLEMS: Final = (409, 413, 415, 422, 503)


class _MongoOperation(Protocol):
    async def __call__(self, call: MongoCall, /) -> Response: ...


class MongoRoute(ResourceRoute):
    """A generated route on a MongoDB deployment: documented as those of SQL resources, resolved by FastAPI."""

    def __init__(self, path: str, operation: Operation, *, spec: RouteSpec, **options: Any) -> None:
        super().__init__(path, operation, spec=spec, **options)
        self.app: ASGIApp = self._through_fastapi

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler: FastAPI resolves the dependencies, the operation answers, errors become problems."""
        operation, name = cast("_MongoOperation", self.operation), self.spec.database

        async def endpoint(request: Request, tenant: object = Depends(self.spec.tenant or _nobody)) -> Response:
            return await operation(MongoCall(request, mongo_database_of(request, name), tenant))

        endpoint.__annotations__ = {"request": Request, "tenant": object, "return": Response}
        inner = APIRoute(
            self.path,
            endpoint,
            response_model=None,
            dependencies=self.dependencies,
            dependency_overrides_provider=self.dependency_overrides_provider,
            methods=["POST"],
        )
        return _answering(inner.get_route_handler())


async def _nobody() -> None:
    """Stand in for the tenant of a resource without tenants."""


def _answering(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ProblemError:
            raise
        except Exception as error:
            problem = mongo_problem_of(error)
            if problem is None:
                raise
            raise ProblemError(problem) from error

    return answer


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One route to be made."""

    action: MongoAction
    method: str
    path: str
    operation: _MongoOperation
    summary: str
    shown: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    status: int = 200
    problems: Sequence[int] = (422, 503)
    parameters: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class MongoResourceRoutes:
    """The routes of one resource.

    Attributes:
        binding: The resource.
        deployment: Name of the deployment that it is in.
        tenant: The dependency that gives the tenant, or None.
        dependencies: What every route depends on, such as a guard.
    """

    binding: MongoBinding
    deployment: str
    tenant: Callable[..., object] | None = None
    dependencies: Sequence[params.Depends] = ()

    def add_to(self, app: FastAPI) -> None:
        """Append the routes to *app*, after those that it has."""
        slug = claim_slug(app, self.binding.resource.prefix)
        for plan in self._plans():
            if plan.action not in self.binding.resource.actions:
                continue
            app.router.routes.append(self._route(app, plan, slug))
            if plan.method == "GET":
                app.router.routes.append(self._route(app, plan, slug, head=True))

    def _plans(self) -> Iterator[_Plan]:
        binding, schemas, rules = self.binding, self.binding.schemas, self.binding.rules
        prefix, item = binding.resource.prefix, binding.resource.prefix + binding.id_path
        selection = selection_schema_of(schemas.read, rules.select_fields)
        match = _header("If-Match", "Only if the record is one of these versions, else 412.")
        none_match = _header("If-None-Match", "Only if the record is none of these versions, else 304.")
        yield _Plan(
            action="list", method="GET", path=prefix, operation=operations.ListDocuments(binding),
            summary="A page of records", shown=page_schema_of(schemas.read, selection),
            parameters=list_parameters(rules),
        )  # fmt: skip
        yield _Plan(
            action="create", method="POST", path=prefix, operation=operations.Create(binding),
            summary="Create a record", shown=schemas.read, body=schemas.create, status=201, problems=_WRITE_PROBLEMS,
        )  # fmt: skip
        yield _Plan(
            action="get", method="GET", path=item, operation=operations.Get(binding), summary="One record",
            shown=selection, problems=(304, 404, 422, 503), parameters=[*item_parameters(rules), none_match],
        )  # fmt: skip
        yield _Plan(
            action="update", method="PATCH", path=item, operation=operations.Update(binding),
            summary="Change fields of a record", shown=schemas.read, body=schemas.update,
            problems=(*_WRITE_PROBLEMS, 404, 412), parameters=[match],
        )  # fmt: skip
        yield _Plan(
            action="delete", method="DELETE", path=item, operation=operations.Delete(binding),
            summary="Delete a record", status=204, problems=(404, 412, 422, 503), parameters=[match],
        )  # fmt: skip
        yield _Plan(
            action="restore", method="POST", path=f"{item}/restore", operation=operations.Restore(binding),
            summary="Undo the delete of a record", shown=schemas.read, problems=(404, 409, 503),
        )  # fmt: skip

    def _route(self, app: FastAPI, plan: _Plan, slug: str, *, head: bool = False) -> MongoRoute:
        resource = self.binding.resource
        name = f"{slug}_{plan.action}" + ("_head" if head else "")
        has_tenant = resource.tenant_field is not None
        field = self.binding.fields[resource.id_attr]
        about = Path(description=field.description or "Which record.")
        key = {field.name: Annotated[field.annotation, about]} if "{" in plan.path else {}
        operation = cast("Operation", plan.operation)
        return MongoRoute(
            plan.path,
            Head(operation) if head else operation,
            spec=RouteSpec(
                database=self.deployment,
                tenant=self.tenant if has_tenant else None,
                path_parameters=key,
                body=plan.body,
                problems=sorted({*plan.problems, *((400,) if has_tenant else ())}),
            ),
            response_model=plan.shown,
            response_description=_SUCCESS[plan.status],
            status_code=plan.status,
            tags=list(resource.tags) if resource.tags is not None else [resource.prefix.rpartition("/")[2]],
            dependencies=[*app.router.dependencies, *self.dependencies],
            summary=plan.summary,
            description=plan.operation.__call__.__doc__,
            methods=["HEAD" if head else plan.method],
            name=name,
            operation_id=name,
            include_in_schema=not head,
            dependency_overrides_provider=app,
            openapi_extra={"parameters": list(plan.parameters)} if plan.parameters else None,
        )


_SUCCESS: Final = {200: "The record or records", 201: "The record was created", 204: "The record was deleted"}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}
