"""Puts the routes of a resource on an application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import BaseModel

from fastapi import FastAPI, params
from fastapi.dependencies.models import Dependant
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.bulk import BulkOperation
from svc_infra.api.fastapi.db.sql.bulk_schemas import result_schema_of
from svc_infra.api.fastapi.db.sql.bulk_writes import BulkCreate, BulkDelete, BulkUpdate, BulkUpsert
from svc_infra.api.fastapi.db.sql.conditional import ETAGS_PATTERN
from svc_infra.api.fastapi.db.sql.exporting import CSV, NDJSON, Export
from svc_infra.api.fastapi.db.sql.importing import Import, ImportResult
from svc_infra.api.fastapi.db.sql.listing import ListRecords
from svc_infra.api.fastapi.db.sql.nested import NestedCreate
from svc_infra.api.fastapi.db.sql.nouns import claim_slug
from svc_infra.api.fastapi.db.sql.operations import Create, Delete, Get, Head, Replace, Restore, Update
from svc_infra.api.fastapi.db.sql.query_document import item_parameters, list_parameters
from svc_infra.api.fastapi.db.sql.replay import Idempotent, header_parameter, principal_guard
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
    body: object = None
    status: int = 200
    problems: Sequence[int] = (422, 503)
    parameters: Sequence[dict[str, Any]] = ()
    request_content: Mapping[str, Any] | None = None
    description: str | None = None
    guards: Sequence[object] = ()
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
        wanted, slug = self.binding.resource.actions, claim_slug(app, self.binding.resource.prefix)
        plans = [plan for plan in self._plans() if plan.action in wanted]
        fixed = [path for path in map(self._path, plans) if "{" not in path]
        for plan in plans:
            app.router.routes.append(self._route(app, plan, slug, fixed))
            if plan.method == "GET" and plan.action in {"get", "list"}:
                app.router.routes.append(self._route(app, plan, slug, fixed, head=True))

    def _path(self, plan: _Plan) -> str:
        own = self.binding.resource.options(plan.action).path
        return plan.path if own is None else self.binding.resource.prefix + own

    def _plans(self) -> Iterable[_Plan]:
        binding, at = self.binding, self.binding.for_action
        prefix, item = binding.resource.prefix, binding.resource.prefix + binding.id_path
        one, listed = at("get"), at("list")
        one_shown: Any = one.documented_read
        if one.documented_selection is not None:
            one_shown = one.documented_read | one.documented_selection
        query = list_parameters(binding.rules)
        etag = {"ETag": {"schema": {"type": "string"}, "description": "The version of the record."}}
        match = _header("If-Match", "Only if the record is one of these versions, else 412.", ETAGS_PATTERN)
        match["required"] = binding.resource.require_if_match
        none_match = _header("If-None-Match", "Only if the record is none of these versions, else 304.")
        location = {"schema": {"type": "string"}, "description": "Its path."}
        created: dict[int | str, dict[str, Any]] = {201: {"headers": {**etag, "Location": location}}}
        tagged: dict[int | str, dict[str, Any]] = {200: {"headers": etag}}
        changes = (*_WRITE_PROBLEMS, 404, 412, *((428,) if binding.resource.require_if_match else ()))
        creates = NestedCreate(at("create")) if binding.resource.nested else Create(at("create"))
        # A fixed path before one with a parameter, or an id would be looked for under its name.
        if binding.keeps_reads:
            yield _Plan(
                action="export", method="GET", path=f"{prefix}/export", operation=Export(at("export")),
                summary="All records", parameters=[each for each in query if each["name"] not in _PAGE_PARAMETERS],
                responses={200: {"content": _EXPORT_CONTENT, "description": "One record per line"}},
            )  # fmt: skip
        imported = Import(at("import"))
        modes = {"type": "string", "enum": list(imported.modes), "default": imported.modes[0]}
        yield _Plan(
            action="import", method="POST", path=f"{prefix}/import", operation=imported, summary="Import records",
            shown=ImportResult, problems=(408, *_WRITE_PROBLEMS), request_content={NDJSON: {}, CSV: {}},
            parameters=[_parameter("mode", "query", modes, "Whether records whose key is there are updated.")],
        )  # fmt: skip
        yield from self._bulk_plans(prefix)
        yield _Plan(
            action="list", method="GET", path=prefix, operation=ListRecords(listed), summary="A page of records",
            shown=page_schema_of(listed.documented_read, listed.documented_selection),
            parameters=list_parameters(listed.rules),
        )  # fmt: skip
        yield _Plan(
            action="create", method="POST", path=prefix, operation=creates, summary="Create a record",
            shown=creates.shown_schema, body=creates.body_schema, status=201, problems=_WRITE_PROBLEMS,
            responses=created,
        )  # fmt: skip
        yield _Plan(
            action="get", method="GET", path=item, operation=Get(one), summary="One record",
            shown=one_shown, problems=(304, 404, 422, 503), parameters=[*item_parameters(one.rules), none_match],
            responses=tagged,
        )  # fmt: skip
        yield _Plan(
            action="update", method="PATCH", path=item, operation=Update(at("update")),
            summary="Change fields of a record", shown=at("update").schemas.read, body=at("update").schemas.update,
            problems=changes, parameters=[match], responses=tagged,
        )  # fmt: skip
        yield _Plan(
            action="replace", method="PUT", path=item, operation=Replace(at("replace")),
            summary="Replace a record", shown=at("replace").schemas.read, body=at("replace").schemas.replace,
            problems=changes, parameters=[match], responses=tagged,
        )  # fmt: skip
        yield _Plan(
            action="delete", method="DELETE", path=item, operation=Delete(at("delete")), summary="Delete a record",
            status=204, problems=tuple(status for status in changes if status not in {413, 415}), parameters=[match],
        )  # fmt: skip
        yield _Plan(
            action="restore", method="POST", path=f"{item}/restore", operation=Restore(at("restore")),
            summary="Undo the delete of a record", shown=at("restore").schemas.read,
            problems=(404, 409, 422, 503), responses=tagged,
        )  # fmt: skip

    def _bulk_plans(self, prefix: str) -> Iterable[_Plan]:
        binding, path = self.binding, f"{prefix}/bulk"
        wanted = set(binding.resource.actions) & set(_BULK)
        if not wanted:
            return
        results: dict[type[BaseModel], type[BaseModel]] = {}
        parameters = [
            _parameter("atomic", "query", {"type": "boolean", "default": True}, "Whether all items succeed or none."),
            _header("Prefer", "`return=minimal` answers the count alone."),
        ]
        for action, (method, suffix, operation, summary, more) in _BULK.items():
            if action not in wanted:
                continue
            made = operation(binding.for_action(action))
            read = made.binding.schemas.read
            result = results.get(read)
            if result is None:
                noun = binding.noun if read is binding.schemas.read else f"{binding.noun}{read.__name__}"
                result = results[read] = result_schema_of(noun, read)
            mixed: dict[int | str, dict[str, Any]] = {207: {"model": result, "description": "Some items were refused"}}
            yield _Plan(
                action=action, method=method, path=path + suffix, operation=made, summary=summary, shown=result,
                body=made.body.annotation, parameters=parameters, responses=mixed,
                problems=(*_WRITE_PROBLEMS, *more, *((428,) if binding.resource.require_if_match and more else ())),
            )  # fmt: skip

    def _once_per_key(self, plan: _Plan) -> _Plan:
        """Let an operation that creates honour the header Idempotency-Key."""
        resource = self.binding.resource
        keys = resource.idempotency
        if keys is None or plan.action not in {"create", "bulk_create"}:
            return plan
        limit = resource.max_body_bytes if plan.action == "create" else resource.max_bulk_bytes
        once = Idempotent(plan.operation, keys, resource=resource.prefix, action=plan.action, max_body_bytes=limit)
        return replace(
            plan,
            operation=once,
            description=plan.operation.__call__.__doc__,
            guards=() if keys.principal is None else (principal_guard(keys.principal),),
            parameters=[*plan.parameters, header_parameter(keys)],
            problems=(*plan.problems, 400, 409),
        )

    def _route(
        self, app: FastAPI, plan: _Plan, slug: str, fixed: Sequence[str], *, head: bool = False
    ) -> ResourceRoute:
        binding, resource = self.binding, self.binding.resource
        plan = self._once_per_key(plan)
        options = resource.options(plan.action)
        path = self._path(plan)
        name = options.operation_id or f"{slug}_{plan.action}"
        has_tenant = resource.tenant_field is not None
        spec = RouteSpec(
            readonly=plan.method == "GET",
            database=self.database,
            tenant=self.tenant if has_tenant else None,
            tenant_field=resource.tenant_field,
            path_parameters={key: kind for key, kind in binding.id_parameters.items() if f"{{{key}}}" in path},
            body=plan.body,
            problems=sorted({*plan.problems, *((400,) if has_tenant else ())}),
            reserved=fixed if "{" in path else (),
        )
        route = ResourceRoute(
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
                *depends_of(plan.guards),
            ],
            summary=options.summary or plan.summary,
            description=options.description or plan.description or plan.operation.__call__.__doc__,
            methods=["HEAD" if head else plan.method],
            name=name if not head else f"{name}_head",
            operation_id=name if not head else f"{name}_head",
            include_in_schema=options.include_in_schema and not head,
            dependency_overrides_provider=app,
            openapi_extra=_openapi_extra(plan),
            responses=plan.responses,
        )
        binding.rules.foreign.update(_query_names(route.dependant))
        return route


_PAGE_PARAMETERS = frozenset({"limit", "offset", "cursor", "total", "q", "fields", "select", "include"})
_SUCCESS = {200: "The record or records", 201: "The record was created", 204: "The record was deleted"}
_EXPORT_CONTENT = {
    NDJSON: {"schema": {"type": "string"}},
    CSV: {"schema": {"type": "string"}},
}


_BULK: Final[Mapping[Action, tuple[str, str, type[BulkOperation], str, tuple[int, ...]]]] = {
    "bulk_create": ("POST", "", BulkCreate, "Create many records", ()),
    "bulk_update": ("PATCH", "", BulkUpdate, "Change many records", (404, 412)),
    "bulk_upsert": ("PUT", "", BulkUpsert, "Create or update many records", ()),
    "bulk_delete": ("POST", "/delete", BulkDelete, "Delete many records", (404, 412)),
}
"""Method, path below `/bulk`, operation, title and further problems of each bulk action."""


def _openapi_extra(plan: _Plan) -> dict[str, Any] | None:
    found: dict[str, Any] = {"parameters": list(plan.parameters)} if plan.parameters else {}
    if plan.request_content is not None:
        found["requestBody"] = {"required": True, "content": dict(plan.request_content)}
    return found or None


def _query_names(dependant: Dependant) -> Iterable[str]:
    """Return the query parameters of dependencies, which a route's own reading has to let pass."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _parameter(name: str, place: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": False, "schema": schema, "description": description}


def _header(name: str, description: str, pattern: str | None = None) -> dict[str, Any]:
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return _parameter(name, "header", schema, description)
