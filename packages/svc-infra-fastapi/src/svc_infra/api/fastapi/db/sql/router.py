"""Puts the routes of a resource on an application."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from pydantic import BaseModel

from fastapi import FastAPI, params
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.bulk import BulkOperation
from svc_infra.api.fastapi.db.sql.bulk_schemas import ATOMIC, PREFER, mixed_response, result_schema_of
from svc_infra.api.fastapi.db.sql.bulk_writes import BulkCreate, BulkDelete, BulkUpdate, BulkUpsert
from svc_infra.api.fastapi.db.sql.exporting import CSV, EXPORTED, NDJSON, Export
from svc_infra.api.fastapi.db.sql.importing import Import, ImportResult
from svc_infra.api.fastapi.db.sql.listing import ListRecords
from svc_infra.api.fastapi.db.sql.nested import NestedCreate
from svc_infra.api.fastapi.db.sql.operations import Create, Delete, Get, Replace, Restore, Update
from svc_infra.api.fastapi.db.sql.planning import PlannedResource, RoutePlan, parameter
from svc_infra.api.fastapi.db.sql.query_document import PAGE_PARAMETERS, item_parameters, list_parameters
from svc_infra.api.fastapi.db.sql.replay import Idempotent, header_parameter, principal_guard
from svc_infra.api.fastapi.db.sql.resource import Action
from svc_infra.api.fastapi.db.sql.route import depends_of
from svc_infra.api.fastapi.db.sql.schemas import page_schema_of

__all__ = ["ResourceRoutes"]


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
        binding, resource = self.binding, self.binding.resource
        planned = PlannedResource(
            prefix=resource.prefix,
            id_path=binding.id_path,
            id_parameters=binding.id_parameters,
            tags=resource.tags,
            database=self.database,
            tenant=self.tenant,
            tenant_field=resource.tenant_field,
            members=binding.body_members,
            dependencies=[*self.dependencies, *depends_of(resource.dependencies)],
            require_if_match=resource.require_if_match,
            max_body_bytes=resource.max_body_bytes,
            max_bulk_bytes=resource.max_bulk_bytes,
            foreign=binding.rules.foreign,
            has_text_id=any(column.is_text for column in binding.id_columns),
        )
        plans = (plan for plan in self._plans(planned) if plan.action in resource.actions)
        planned.add_to(app, [self._as_told(self._once_per_key(plan)) for plan in plans])

    def _plans(self, planned: PlannedResource) -> Iterable[RoutePlan]:
        binding, at, plan = self.binding, self.binding.for_action, planned.plan
        one, listed = at("get"), at("list")
        one_shown: Any = one.documented_read
        if one.documented_selection is not None:
            one_shown = one.documented_read | one.documented_selection
        query = list_parameters(binding.rules)
        creates = NestedCreate(at("create")) if binding.resource.nested else Create(at("create"))
        # A fixed path before one with a parameter, or an id would be looked for under its name.
        if binding.keeps_reads:
            chosen = [each for each in query if each["name"] not in PAGE_PARAMETERS]
            yield plan("export", Export(at("export")), parameters=chosen, responses=EXPORTED)
        imported = Import(at("import"))
        modes = {"type": "string", "enum": list(imported.modes), "default": imported.modes[0]}
        mode = parameter("mode", "query", modes, "Whether records whose key is there are updated.")
        content: dict[str, Any] = {NDJSON: {}, CSV: {}}
        yield plan("import", imported, shown=ImportResult, request_content=content, parameters=[mode])
        yield from self._bulk_plans(planned)
        page = page_schema_of(listed.documented_read, listed.documented_selection)
        yield plan("list", ListRecords(listed), shown=page, parameters=list_parameters(listed.rules))
        yield plan("create", creates, shown=creates.shown_schema, body=creates.body_schema)
        yield plan("get", Get(one), shown=one_shown, parameters=item_parameters(one.rules))
        update, replacement = at("update"), at("replace")
        yield plan("update", Update(update), shown=update.schemas.read, body=update.schemas.update)
        yield plan("replace", Replace(replacement), shown=replacement.schemas.read, body=replacement.schemas.replace)
        yield plan("delete", Delete(at("delete")))
        yield plan("restore", Restore(at("restore")), shown=at("restore").schemas.read)

    def _bulk_plans(self, planned: PlannedResource) -> Iterable[RoutePlan]:
        binding = self.binding
        results: dict[type[BaseModel] | None, type[BaseModel]] = {}
        for action, operation in _BULK.items():
            if action not in binding.resource.actions:
                continue
            made = operation(binding.for_action(action))
            read = None if action == "bulk_delete" else made.binding.schemas.read
            result = results.get(read)
            if result is None:
                noun = (
                    f"{binding.noun}{read.__name__}"
                    if read is not None and read is not binding.schemas.read
                    else binding.noun
                )
                result = results[read] = result_schema_of(noun, read)
            yield planned.plan(
                action, made, shown=result, body=made.body.annotation, parameters=[ATOMIC, PREFER],
                responses=mixed_response(result),
            )  # fmt: skip

    def _once_per_key(self, plan: RoutePlan) -> RoutePlan:
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
            dependencies=depends_of(() if keys.principal is None else (principal_guard(keys.principal),)),
            parameters=[*plan.parameters, header_parameter(keys)],
            problems=(*plan.problems, 400, 409),
        )

    def _as_told(self, plan: RoutePlan) -> RoutePlan:
        """Let a route differ as the resource's options for its action say."""
        resource = self.binding.resource
        options = resource.options(cast("Action", plan.action))
        return replace(
            plan,
            path=plan.path if options.path is None else resource.prefix + options.path,
            operation_id=options.operation_id,
            summary=options.summary or plan.summary,
            description=options.description or plan.description,
            include_in_schema=options.include_in_schema,
            dependencies=[*depends_of(options.dependencies), *plan.dependencies],
        )


_BULK: Final[Mapping[Action, type[BulkOperation]]] = {
    "bulk_create": BulkCreate,
    "bulk_update": BulkUpdate,
    "bulk_upsert": BulkUpsert,
    "bulk_delete": BulkDelete,
}
