"""Give a FastAPI application its MongoDB deployments, generated CRUD routes and a health route.

    app = FastAPI()
    add_mongo_db(app)                                   # MONGO_URL and MONGO_DB; opened and closed with the application
    setup_mongo(app, [MongoResource(model=User, prefix="/users")])      # GET, POST /users; GET, PATCH, DELETE ...
    add_mongo_health(app, prefix="/_mongo/health")      # 200 or 503

The client belongs to the application, not to the process: `MongoDatabaseDep` and `get_mongo(app)` give it. The
functions `init_mongo` and `acquire_db` of `svc_infra.db.nosql.mongo.client` keep a client of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from svc_infra.api.fastapi.db.nosql.mongo.binding import MongoBinding
from svc_infra.api.fastapi.db.nosql.mongo.problems import handle_mongo_errors
from svc_infra.api.fastapi.db.nosql.mongo.routes import MongoResourceRoutes
from svc_infra.api.fastapi.db.nosql.mongo.state import DEFAULT, MongoSlot, get_mongo, mongo_slots_of
from svc_infra.api.fastapi.db.sql.nouns import claim_noun
from svc_infra.api.fastapi.db.sql.route import depends_of
from svc_infra.api.fastapi.health import add_health_route
from svc_infra.api.fastapi.lifespan import wrap_lifespan
from svc_infra.api.fastapi.tenancy.context import (
    TenantResolver,
    get_tenant_id,
    tenant_check,
    tenant_resolver_of,
)
from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.resource import MongoResource
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.health import CheckFailed, HealthRegistry

__all__ = ["add_mongo_db", "add_mongo_health", "get_mongo", "setup_mongo"]


def add_mongo_db(
    app: FastAPI, settings: MongoSettings | None = None, *, name: str = DEFAULT, require_server: bool = True
) -> None:
    """Open a MongoDB client when the application starts and close it when it stops.

    Errors of MongoDB in any route become problem details (409, 422, 503 ...) from then on.

    Args:
        app: The application.
        settings: The configuration; None reads `MONGO_URL`, `MONGO_DB` and the others when the application starts.
        name: Tells several deployments of one application apart.
        require_server: Whether the start fails when no server answers within the settings' server selection timeout.

    Raises:
        ValueError: Two different declarations of the same name.
    """
    slots = mongo_slots_of(app)
    declared = slots.get(name)
    slot = MongoSlot(name, lambda: Mongo(settings), require_server)
    if declared is not None and not declared.implied:
        if settings is None:
            return
        raise ValueError(
            f"add_mongo_db: this application has a deployment named {name!r} already; give the second one another name"
        )
    if declared is not None:
        declared.connect, declared.require_server, declared.implied = slot.connect, require_server, False
        return
    slots[name] = slot
    wrap_lifespan(app, slot.opened)
    handle_mongo_errors(app)


def setup_mongo(
    app: FastAPI,
    resources: Sequence[MongoResource[Any]] = (),
    *,
    settings: MongoSettings | None = None,
    name: str = DEFAULT,
    tenant: TenantResolver | None = None,
    dependencies: Sequence[object] = (),
    include_health: bool = True,
    health_prefix: str = "/_mongo/health",
) -> None:
    """Generate CRUD routes for *resources*, each at its own prefix, and make sure that their deployment is declared.

    Args:
        app: The application.
        resources: What to serve. Calling again adds more.
        settings: As in `add_mongo_db`, when this call is to declare the deployment.
        name: The deployment that the resources are in.
        tenant: A FastAPI dependency that returns the tenant of a request, for resources with a `tenant_field`; None
            uses what `set_tenant_resolver` was given.
        dependencies: Guards of every route: `Depends(...)` or functions.
        include_health: Also add the health route.
        health_prefix: Its path.

    Raises:
        ValueError: Two resources have the same prefix, or a resource's description is contradictory.
        TenantNotConfigured: At start, when a resource has a `tenant_field` and the application never said how to find
            the tenant of a request.
    """
    slots = mongo_slots_of(app)
    if settings is not None:
        add_mongo_db(app, settings, name=name)
    elif name not in slots:
        add_mongo_db(app, name=name)
        slots[name].implied = True
    taken = {getattr(route, "path", None) for route in app.router.routes if getattr(route, "spec", None) is not None}
    for resource in resources:
        if resource.prefix in taken:
            raise ValueError(f"setup_mongo: two resources have the prefix {resource.prefix!r}; give one another")
        taken.add(resource.prefix)
        resolver = tenant
        if resource.tenant_field is not None and resolver is None:
            resolver = tenant_resolver_of(app) or get_tenant_id
            slots[name].checks.append(tenant_check(resource.prefix, resource.tenant_field, "setup_mongo"))
        binding = MongoBinding.of(resource, claim_noun(app, resource.model, resource.prefix))
        routes = MongoResourceRoutes(binding, name, resolver, depends_of(dependencies))
        routes.add_to(app)
    if include_health:
        add_mongo_health(app, prefix=health_prefix, name=name)


def add_mongo_health(
    app: FastAPI,
    *,
    prefix: str = "/_mongo/health",
    name: str = DEFAULT,
    timeout: float = 1.0,
    include_in_schema: bool = False,
) -> None:
    """Add `GET <prefix>`: 200 or 503 with `{"status": ..., "ok": ...}`, bounded in time.

    Args:
        app: The application.
        prefix: The route's path.
        name: The deployment to check.
        timeout: Seconds that the server has to answer.
        include_in_schema: Whether the OpenAPI document shows the route.
    """

    async def check() -> None:
        # The registry bounds the check; the ping's own limit is later, so that the reason is "timeout" in one place.
        if not await get_mongo(app, name).ping(timeout=timeout * 2):
            raise CheckFailed("unreachable", "MongoDB does not answer")

    def registry() -> HealthRegistry:
        slot = mongo_slots_of(app).get(name)
        if slot is not None and slot.health is not None:
            return slot.health
        made = HealthRegistry()
        made.add("mongo", check, timeout=timeout)
        if slot is not None:
            slot.health = made
        return made

    add_health_route(app, prefix, registry, name=f"{name}_mongo_health", include_in_schema=include_in_schema)
