"""advanced-alchemy's repository, which gives objects, as its manual shows it."""

from __future__ import annotations

from functools import lru_cache

from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.repository.cases import contender
from benchmarks.repository.model import THOUSAND, Item, created

NAME = "advanced-alchemy"


class Items(SQLAlchemyAsyncRepository[Item]):
    """The repository of items."""

    model_type = Item


@lru_cache(maxsize=1)
def items(session: AsyncSession) -> Items:
    """The repository of a session, made once so that making it is not counted."""
    return Items(session=session)


@contender("get", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items(s).get(n)


@contender("list 50", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    order = (OrderBy("created_at", "desc"), OrderBy("id", "desc"))
    return await items(s).list(Item.deleted_at.is_(None), LimitOffset(50, n % 100), *order)


@contender("total", NAME, "peer")
async def _(s: AsyncSession, _n: int) -> object:
    order = (OrderBy("created_at", "desc"), OrderBy("id", "desc"))
    return await items(s).list_and_count(Item.deleted_at.is_(None), LimitOffset(50, 0), *order)


@contender("create", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items(s).add(Item(**created(n)))


@contender("update", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items(s).update(Item(id=n, name="new"))


@contender("delete", NAME, "peer")
async def _(s: AsyncSession, n: int) -> object:
    return await items(s).delete(n)


@contender("1,000 returned", NAME, "peer")
async def _(s: AsyncSession, _n: int) -> object:
    return await items(s).add_many([Item(**row) for row in THOUSAND])


@contender("1,000 sent", NAME, "peer")
async def _(s: AsyncSession, _n: int) -> object:
    return await items(s).add_many([Item(**row) for row in THOUSAND])
