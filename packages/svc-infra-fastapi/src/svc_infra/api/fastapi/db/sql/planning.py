"""The routes that a resource may have, whatever database it is in: their methods, paths, headers and problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic.fields import FieldInfo

from fastapi import FastAPI, params
from fastapi.dependencies.models import Dependant
from svc_infra.api.fastapi.db.sql.conditional import ETAGS_PATTERN
from svc_infra.api.fastapi.db.sql.nouns import claim_slug
from svc_infra.api.fastapi.db.sql.operations import Head
from svc_infra.api.fastapi.db.sql.route import SQL, Backend, Operation, ResourceRoute, RouteSpec
from svc_infra.api.fastapi.db.sql.text_route import TextIdRoute

__all__ = ["PlannedResource", "RoutePlan", "header", "parameter"]

_WRITE: Final = (400, 409, 413, 415, 422, 503)
_CHANGE: Final = (*_WRITE, 404, 412)
_LAYOUTS: Final[Mapping[str, tuple[str, str, str, int, tuple[int, ...]]]] = {
    "export": ("GET", "/export", "All records", 200, (422, 503)),
    "import": ("POST", "/import", "Import records", 200, (408, *_WRITE)),
    "bulk_create": ("POST", "/bulk", "Create many records", 200, _WRITE),
    "bulk_update": ("PATCH", "/bulk", "Change many records", 200, _CHANGE),
    "bulk_upsert": ("PUT", "/bulk", "Create or update many records", 200, _WRITE),
    "bulk_delete": ("POST", "/bulk/delete", "Delete many records", 200, _CHANGE),
    "list": ("GET", "", "A page of records", 200, (422, 503)),
    "create": ("POST", "", "Create a record", 201, _WRITE),
    "get": ("GET", "{id}", "One record", 200, (304, 404, 422, 503)),
    "update": ("PATCH", "{id}", "Change fields of a record", 200, _CHANGE),
    "replace": ("PUT", "{id}", "Replace a record", 200, _CHANGE),
    "delete": ("DELETE", "{id}", "Delete a record", 204, (400, 404, 409, 412, 422, 503)),
    "restore": ("POST", "{id}/restore", "Undo the delete of a record", 200, (404, 409, 422, 503)),
}
"""Method, path below the prefix, title, status and problems of each action."""
_MATCHED: Final = frozenset({"update", "replace", "delete"})
_ONE_BY_ONE: Final = _MATCHED | {"bulk_update", "bulk_delete"}
_SUCCESS: Final = {200: "The record or records", 201: "The record was created", 204: "The record was deleted"}
_ETAG: Final[dict[str, Any]] = {"ETag": {"schema": {"type": "string"}, "description": "The version of the record."}}
_LOCATION: Final[dict[str, Any]] = {"Location": {"schema": {"type": "string"}, "description": "Its path."}}
_HEADERS: Final[Mapping[str, dict[str, Any]]] = {
    "create": {**_ETAG, **_LOCATION},
    **dict.fromkeys(("get", "update", "replace", "restore"), _ETAG),
}

_NEXT: Final[Mapping[str, str]] = {
    "get": "Read it.",
    "update": "Change fields of this version.",
    "replace": "Replace this version.",
    "delete": "Delete this version.",
}
"""What a client can do with a record that it created, by action."""


def parameter(name: str, place: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Describe an optional parameter for the OpenAPI document."""
    return {"name": name, "in": place, "required": False, "schema": schema, "description": description}


def header(name: str, description: str, pattern: str | None = None) -> dict[str, Any]:
    """Describe an optional header for the OpenAPI document."""
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return parameter(name, "header", schema, description)


