"""Give an application a read-only page for people: its resources and rows, its databases, pools and migrations.

    add_sql_admin(app, guard=require_operator)      # any dependency that raises when the caller may not see the page

The page is off unless this is called, and the call needs a guard. It only reads: in read-only transactions, each
statement bounded in time, confined to the tenant of the caller, without what the guards of a resource refuse and the
columns that responses never show. It is made on the server, needs no script and loads nothing from elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from fastapi import FastAPI, params
from svc_infra.api.fastapi.admin.admission import Admission
from svc_infra.api.fastapi.admin.layout import Layout
from svc_infra.api.fastapi.admin.overview import overview_page
from svc_infra.api.fastapi.admin.record import record_page, value_page
from svc_infra.api.fastapi.admin.resources import EVERY_TENANT, AdminResource, TenantMissing, with_slugs
from svc_infra.api.fastapi.admin.rows import rows_page
from svc_infra.api.fastapi.admin.status import ExpectedRevisions
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.route import depends_of
from svc_infra.api.fastapi.db.sql.state import DEFAULT, ServedResource, slots_of
from svc_infra.api.fastapi.problems import problem_of
from svc_infra.api.fastapi.tenancy.context import TenantResolver, get_tenant_id, tenant_resolver_of
from svc_infra.db.sql.resource import SqlResource

__all__ = ["EVERY_TENANT", "AdminNotGuarded", "add_sql_admin"]

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

Guard: TypeAlias = Callable[..., object] | params.Depends
"""A dependency that raises when the caller may not see the page; False means no, too."""

_Build: TypeAlias = Callable[["_Admin", Request, Layout], Awaitable[Response]]


class AdminNotGuarded(ValueError):
    """The page was asked for without saying who may see it."""


def add_sql_admin(
    app: FastAPI,
    *,
    guard: Guard | None = None,
    prefix: str = "/_admin",
    resources: Sequence[SqlResource[Any]] | None = None,
    name: str = DEFAULT,
    tenant: TenantResolver | None = None,
    resource_guards: bool = True,
    expected_revisions: ExpectedRevisions | None = None,
    title: str | None = None,
    page_size: int = 50,
    statement_timeout_ms: int = 5000,
) -> None:
    """Add the page, as routes that the OpenAPI document does not show.

    Args:
        app: The application; its databases are those of `add_sql_db` and `setup_sql`.
        guard: A dependency that raises, or returns False, when the caller may not see the page: that of the
            application's sign-in, or one of `svc_infra.api.fastapi.admin.guards`.
        prefix: The page's path.
        resources: What to show; None for everything that `setup_sql` serves.
        name: The database of *resources*.
        tenant: A dependency that returns the caller's tenant, for resources with a `tenant_field`; None asks what the
            resource's own routes ask. `EVERY_TENANT` shows all tenants' rows. Without a tenant such a resource is
            refused.
        resource_guards: Whether the guards of a resource's own routes are asked, too: a caller whom they refuse does
            not see its rows here either. With False the page's own guard alone decides.
        expected_revisions: Returns the revisions that the code needs, to tell pending migrations; a plain function
            runs in a thread. None shows the database's revision alone.
        title: The application's name on the page; None for the application's title.
        page_size: Rows of a page, 1 to 500.
        statement_timeout_ms: Milliseconds that one statement of the page may run.

    Raises:
        AdminNotGuarded: There is no *guard*.
        ValueError: The application has the page already, or a number is out of range.
    """
    if guard is None:
        raise AdminNotGuarded(
            "add_sql_admin: the page shows rows of the database, so it needs a guard: add_sql_admin(app,"
            " guard=<dependency that raises when the caller may not see it>). For development there is loopback_only,"
            " and for a password basic_auth(...), in svc_infra.api.fastapi.admin.guards"
        )
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise ValueError(f"add_sql_admin: the prefix must begin with '/' and not end with one, got {prefix!r}")
    if not 1 <= page_size <= 500 or statement_timeout_ms < 1:
        raise ValueError("add_sql_admin: page_size must be 1..500 and statement_timeout_ms at least 1")
    if any(getattr(route, "path", None) == prefix for route in app.router.routes):
        raise ValueError(f"add_sql_admin: the application has a route at {prefix} already; give another prefix")
    chosen = None if resources is None else [ServedResource(ResourceBinding.of(each)) for each in resources]
    admin = _Admin(
        app, prefix, title, chosen, name, tenant, resource_guards, expected_revisions, page_size, statement_timeout_ms
    )
    for path, build in _PAGES.items():
        app.router.add_api_route(
            prefix + path,
            admin.endpoint(build, depends_of([guard])[0]),
            methods=["GET", "HEAD"],
            include_in_schema=False,
            response_model=None,
        )


async def _tenant_if_any(connection: HTTPConnection) -> object:
    """Return the tenant that the application's resolver finds, or None when it has no resolver."""
    return None if tenant_resolver_of(connection.app) is None else await get_tenant_id(connection)


