"""The tenant of the current request.

Who the tenant is, the application says: by a dependency given to `set_tenant_resolver`, which may itself depend on the
application's authentication. A header is used only when it is chosen, with `tenant_header()`, because whoever can send
a request can send a header: choose it behind a gateway that sets it.

    set_tenant_resolver(app, current_tenant)              # async def current_tenant(user: CurrentUser) -> str: ...
    set_tenant_resolver(app, tenant_header())             # X-Tenant-Id, set by a trusted gateway
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias
from uuid import UUID

from starlette.requests import HTTPConnection

from fastapi import Depends, FastAPI
from fastapi.exceptions import HTTPException

__all__ = [
    "OptionalTenantId",
    "TenantId",
    "TenantNotConfigured",
    "TenantResolver",
    "get_tenant_id",
    "require_tenant_id",
    "set_tenant_resolver",
    "tenant_check",
    "tenant_header",
    "tenant_resolver_of",
]

TenantKey: TypeAlias = str | int | UUID
"""What a tenant column may hold."""

TenantResolver: TypeAlias = Callable[..., TenantKey | Awaitable[TenantKey | None] | None]
"""A FastAPI dependency that returns the tenant of the request, or None when there is none."""

_ATTRIBUTE = "svc_infra_tenant_resolver"
MISSING, INVALID = "tenant_context_missing", "tenant_context_invalid"


class TenantNotConfigured(RuntimeError):
    """The tenant of a request is needed but the application never said how to find it."""


def set_tenant_resolver(app: FastAPI, resolver: TenantResolver | None) -> None:
    """Say how the tenant of a request of *app* is found; None takes it back.

    Args:
        app: The application.
        resolver: For generated routes any FastAPI dependency (its parameters are resolved and documented as usual). To
            be used by `TenantId` as well it must accept the connection alone, as `tenant_header()` does.
    """
    setattr(app.state, _ATTRIBUTE, resolver)


def tenant_resolver_of(app: FastAPI) -> TenantResolver | None:
    """Return what `set_tenant_resolver` was given, or None."""
    resolver: TenantResolver | None = getattr(app.state, _ATTRIBUTE, None)
    return resolver


def tenant_check(prefix: str, field: str, setup: str) -> Callable[[FastAPI], None]:
    """Return a check for the start of an application, which raises when nothing says how a tenant is found.

    Args:
        prefix: Prefix of the resource that has tenants.
        field: Its `tenant_field`.
        setup: Name of the function that serves it, which takes the resolver as `tenant`.
    """

    def check(app: FastAPI) -> None:
        if tenant_resolver_of(app) is None:
            raise TenantNotConfigured(
                f"the resource {prefix} has tenant_field={field!r}, but nothing says who the tenant of a request is."
                f" Pass {setup}(..., tenant=<dependency that returns the tenant>) or call"
                " set_tenant_resolver(app, ...) of svc_infra.api.fastapi.tenancy.context;"
                " tenant_header() there believes the header X-Tenant-Id"
            )

    return check


def tenant_header(name: str = "X-Tenant-Id") -> Callable[[HTTPConnection], str | None]:
    """Return a resolver that believes the request header *name*.

    Anyone who reaches the application can send the header. Use it only behind a gateway that authenticates the caller
    and overwrites the header. Several lines of it are 400 `tenant_context_invalid`: of a gateway that adds a line where
    it should overwrite, nobody can tell which one is the caller's.
    """

    async def tenant_from_header(connection: HTTPConnection) -> str | None:
        lines = connection.headers.getlist(name)
        if len(lines) > 1:
            raise HTTPException(400, INVALID)
        return (lines[0].strip() or None) if lines else None

    return tenant_from_header  # type: ignore[return-value]


async def get_tenant_id(connection: HTTPConnection) -> TenantKey | None:
    """Return the tenant of the request, or None when it has none.

    Raises:
        TenantNotConfigured: `set_tenant_resolver` was not called.
    """
    resolver = tenant_resolver_of(connection.app)
    if resolver is None:
        raise TenantNotConfigured("The tenant of a request is not known: call set_tenant_resolver(app, ...) first.")
    found = resolver(connection)
    return await found if inspect.isawaitable(found) else found


async def require_tenant_id(tenant: Annotated[TenantKey | None, Depends(get_tenant_id)]) -> TenantKey:
    """Return the tenant of the request; 400 `tenant_context_missing` when it has none."""
    if tenant is None or tenant == "":
        raise HTTPException(400, MISSING)
    return tenant


TenantId: TypeAlias = Annotated[TenantKey, Depends(require_tenant_id)]
"""The tenant of the request as the type of an endpoint's parameter; 400 when it has none."""

OptionalTenantId: TypeAlias = Annotated[TenantKey | None, Depends(get_tenant_id)]
"""The tenant of the request, or None, as the type of an endpoint's parameter."""