@dataclass(frozen=True, kw_only=True)
class RoutePlan:
    """One route to be made.

    Attributes:
        action: What it does.
        method: Its method.
        path: Its path.
        operation: Answers its requests.
        summary: Its title in the document.
        shown: The schema of its answer.
        body: The schema of its body.
        status: The status of its success.
        problems: Status codes of the problems that it may answer with.
        parameters: Query parameters and headers, for the document.
        request_content: The media types of a body that is no JSON, for the document.
        description: Its text in the document; None for the operation's own.
        dependencies: Guards of this route alone.
        responses: Further answers, for the document.
        operation_id: Its name in the document; None for `<prefix>_<action>`.
        include_in_schema: Whether the document shows it.
    """

    action: str
    method: str
    path: str
    operation: Operation
    summary: str
    shown: object = None
    body: object = None
    status: int = 200
    problems: Sequence[int] = ()
    parameters: Sequence[dict[str, Any]] = ()
    request_content: Mapping[str, Any] | None = None
    description: str | None = None
    dependencies: Sequence[params.Depends] = ()
    responses: dict[int | str, dict[str, Any]] = field(default_factory=dict)
    operation_id: str | None = None
    include_in_schema: bool = True


@dataclass(frozen=True, kw_only=True)
class PlannedResource:
    """What the routes of one resource have in common.

    Attributes:
        prefix: Its path.
        id_path: The part of a path that addresses a record, such as `/{id}`.
        id_parameters: Name and annotation of each path parameter.
        tags: Tags of the routes; None for the last part of the prefix.
        database: Name of the database that it is in.
        backend: What that kind of database gives to its routes.
        tenant: The dependency that gives the tenant, or None.
        tenant_field: The field that holds the tenant, or None.
        members: For each column that is called otherwise in bodies, the member's name.
        dependencies: What every route depends on, such as a guard.
        require_if_match: Whether a change must say which version it is of.
        max_body_bytes: The largest body of a write.
        max_bulk_bytes: The largest body of a bulk request.
        foreign: Takes the names of the query parameters of dependencies, which a route's own reading has to let pass.
        has_text_id: Whether a part of the id is a text, which may hold a slash.
    """

    prefix: str
    id_path: str
    id_parameters: Mapping[str, object]
    tags: Sequence[str] | None
    database: str
    backend: Backend = SQL
    tenant: Callable[..., object] | None = None
    tenant_field: str | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    dependencies: Sequence[params.Depends] = ()
    require_if_match: bool = False
    max_body_bytes: int
    max_bulk_bytes: int
    foreign: set[str]
    has_text_id: bool = False

    def plan(
        self,
        action: str,
        operation: Operation,
        *,
        shown: object = None,
        body: object = None,
        parameters: Sequence[dict[str, Any]] = (),
        responses: Mapping[int | str, dict[str, Any]] | None = None,
        request_content: Mapping[str, Any] | None = None,
    ) -> RoutePlan:
        """Return the route of an action as every resource has it."""
        method, path, summary, status, problems = _LAYOUTS[action]
        path = self.prefix + (path.replace("{id}", self.id_path))
        more: list[dict[str, Any]] = list(parameters)
        if action in _MATCHED:
            match = header("If-Match", "Only if the record is one of these versions, else 412.", ETAGS_PATTERN)
            more.append({**match, "required": self.require_if_match})
        elif action == "get":
            more.append(header("If-None-Match", "Only if the record is none of these versions, else 304."))
        found: dict[int | str, dict[str, Any]] = dict(responses or {})
        if action in _HEADERS:
            found[status] = {"headers": _HEADERS[action]}
        if self.require_if_match and action in _ONE_BY_ONE:
            problems = (*problems, 428)
        return RoutePlan(
            action=action, method=method, path=path, operation=operation, summary=summary, shown=shown, body=body,
            status=status, problems=problems, parameters=more, responses=found, request_content=request_content,
        )  # fmt: skip

    def add_to(self, app: FastAPI, plans: Sequence[RoutePlan]) -> None:
        """Append the routes to *app*, after those that it has; reads answer HEAD, too."""
        slug = claim_slug(app, self.prefix)
        fixed = [plan.path for plan in plans if "{" not in plan.path]
        names = {plan.action: plan.operation_id or f"{slug}_{plan.action}" for plan in plans if plan.include_in_schema}
        for plan in plans:
            for status, links in self._links(plan, names):
                plan.responses.setdefault(status, {})["links"] = links
            app.router.routes.append(self._route(app, plan, slug, fixed))
            if plan.action in {"get", "list", "export"}:
                app.router.routes.append(self._route(app, plan, slug, fixed, head=True))

    def _links(self, plan: RoutePlan, names: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give what a client can do with an answer, for the document: the status and the links of that answer."""
        if plan.action == "create":
            shown: Mapping[str, FieldInfo] = getattr(plan.shown, "model_fields", {})
            if any(
                key not in shown or shown[key].alias or shown[key].serialization_alias for key in self.id_parameters
            ):
                return  # a schema of the application's own need not show the id
            key = {name: f"$response.body#/{name}" for name in self.id_parameters}
            match = {"header.If-Match": "$response.header.ETag"}
            links = {
                action: {
                    "operationId": names[action],
                    "description": about,
                    "parameters": {**key, **match} if action in _MATCHED else key,
                }
                for action, about in _NEXT.items()
                if action in names
            }
            yield plan.status, links
        elif plan.action == "delete" and "restore" in names:
            key = {name: f"$request.path.{name}" for name in self.id_parameters}
            yield plan.status, {"restore": {"operationId": names["restore"], "description": "Undo.", "parameters": key}}

    def _route(
        self, app: FastAPI, plan: RoutePlan, slug: str, fixed: Sequence[str], *, head: bool = False
    ) -> ResourceRoute:
        name = (plan.operation_id or f"{slug}_{plan.action}") + ("_head" if head else "")
        has_tenant = self.tenant_field is not None
        spec = RouteSpec(
            readonly=plan.method == "GET",
            streams=plan.action == "export",
            database=self.database,
            backend=self.backend,
            tenant=self.tenant if has_tenant else None,
            tenant_field=self.tenant_field,
            members=self.members,
            path_parameters={key: kind for key, kind in self.id_parameters.items() if f"{{{key}}}" in plan.path},
            body=plan.body,
            max_body_bytes=self._limit(plan),
            problems=sorted({*plan.problems, *((400,) if has_tenant else ())}),
            reserved=fixed if "{" in plan.path else (),
        )
        kind = TextIdRoute if self.has_text_id and "{" in plan.path else ResourceRoute
        route = kind(
            plan.path,
            Head(plan.operation) if head else plan.operation,
            spec=spec,
            response_model=plan.shown,
            response_description=_SUCCESS.get(plan.status, "The answer"),
            status_code=plan.status,
            tags=list(self.tags) if self.tags is not None else [self.prefix.rpartition("/")[2]],
            dependencies=[*app.router.dependencies, *self.dependencies, *plan.dependencies],
            summary=plan.summary,
            description=plan.description or plan.operation.__call__.__doc__,
            methods=["HEAD" if head else plan.method],
            name=name,
            operation_id=name,
            include_in_schema=plan.include_in_schema and not head,
            dependency_overrides_provider=app,
            openapi_extra=_openapi_extra(plan),
            responses=plan.responses,
        )
        self.foreign.update(_query_names(route.dependant))
        return route

    def _limit(self, plan: RoutePlan) -> int | None:
        if plan.body is None:
            return None
        return self.max_bulk_bytes if plan.action.startswith("bulk_") else self.max_body_bytes


def _openapi_extra(plan: RoutePlan) -> dict[str, Any] | None:
    found: dict[str, Any] = {"parameters": list(plan.parameters)} if plan.parameters else {}
    if plan.request_content is not None:
        found["requestBody"] = {"required": True, "content": dict(plan.request_content)}
    return found or None


def _query_names(dependant: Dependant) -> Iterable[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)
