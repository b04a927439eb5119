"""The table that every contender serves, and the schemas of the hand-written ones."""

from __future__ import annotations

import os
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, String, func
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

POOL_SIZE = 20


class Base(DeclarativeBase):
    """The tables of this benchmark."""


class Item(Base):
    """A row of eleven columns."""

    __tablename__ = "http_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(100))
    city: Mapped[str] = mapped_column(String(50))
    age: Mapped[int]
    score: Mapped[float]
    active: Mapped[bool]
    note: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class ItemCreate(BaseModel):
    """What creates an item."""

    name: str
    email: str
    city: str
    age: int
    score: float
    active: bool
    note: str | None = None
    closed_at: datetime | None = None


class ItemRead(ItemCreate):
    """An item as responses show it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime
    updated_at: datetime


class ItemPage(BaseModel):
    """A page of items."""

    items: list[ItemRead]
    limit: int
    offset: int


def url(driver: str = "postgresql+asyncpg") -> str:
    """Return the database's URL for *driver*."""
    return os.environ["BENCH_URL"].replace("postgresql", driver, 1).replace("?sslmode=disable", "")


def engine() -> AsyncEngine:
    """Return an engine as production code would make it: a pool of 20 that tests its connections."""
    return create_async_engine(
        url(), pool_size=POOL_SIZE, max_overflow=0, pool_pre_ping=True, connect_args={"ssl": False}
    )
