"""Puts the routes of a resource on an application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from fastapi import FastAPI, params
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.operations import Create, Delete, Get, Head, ListRows, Update
from svc_infra.api.fastapi.db.sql.route import Operation, ResourceRoute, RouteSpec
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
        binding, schemas = self.binding, self.binding.schemas
        prefix, item = binding.resource.prefix, binding.resource.prefix + binding.id_path
        listing, getting = ListRows(binding), Get(binding)
        page = page_schema_of(schemas.read)
        query = {"parameters": binding.rules.parameters()}
        self._add(app, "list", "GET", prefix, listing, page, "A page of records", [422, 503], extra=query)
        self._add(
            app,
            "create",
            "POST",
            prefix,
            Create(binding),
            schemas.read,
            "Create a record",
            [400, 409, 413, 415, 422, 503],
            body=schemas.create,
            status=201,
        )
        self._add(app, "get", "GET", item, getting, schemas.read, "One record", [404, 422, 503])
        self._add(
            app,
            "update",
            "PATCH",
            item,
            Update(binding),
            schemas.read,
            "Change fields of a record",
            [400, 404, 409, 413, 415, 422, 503],
            body=schemas.update,
        )
        self._add(
            app, "delete", "DELETE", item, Delete(binding), None, "Delete a record", [404, 409, 422, 503], status=204
        )
        self._add(app, "list_head", "HEAD", prefix, Head(listing), None, "Headers of a page", [], hidden=True)
        self._add(app, "get_head", "HEAD", item, Head(getting), None, "Headers of a record", [], hidden=True)

    def _add(
        self,
        app: FastAPI,
        action: str,
        method: str,
        path: str,
        operation: Operation,
        shown: type[BaseModel] | None,
        summary: str,
        problems: Sequence[int],
        *,
        status: int = 200,
        body: type[BaseModel] | None = None,
        extra: dict[str, Any] | None = None,
        hidden: bool = False,
    ) -> None:
        binding = self.binding
        resource = binding.resource
        slug = resource.prefix.strip("/").replace("/", "_").replace("-", "_")
        is_write = method not in {"GET", "HEAD"}
        spec = RouteSpec(
            readonly=not is_write,
            database=self.database,
            tenant=self.tenant if resource.tenant_field is not None else None,
            path_parameters=binding.id_parameters if path != resource.prefix else {},
            body=body,
            problems=problems,
        )
        router = app.router
        route = ResourceRoute(
            path,
            operation,
            spec=spec,
            response_model=shown,
            status_code=status,
            tags=list(resource.tags) if resource.tags is not None else [resource.prefix.rpartition("/")[2]],
            dependencies=[*router.dependencies, *self.dependencies],
            summary=summary,
            description=operation.__call__.__doc__,
            methods=[method],
            name=f"{slug}_{action}",
            operation_id=f"{slug}_{action}",
            include_in_schema=not hidden,
            dependency_overrides_provider=app,
            openapi_extra=extra,
        )
        router.routes.append(route)
