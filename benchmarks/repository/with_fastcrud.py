"""FastCRUD, which gives dicts, as its manual shows it, without its commit in every call."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastcrud import FastCRUD
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.repository.cases import contender
from benchmarks.repository.model import Item, T, created

NAME = "FastCRUD"
FIELDS = [column.name for column in T.columns]


class ItemCreate(BaseModel):
    """What a client sends."""

    name: str
    email: str
    city: str
    age: int
    score: float
    active: bool
    note: str | None
    created_at: datetime


class ItemRead(ItemCreate):
    """What a client gets."""

    id: int
    updated_at: datetime
    deleted_at: datetime | None


items: Any = FastCRUD(Item)


@contender("get rows", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items.get(s, id=n, deleted_at=None)


async def page(s: AsyncSession, offset: int, *, total: bool) -> object:
    """Read a page."""
    return await items.get_multi(
        s,
        offset=offset,
        limit=50,
        sort_columns=["created_at", "id"],
        sort_orders=["desc", "desc"],
        return_total_count=total,
        deleted_at=None,
    )


@contender("list 50 rows", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await page(s, n % 100, total=False)


@contender("total rows", NAME, "peer")
async def _(s: AsyncSession, _n: int) -> object:
    return await page(s, 0, total=True)


@contender("create rows", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items.create(s, ItemCreate(**created(n)), commit=False, schema_to_select=ItemRead)


@contender("update rows", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items.update(s, {"name": "new"}, commit=False, return_columns=FIELDS, id=n)


@contender("delete rows", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items.db_delete(s, commit=False, id=n)