@dataclass
class _Admin:
    """The page of one application."""

    app: FastAPI
    prefix: str
    title: str | None
    chosen: list[ServedResource] | None
    database: str
    tenant: TenantResolver | None
    has_resource_guards: bool
    expected: ExpectedRevisions | None
    page_size: int
    timeout_ms: int
    _resources: dict[str, AdminResource] | None = field(default=None, repr=False)

    @property
    def resources(self) -> dict[str, AdminResource]:
        """What the page shows, by slug; found at the first request, when everything is declared."""
        if self._resources is None:
            slots = slots_of(self.app).values()
            served = [(each, slot.name) for slot in slots for each in slot.served]
            if self.chosen is not None:
                known = {_identity(each): each for each, database in served if database == self.database}
                served = [(known.get(_identity(each), each), self.database) for each in self.chosen]
            self._resources = with_slugs(
                (each.binding, database, Admission(self.app, self._asked(each), with_guards=self.has_resource_guards))
                for each, database in served
            )
        return self._resources

    def _asked(self, served: ServedResource) -> ServedResource:
        """Return the resource with the resolver that tells the tenant of the page's caller."""
        if served.binding.resource.tenant_field is None:
            return served
        own = None if served.tenant is get_tenant_id else served.tenant
        return replace(served, tenant=self.tenant or own or tenant_resolver_of(self.app) or _tenant_if_any)

    def resource(self, request: Request) -> AdminResource:
        """Return the resource that the path names."""
        found = self.resources.get(request.path_params["slug"])
        if found is None:
            raise HTTPException(404, "There is no such resource.")
        if not found.is_browsable:
            raise HTTPException(403, "The service of this resource has reads of its own, which the page would go past.")
        return found

    def endpoint(self, build: _Build, guard: params.Depends) -> Callable[..., Awaitable[Response]]:
        """Return the endpoint of a page; the guard is asked before anything else."""

        async def endpoint(request: Request, allowed: object = guard) -> Response:
            if allowed is False:
                raise HTTPException(403, "You may not see this page.")
            layout = Layout(self.title or request.app.title, self.prefix, tuple(self.resources.values()))
            try:
                return await build(self, request, layout)
            except TenantMissing:
                text = "This resource belongs to tenants, and you have none: see the tenant of add_sql_admin."
                return self._error(request, layout, 403, text)
            except Exception as error:
                problem = problem_of(error)
                if problem is None:
                    raise
                return self._error(request, layout, problem.status, problem.detail, problem.headers)

        endpoint.__annotations__ = {"request": Request, "allowed": object, "return": Response}
        return endpoint

    def _error(self, request: Request, layout: Layout, status: int, text: str, headers: Any = None) -> Response:
        return layout.page(request, _TITLES.get(status, "Error"), note=text, trail=[("Overview", "")], status=status,
                           headers=headers)  # fmt: skip


def _identity(served: ServedResource) -> tuple[type[Any], str]:
    return served.binding.resource.model, served.binding.resource.prefix


_TITLES: Final = {403: "Not allowed", 404: "Not found", 422: "Not possible", 503: "Not available"}


async def _overview(admin: _Admin, request: Request, layout: Layout) -> Response:
    async def tenant_of(resource: AdminResource) -> object:
        return await resource.admission.tenant_of(request, "list")

    return await overview_page(request, layout, tenant_of, admin.expected, admin.timeout_ms)


async def _rows(admin: _Admin, request: Request, layout: Layout) -> Response:
    resource = admin.resource(request)
    tenant = await resource.admission.tenant_of(request, "list")
    return await rows_page(request, layout, resource, tenant, admin.page_size, admin.timeout_ms)


async def _record(admin: _Admin, request: Request, layout: Layout) -> Response:
    resource = admin.resource(request)
    tenant = await resource.admission.tenant_of(request, "get", request.query_params.getlist("key"))
    return await record_page(request, layout, resource, tenant, admin.timeout_ms)


async def _value(admin: _Admin, request: Request, layout: Layout) -> Response:
    resource = admin.resource(request)
    tenant = await resource.admission.tenant_of(request, "get", request.query_params.getlist("key"))
    return await value_page(request, layout, resource, tenant, admin.timeout_ms)


async def _nowhere(_admin: _Admin, _request: Request, _layout: Layout) -> Response:
    raise HTTPException(404, "There is no such page.")


_PAGES: Final[dict[str, _Build]] = {
    "": _overview,
    "/": _overview,
    "/resources/{slug}": _rows,
    "/resources/{slug}/record": _record,
    "/resources/{slug}/value": _value,
    "/{rest:path}": _nowhere,
}
