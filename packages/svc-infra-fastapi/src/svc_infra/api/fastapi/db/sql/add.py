"""Give a FastAPI application its SQL databases, generated CRUD routes and a health route.

    app = FastAPI()
    add_sql_db(app)                                                 # opened and closed with the application
    setup_sql(app, [SqlResource(model=User, prefix="/users")])      # GET, POST /users; GET, PATCH, DELETE /users/{id}
    add_sql_health(app, prefix="/_sql/health")                      # 200 or 503

All three may be called in any order and more than once before the application starts; `setup_sql` declares the database
by itself when nothing else did. Nothing connects, and the environment is not read, before the application starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from sqlalchemy import URL

from fastapi import FastAPI
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.nouns import claim_noun
from svc_infra.api.fastapi.db.sql.probe import ask
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.db.sql.route import depends_of
from svc_infra.api.fastapi.db.sql.router import ResourceRoutes
from svc_infra.api.fastapi.db.sql.state import DEFAULT, DatabaseSlot, get_database, slots_of
from svc_infra.api.fastapi.health import add_health_route
from svc_infra.api.fastapi.lifespan import wrap_lifespan
from svc_infra.api.fastapi.problems import handle_database_errors
from svc_infra.api.fastapi.tenancy.context import TenantResolver, get_tenant_id, tenant_check, tenant_resolver_of
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.resource import SqlResource
from svc_infra.dburl.variables import read_variables
from svc_infra.health import HealthRegistry

__all__ = ["DatabaseOptions", "add_sql_db", "add_sql_health", "get_database", "setup_sql"]


class DatabaseOptions(TypedDict, total=False):
    """The options of `svc_infra.db.sql.database.Database` that `add_sql_db` hands on; its docstring explains them."""

    pool_size: int | None
    max_overflow: int | None
    pool_timeout: float | None
    pool_recycle: int | None
    pool_pre_ping: bool | None
    statement_timeout_ms: int | None
    answer_timeout: float | None
    echo: bool


def add_sql_db(
    app: FastAPI,
    *,
    url: str | URL | None = None,
    name: str = DEFAULT,
    dsn_env: str | None = None,
    environ: Mapping[str, str] = os.environ,
    database: Database | None = None,
    **options: Unpack[DatabaseOptions],
) -> None:
    """Open a database when the application starts and close it when it stops.

    The database opens before the application's own lifespan starts and closes after that has ended. Errors of the
    database in any route become problem details (409, 422, 503 ...) from then on.

    Args:
        app: The application.
        url: The database's URL; None looks in the environment, files and secrets as `svc_infra.dburl` does.
        name: Tells several databases of one application apart; the default one serves `SqlSessionDep`.
        dsn_env: Look in this one variable of *environ* instead, e.g. for a second database.
        environ: Where configuration is looked up, when the application starts.
        database: A database that the caller opened and will close; excludes *url*, *dsn_env* and options.
        options: Pool settings and timeouts, see `DatabaseOptions`.

    Raises:
        ValueError: Two different declarations of the same name, or arguments that exclude each other.
    """
    if database is not None and (url is not None or dsn_env is not None or options):
        raise ValueError("add_sql_db: a ready database excludes url, dsn_env and options")
    if url is not None and dsn_env is not None:
        raise ValueError("add_sql_db: url and dsn_env exclude each other")
    slots = slots_of(app)
    declared = slots.get(name)
    if declared is not None and not declared.implied:
        if (url, dsn_env, database) == (None, None, None) and not options:
            return
        raise ValueError(
            f"add_sql_db: this application has a database named {name!r} already; give the second one another name"
        )

    def connect() -> Database:
        return Database(_chosen_url(url, dsn_env, environ), environ=environ, **options)

    connector = None if database is not None else connect
    if declared is not None:
        declared.connect, declared.database, declared.implied = connector, database, False
        return
    slots[name] = slot = DatabaseSlot(name, connector, database=database)
    wrap_lifespan(app, slot.opened)
    handle_database_errors(app)


def _chosen_url(url: str | URL | None, dsn_env: str | None, environ: Mapping[str, str]) -> str | URL | None:
    if dsn_env is None:
        return url
    found = read_variables(environ).get(dsn_env, "").strip()
    if not found:
        from svc_infra.dburl.errors import NoDatabaseConfigured

        raise NoDatabaseConfigured(dsn_env, "is not set", "Set it to the URL of the database")
    return found


def setup_sql(
    app: FastAPI,
    resources: Sequence[SqlResource[Any]] = (),
    *,
    url: str | URL | None = None,
    dsn_env: str | None = None,
    name: str = DEFAULT,
    tenant: TenantResolver | None = None,
    dependencies: Sequence[object] = (),
    include_health: bool = True,
    health_prefix: str = "/_sql/health",
) -> None:
    """Generate CRUD routes for *resources*, each at its own prefix, and make sure that their database is declared.

    Args:
        app: The application.
        resources: What to serve. Calling again adds more.
        url: As in `add_sql_db`, when this call is to declare the database.
        dsn_env: As in `add_sql_db`.
        name: The database that the resources are in.
        tenant: A FastAPI dependency that returns the tenant of a request, for resources with a `tenant_field`; None
            uses what `set_tenant_resolver` was given.
        dependencies: Guards of every route: `Depends(...)` or functions.
        include_health: Also add the health route.
        health_prefix: Its path.

    Raises:
        ValueError: Two resources have the same prefix, FastAPI has a page there, or a resource's description is
            contradictory.
        TenantNotConfigured: At start, when a resource has a `tenant_field` and the application never said how to find
            the tenant of a request.
        IdempotencyTableMissing: At start, when a resource keeps idempotency keys in a table that is not there.
    """
    slots = slots_of(app)
    if url is not None or dsn_env is not None:
        add_sql_db(app, url=url, dsn_env=dsn_env, name=name)
    elif name not in slots:
        add_sql_db(app, name=name)
        slots[name].implied = True
    slot = slots[name]
    taken = {getattr(route, "path", None) for route in app.router.routes if getattr(route, "spec", None) is not None}
    for resource in resources:
        if resource.prefix in (app.docs_url, app.redoc_url, app.openapi_url):
            raise ValueError(
                f"setup_sql: FastAPI serves a page of its own at {resource.prefix!r}; give the resource another prefix,"
                " or the page another place, by FastAPI(docs_url=..., redoc_url=..., openapi_url=...)"
            )
        if resource.prefix in taken:
            raise ValueError(f"setup_sql: two resources have the prefix {resource.prefix!r}; give one of them another")
        taken.add(resource.prefix)
        resolver = tenant
        if resource.tenant_field is not None and resolver is None:
            # Without one, get_tenant_id asks for it at each request: it may be set later than the routes.
            resolver = tenant_resolver_of(app) or get_tenant_id
            slot.checks.append(tenant_check(resource.prefix, resource.tenant_field, "setup_sql"))
        if isinstance(resource, ApiResource) and resource.idempotency is not None:
            slot.starts.append(resource.idempotency.require_table)
        binding = ResourceBinding.of(resource, claim_noun(app, resource.model, resource.prefix))
        routes = ResourceRoutes(binding, name, resolver, depends_of(dependencies))
        routes.add_to(app)
        slot.served.append(binding)
    if include_health:
        add_sql_health(app, prefix=health_prefix, name=name)


def add_sql_health(
    app: FastAPI,
    *,
    prefix: str = "/_sql/health",
    name: str = DEFAULT,
    timeout: float = 1.0,
    include_in_schema: bool = False,
) -> None:
    """Add `GET <prefix>`: 200 or 503 with `{"status": ...}` and nothing that tells about hosts, users or passwords.

    The answer comes within *timeout* even when the database hangs, concurrent requests share one check, and a healthy
    result is reused for a second. A service whose pool is in use to the last connection is busy and not unhealthy.

    Args:
        app: The application.
        prefix: The route's path.
        name: The database to check.
        timeout: Seconds that the database has to answer.
        include_in_schema: Whether the OpenAPI document shows the route.
    """

    async def check() -> None:
        # The registry bounds the check; the ping's own limit is later, so that the reason is "timeout" in one place.
        await ask(get_database(app, name), timeout * 2)

    def registry() -> HealthRegistry:
        slot = slots_of(app).get(name)
        if slot is not None and slot.health is not None:
            return slot.health
        made = HealthRegistry()
        made.add("database", check, timeout=timeout)
        if slot is not None:
            slot.health = made
        return made

    add_health_route(app, prefix, registry, name=f"{name}_database_health", include_in_schema=include_in_schema)
