"""The generated service."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from benchmarks.http.model import POOL_SIZE, Item, url
from svc_infra.api.fastapi.db.sql.add import add_sql_db, setup_sql
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService


class Hooked(SqlService[Item]):
    """A service whose hook makes every create go through objects."""

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        """Change nothing."""
        return data


app = FastAPI()
add_sql_db(app, url=f"{url('postgresql')}?sslmode=disable", pool_size=POOL_SIZE, max_overflow=0)
setup_sql(
    app,
    [
        SqlResource(model=Item, prefix="/items", allowed_filter_fields=["id", "city"]),
        SqlResource(model=Item, prefix="/hooked", service_factory=Hooked, allowed_filter_fields=["id", "city"]),
    ],
)
