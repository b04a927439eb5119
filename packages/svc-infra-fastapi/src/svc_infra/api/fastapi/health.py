"""Health routes: what a `HealthRegistry` finds, over HTTP.

    registry = HealthRegistry()
    registry.add("database", check_database(url))
    add_health_route(app, "/_health/ready", registry, group="ready")
    add_health_route(app, "/_health/live", registry, group="live")

The registry itself logs when a check becomes unhealthy and when it is healthy again, so that a probe that asks every
second doesn't fill the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from fastapi import FastAPI
from fastapi.routing import APIRoute
from svc_infra.api.fastapi.shutdown import is_draining
from svc_infra.health import HealthRegistry, HealthReport

__all__ = ["add_health_route", "report_response"]

UNHEALTHY_STATUS = 503


class HealthRoute(APIRoute):
    """Tells a health route from others, so that it is not added twice."""


def report_response(report: HealthReport) -> Response:
    """Return 200 when traffic can be served, else 503, with a body that names no host, user or driver text."""
    return Response(
        pydantic_core.to_json({**report.to_dict(), "ok": report.healthy}),
        status_code=200 if report.healthy else UNHEALTHY_STATUS,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


def add_health_route(
    app: FastAPI,
    path: str,
    registry: HealthRegistry | Callable[[], HealthRegistry],
    *,
    name: str | None = None,
    group: str | None = None,
    include_in_schema: bool = False,
) -> None:
    """Add `GET` and `HEAD` of *path*, or nothing when the application has a health route there already.

    Args:
        app: The application.
        path: The route's path.
        registry: The checks, or what gives them when a request asks.
        name: The route's name; default the words of its path, such as "health_ready".
        group: Only the checks of this probe; None for all.
        include_in_schema: Whether the OpenAPI document shows the route.
    """
    if any(isinstance(route, HealthRoute) and route.path == path for route in app.router.routes):
        return

    name = name or "_".join(re.findall(r"[A-Za-z0-9]+", path)) or "health"

    async def health(request: Request) -> Response:
        """Whether what the application depends on can be used."""
        checks = registry if isinstance(registry, HealthRegistry) else registry()
        if is_draining(request.app):
            checks.start_draining()
        found = report_response(await checks.run(group=group))
        if request.method == "HEAD":
            return Response(status_code=found.status_code, headers=dict(found.headers))
        return found

    for method in ("GET", "HEAD"):
        app.router.routes.append(
            HealthRoute(
                path,
                health,
                methods=[method],
                name=name,
                operation_id=name,
                include_in_schema=include_in_schema and method == "GET",
                tags=["health"],
                response_model=None,
                responses={UNHEALTHY_STATUS: {"description": "Something that the application needs is not usable"}},
            )
        )
