"""A service with a column of every usual type and every action switched on, for tests of what its document promises."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header
from sqlalchemy import (
    REAL,
    BigInteger,
    Date,
    Double,
    Enum,
    ForeignKey,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.mixins import SoftDelete, Tenant, Timestamps, UuidKey, Versioned

__all__ = ["MODELS", "create_app"]


class Size(enum.Enum):
    """How big a thing is."""

    SMALL = "small"
    LARGE = "large"


class Thing(UuidKey, Timestamps, SoftDelete, Versioned, ModelBase):
    """A thing with a value of every type."""

    __tablename__ = "contract_things"

    name: Mapped[str] = mapped_column(String(40), doc="What it is called.", info={"example": "Lamp"})
    code: Mapped[str | None] = mapped_column(String(8), unique=True, comment="What stands on the label.")
    about: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    count: Mapped[int] = mapped_column(SmallInteger, default=0)
    seen: Mapped[int | None] = mapped_column(BigInteger)
    weight: Mapped[float | None] = mapped_column(Double)
    ratio: Mapped[float | None] = mapped_column(REAL)
    size: Mapped[Size | None] = mapped_column(Enum(Size))
    is_new: Mapped[bool] = mapped_column(default=True)
    day: Mapped[dt.date | None] = mapped_column(Date)
    opens: Mapped[dt.time | None]
    built: Mapped[dt.datetime | None]
    owner: Mapped[uuid.UUID | None]
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)
    password_hash: Mapped[str | None] = mapped_column(String(60))


class Box(Tenant, ModelBase):
    """A box of a tenant, with a thing in it."""

    __tablename__ = "contract_boxes"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(20))
    holds: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("contract_things.id"))


class Shelf(ModelBase):
    """A place that two numbers name together."""

    __tablename__ = "contract_shelves"

    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    column: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(String(20), server_default="")


MODELS: tuple[type[ModelBase], ...] = (Thing, Box, Shelf)
"""Every model, a referred one before those that refer to it."""


async def tenant(x_tenant: Annotated[Literal["one", "two"], Header(description="Who asks.")]) -> str:
    """Return the tenant of the request."""
    return x_tenant


def create_app(url: str) -> FastAPI:
    """Return the service over the database at *url*."""
    app = FastAPI(title="Shop")
    resources: list[ApiResource[Any]] = [
        ApiResource(
            model=Thing,
            prefix="/things",
            soft_delete=True,
            actions=ALL_ACTIONS,
            search_fields=["name", "about"],
            allowed_filter_fields=["name", "price", "count", "weight", "size", "is_new", "day", "built", "owner"],
        ),
        ApiResource(
            model=Box,
            prefix="/boxes",
            actions=ALL_ACTIONS - {"restore"},
            tenant_field="tenant_id",
            search_fields=["label"],
            require_if_match=True,
        ),
        ApiResource(model=Shelf, prefix="/shelves", id_attr=("row", "column"), actions=ALL_ACTIONS - {"restore"}),
    ]
    setup_sql(app, resources, url=url, tenant=tenant)
    return app
