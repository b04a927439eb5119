"""Puts the routes of a resource on an application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from fastapi import FastAPI, params
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.conditional import ETAGS_PATTERN
from svc_infra.api.fastapi.db.sql.listing import Export, ListRecords
from svc_infra.api.fastapi.db.sql.operations import Create, Delete, Get, Head, Replace, Restore, Update
from svc_infra.api.fastapi.db.sql.resource import Action
from svc_infra.api.fastapi.db.sql.route import Operation, ResourceRoute, RouteSpec, depends_of
from svc_infra.api.fastapi.db.sql.schemas import page_schema_of

__all__ = ["ResourceRoutes"]

_WRITE_PROBLEMS = (400, 409, 413, 415, 422, 503)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One route to be made."""

    action: Action
    method: str
    path: str
    operation: Operation
    summary: str
    shown: object = None
    body: type[BaseModel] | None = None
    status: int = 200
    problems: Sequence[int] = (422, 503)
    parameters: Sequence[dict[str, Any]] = ()
    responses: dict[int | str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ResourceRoutes:
    """The routes of one resource.

    Attributes:
        binding: The resource.
        database: Name of the database that it is in.
        tenant: The dependency that gives the tenant, or None.
        dependencies: What every route depends on, such as a guard.
    """

    binding: ResourceBinding
    database: str
    tenant: Callable[..., object] | None = None
    dependencies: Sequence[params.Depends] = ()

    def add_to(self, app: FastAPI) -> None:
        """Append the routes to *app*, after those that it has."""
        wanted = self.binding.resource.actions
        plans = [plan for plan in self._plans() if plan.action in wanted]
        fixed = [path for path in map(self._path, plans) if "{" not in path]
        for plan in plans:
            app.router.routes.append(self._route(app, plan, fixed))
            if plan.method == "GET" and plan.action in {"get", "list"}:
                app.router.routes.append(self._route(app, plan, fixed, head=True))

    def _path(self, plan: _Plan) -> str:
        own = self.binding.resource.options(plan.action).path
        return plan.path if own is None else self.binding.resource.prefix + own

    def _plans(self) -> Iterable[_Plan]:
        binding, schemas = self.binding, self.binding.schemas
        prefix, item = binding.resource.prefix, binding.resource.prefix + binding.id_path
        shown, selection = binding.documented_read, binding.documented_selection
        one_shown: Any = shown if selection is None else shown | selection
        query, one = binding.rules.parameters(), binding.rules.item_parameters()
        etag = {"ETag": {"schema": {"type": "string"}, "description": "The version of the record."}}
        match = _header("If-Match", "Only if the record is one of these versions, else 412.", ETAGS_PATTERN)
        match["required"] = binding.resource.require_if_match
        none_match = _header("If-None-Match", "Only if the record is none of these versions, else 304.")
        location = {"schema": {"type": "string"}, "description": "Its path."}
        created: dict[int | str, dict[str, Any]] = {201: {"headers": {**etag, "Location": location}}}
        tagged: dict[int | str, dict[str, Any]] = {200: {"headers": etag}}
        changes = (*_WRITE_PROBLEMS, 404, 412, *((428,) if binding.resource.require_if_match else ()))
        # A fixed path before one with a parameter, or an id would be looked for under its name.
        if binding.keeps_reads:
            yield _Plan(
                action="export", method="GET", path=f"{prefix}/export", operation=Export(binding),
                summary="All records", parameters=[each for each in query if each["name"] not in _PAGE_PARAMETERS],
                responses={200: {"content": _EXPORT_CONTENT, "description": "One record per line"}},
            )  # fmt: skip
        yield _Plan(
            action="list", method="GET", path=prefix, operation=ListRecords(binding), summary="A page of records",
            shown=page_schema_of(shown, selection), parameters=query,
        )  # fmt: skip
        yield _Plan(
            action="create", method="POST", path=prefix, operation=Create(binding), summary="Create a record",
            shown=schemas.read, body=schemas.create, status=201, problems=_WRITE_PROBLEMS,
            responses=created,
        )  # fmt: skip
        yield _Plan(
            action="get", method="GET", path=item, operation=Get(binding), summary="One record",
            shown=one_shown, problems=(304, 404, 422, 503), parameters=[*one, none_match], responses=tagged,
        )  # fmt: skip
        yield _Plan(
            action="update", method="PATCH", path=item, operation=Update(binding), summary="Change fields of a record",
            shown=schemas.read, body=schemas.update, problems=changes, parameters=[match], responses=tagged,
        )  # fmt: skip
        yield _Plan(
            action="replace", method="PUT", path=item, operation=Replace(binding), summary="Replace a record",
            shown=schemas.read, body=schemas.replace, problems=changes, parameters=[match], responses=tagged,
        )  # fmt: skip
        yield _Plan(
            action="delete", method="DELETE", path=item, operation=Delete(binding), summary="Delete a record",
            status=204, problems=tuple(status for status in changes if status not in {413, 415}), parameters=[match],
        )  # fmt: skip
        yield _Plan(
            action="restore", method="POST", path=f"{item}/restore", operation=Restore(binding),
            summary="Undo the delete of a record", shown=schemas.read, problems=(404, 409, 422, 503), responses=tagged,
        )  # fmt: skip

    def _route(self, app: FastAPI, plan: _Plan, fixed: Sequence[str], *, head: bool = False) -> ResourceRoute:
        binding, resource = self.binding, self.binding.resource
        options = resource.options(plan.action)
        path = self._path(plan)
        slug = "_".join(part.replace("-", "_") for part in resource.prefix.strip("/").split("/"))
        name = options.operation_id or f"{slug}_{plan.action}"
        has_tenant = resource.tenant_field is not None
        spec = RouteSpec(
            readonly=plan.method == "GET",
            database=self.database,
            tenant=self.tenant if has_tenant else None,
            path_parameters={key: kind for key, kind in binding.id_parameters.items() if f"{{{key}}}" in path},
            body=plan.body,
            problems=sorted({*plan.problems, *((400,) if has_tenant else ())}),
            reserved=fixed if "{" in path else (),
        )
        return ResourceRoute(
            path,
            plan.operation if not head else Head(plan.operation),
            spec=spec,
            response_model=plan.shown,
            response_description=_SUCCESS.get(plan.status, "The answer"),
            status_code=plan.status,
            tags=list(resource.tags) if resource.tags is not None else [resource.prefix.rpartition("/")[2]],
            dependencies=[
                *app.router.dependencies,
                *self.dependencies,
                *depends_of(resource.dependencies),
                *depends_of(options.dependencies),
            ],
            summary=options.summary or plan.summary,
            description=options.description or plan.operation.__call__.__doc__,
            methods=["HEAD" if head else plan.method],
            name=name if not head else f"{name}_head",
            operation_id=name if not head else f"{name}_head",
            include_in_schema=options.include_in_schema and not head,
            dependency_overrides_provider=app,
            openapi_extra={"parameters": list(plan.parameters)} if plan.parameters else None,
            responses=plan.responses,
        )


_PAGE_PARAMETERS = frozenset({"limit", "offset", "cursor", "total", "q", "fields", "select", "include"})
_SUCCESS = {200: "The record or records", 201: "The record was created", 204: "The record was deleted"}
_EXPORT_CONTENT = {
    "application/x-ndjson": {"schema": {"type": "string"}},
    "text/csv": {"schema": {"type": "string"}},
}


def _header(name: str, description: str, pattern: str | None = None) -> dict[str, Any]:
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": description}
