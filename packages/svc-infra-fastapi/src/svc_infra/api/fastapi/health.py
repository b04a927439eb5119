"""Health routes: what a `HealthRegistry` finds, over HTTP.

add_health_routes(app, registry)      # GET /_health/live, /_health/ready and /_health/startup
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from fastapi import FastAPI
from fastapi.routing import APIRoute
from svc_infra.api.fastapi.shutdown import is_draining
from svc_infra.health import HealthRegistry, HealthReport

__all__ = ["add_health_route", "report_response"]

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

UNHEALTHY_STATUS = 503


class HealthRoute(APIRoute):
    """Tells a health route from others, so that it is not added twice."""


def report_response(report: HealthReport) -> Response:
    """Return 200 when traffic can be served, else 503, with a body that names no host, user or driver text."""
    if not report.healthy:
        logger.warning("health: %s", report.summary())
    return Response(
        pydantic_core.to_json({**report.to_dict(), "ok": report.healthy}),
        status_code=200 if report.healthy else UNHEALTHY_STATUS,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


def add_health_route(
    app: FastAPI,
    path: str,
    registry: Callable[[], HealthRegistry],
    *,
    name: str,
    group: str | None = None,
    include_in_schema: bool = False,
) -> None:
    """Add `GET` and `HEAD` of *path*, or nothing when the application has a health route there already.

    Args:
        app: The application.
        path: The route's path.
        registry: Gives the checks, when a request asks.
        name: The route's name.
        group: Only the checks of this probe; None for all.
        include_in_schema: Whether the OpenAPI document shows the route.
    """
    if any(isinstance(route, HealthRoute) and route.path == path for route in app.router.routes):
        return

    async def health(request: Request) -> Response:
        """Whether what the application depends on can be used."""
        checks = registry()
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
