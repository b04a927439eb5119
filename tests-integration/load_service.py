"""The service under load: run by uvicorn in a process of its own, on the database that LOAD_URL names."""

from __future__ import annotations

import os
from datetime import datetime

from fastapi import FastAPI
from sqlalchemy import DateTime, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import QueuePool

from svc_infra.api.fastapi.db.sql.add import add_sql_db, get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.db.sql.service import SqlService

__all__ = ["POOL_SIZE", "Base", "create_app"]

POOL_SIZE = 20


class Base(DeclarativeBase):
    """The tables of the service."""


class Item(Base):
    """A row."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    city: Mapped[str | None] = mapped_column(String(50))
    age: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Checked(SqlService[Item]):
    """A service with a hook, so that its writes go through objects."""

    async def pre_create(self, data: dict[str, object]) -> dict[str, object]:
        """Change nothing."""
        return data


def create_app() -> FastAPI:
    """Return the service."""
    app = FastAPI()
    add_sql_db(app, url=os.environ["LOAD_URL"], pool_size=POOL_SIZE, max_overflow=0, pool_timeout=30)
    actions = ALL_ACTIONS - {"restore"}
    setup_sql(
        app,
        [
            ApiResource(model=Item, prefix="/items", search_fields=["name"], actions=actions),
            ApiResource(model=Item, prefix="/checked", service_factory=Checked),
        ],
    )

    @app.get("/pool")
    async def pool() -> dict[str, int]:
        found = get_database(app).engine.pool
        assert isinstance(found, QueuePool)
        return {"in_use": found.checkedout(), "idle": found.checkedin(), "size": found.size()}

    return app
