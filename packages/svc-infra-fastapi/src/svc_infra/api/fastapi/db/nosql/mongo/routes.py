"""Puts the routes of a MongoDB resource on an application."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from starlette.requests import Request

from fastapi import FastAPI, Path, params
from svc_infra.api.fastapi.db.nosql.mongo import operations
from svc_infra.api.fastapi.db.nosql.mongo.binding import MongoBinding
from svc_infra.api.fastapi.db.nosql.mongo.bulk import BULK
from svc_infra.api.fastapi.db.nosql.mongo.exporting import ExportDocuments
from svc_infra.api.fastapi.db.nosql.mongo.operations import MongoCall
from svc_infra.api.fastapi.db.nosql.mongo.problems import mongo_problem_of
from svc_infra.api.fastapi.db.nosql.mongo.state import mongo_database_of
from svc_infra.api.fastapi.db.sql.bulk_schemas import ATOMIC, PREFER, mixed_response, result_schema_of
from svc_infra.api.fastapi.db.sql.exporting import EXPORTED
from svc_infra.api.fastapi.db.sql.planning import PlannedResource, RoutePlan
from svc_infra.api.fastapi.db.sql.query_document import PAGE_PARAMETERS, item_parameters, list_parameters
from svc_infra.api.fastapi.db.sql.route import Backend, RouteSessions, RouteSpec
from svc_infra.api.fastapi.db.sql.schemas import examples_of, page_schema_of, selection_schema_of
from svc_infra.api.fastapi.problems import Problem, problem_of

__all__ = ["MongoResourceRoutes"]


class MongoBackend:
    """The backend of MongoDB deployments."""

    def call(self, request: Request, spec: RouteSpec, tenant: object = None, session: object = None) -> MongoCall:  # noqa: ARG002
        """Return the call on the route's deployment."""
        return MongoCall(request, mongo_database_of(request, spec.database), tenant)

    def sessions(self, spec: RouteSpec) -> RouteSessions:  # noqa: ARG002
        """Return none: every operation is a command of its own."""
        return RouteSessions()

    def problem_of(self, error: Exception) -> Problem | None:
        """Return the problem of an error of MongoDB, of a request or of HTTP."""
        return mongo_problem_of(error) or problem_of(error)


MONGO: Final[Backend] = MongoBackend()


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
        binding, resource = self.binding, self.binding.resource
        field = binding.fields[resource.id_attr]
        about = Path(description=field.description or "Which record.", openapi_examples=examples_of(field.examples))
        planned = PlannedResource(
            prefix=resource.prefix,
            id_path=binding.id_path,
            id_parameters={field.name: Annotated[field.annotation, about]},
            tags=resource.tags,
            database=self.deployment,
            backend=MONGO,
            tenant=self.tenant,
            tenant_field=resource.tenant_field,
            dependencies=self.dependencies,
            max_body_bytes=resource.max_body_bytes,
            max_bulk_bytes=resource.max_bulk_bytes,
            foreign=binding.rules.foreign,
            has_text_id=resource.id_type == "str",
        )
        planned.add_to(app, [plan for plan in self._plans(planned) if plan.action in resource.actions])

    def _plans(self, planned: PlannedResource) -> Iterator[RoutePlan]:
        binding, schemas, rules, plan = self.binding, self.binding.schemas, self.binding.rules, planned.plan
        selection = selection_schema_of(schemas.read, rules.select_fields)
        query = list_parameters(rules)
        # A fixed path before one with a parameter, or an id would be looked for under its name.
        if binding.keeps_reads:
            chosen = [each for each in query if each["name"] not in PAGE_PARAMETERS]
            yield plan("export", ExportDocuments(binding), parameters=chosen, responses=EXPORTED)
        written, deleted = (result_schema_of(binding.noun, read) for read in (schemas.read, None))
        atomic = {**ATOMIC, "schema": {"type": "boolean", "enum": [False], "default": False}}
        for action, operation in BULK.items():
            if action in binding.resource.actions:
                made, result = operation(binding), deleted if action == "bulk_delete" else written
                yield plan(
                    action, made, shown=result, body=made.body.annotation, parameters=[atomic, PREFER],
                    responses=mixed_response(result),
                )  # fmt: skip
        page = page_schema_of(schemas.read, selection)
        yield plan("list", operations.ListDocuments(binding), shown=page, parameters=query)
        yield plan("create", operations.Create(binding), shown=schemas.read, body=schemas.create)
        yield plan("get", operations.Get(binding), shown=selection, parameters=item_parameters(rules))
        yield plan("update", operations.Update(binding), shown=schemas.read, body=schemas.update)
        yield plan("replace", operations.Replace(binding), shown=schemas.read, body=schemas.replace)
        yield plan("delete", operations.Delete(binding))
        yield plan("restore", operations.Restore(binding), shown=schemas.read)
