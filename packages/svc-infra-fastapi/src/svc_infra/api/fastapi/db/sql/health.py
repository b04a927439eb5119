"""The health route of a SQL database."""

from __future__ import annotations

import logging

import pydantic_core
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.state import get_database, slots_of
from svc_infra.health import HealthRegistry, HealthReport

__all__ = ["add_health_route", "report_response"]

logger = logging.getLogger("svc_infra.api.fastapi")

UNHEALTHY_STATUS = 503


def report_response(report: HealthReport) -> Response:
    """Return 200 when traffic can be served, else 503, with a body that names no host, user or driver text."""
    if not report.healthy:
        logger.warning("health: %s", report.summary())
    return Response(
        pydantic_core.to_json(report.to_dict()),
        status_code=200 if report.healthy else UNHEALTHY_STATUS,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


def add_health_route(app: FastAPI, prefix: str, *, name: str, timeout: float, include_in_schema: bool) -> None:
    """Add the route, or nothing when the application has it already."""
    if any(isinstance(route, _HealthRoute) and route.path == prefix for route in app.router.routes):
        return

    async def health(request: Request) -> Response:
        """Whether the database answers."""
        return report_response(await _registry(request.app, name, timeout).run())

    app.router.routes.append(
        _HealthRoute(
            prefix,
            health,
            methods=["GET", "HEAD"] if not include_in_schema else ["GET"],
            name=f"{name}_database_health",
            include_in_schema=include_in_schema,
            tags=["health"],
            response_model=None,
            responses={UNHEALTHY_STATUS: {"description": "The database does not answer"}},
        )
    )


class _HealthRoute(APIRoute):
    """Tells a health route from others, so that it is not added twice."""


def _registry(app: FastAPI, name: str, timeout: float) -> HealthRegistry:
    slot = slots_of(app).get(name)
    if slot is not None and slot.health is not None:
        return slot.health

    async def check() -> None:
        # The registry bounds the check; the ping's own limit is later, so that the reason is "timeout" in one place.
        await get_database(app, name).ping(timeout * 2)

    registry = HealthRegistry()
    registry.add("database", check, timeout=timeout)
    if slot is not None:
        slot.health = registry
    return registry

