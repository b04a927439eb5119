"""The repository, as objects and as rows, with the limits that it has to keep."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.repository.cases import contender, deep
from benchmarks.repository.model import THOUSAND, Item, created
from svc_infra.db.sql.repository import SqlRepository

repo = SqlRepository(Item, soft_delete=True)
hard = SqlRepository(Item)


@contender("get", "repository", "ours", limit=0.75)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.get(s, n)


@contender("get rows", "rows", "ours", limit=0.60)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.get(s, n)


@contender("list 50", "repository", "ours", limit=0.75)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.list(s, limit=50, offset=n % 100, order_by="-created_at")


@contender("list 50 rows", "rows", "ours", limit=0.70)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.list(s, limit=50, offset=n % 100, order_by="-created_at")


@contender("total", "repository", "ours")
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.list_and_count(s, limit=50, order_by="-created_at")


@contender("total rows", "rows", "ours", limit=1.00)
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.rows.list_and_count(s, limit=50, order_by="-created_at")


@contender("create", "repository", "ours", limit=0.55)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.create(s, created(n))


@contender("create rows", "rows", "ours", limit=0.50)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.create(s, created(n))


@contender("update", "repository", "ours", limit=0.50)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.update(s, n, {"name": "new"})


@contender("update rows", "rows", "ours", limit=0.50)
async def _(s: AsyncSession, n: int) -> object:
    return await repo.rows.update(s, n, {"name": "new"})


@contender("delete", "repository", "ours", limit=0.50)
async def _(s: AsyncSession, n: int) -> object:
    return await hard.delete(s, n)


@contender("delete rows", "rows", "ours", limit=0.45)
async def _(s: AsyncSession, n: int) -> object:
    return await hard.rows.delete(s, n)


@contender("deep page", "keyset", "ours", limit=0.05)
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.rows.page(s, limit=50, order_by="created_at", cursor=deep.cursor)


@contender("deep, all", "keyset", "ours", limit=0.05)
async def _(s: AsyncSession, _n: int) -> object:
    return await hard.rows.page(s, limit=50, order_by="created_at", cursor=deep.cursor)


@contender("1,000 returned", "create_many", "ours", limit=0.35)
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.create_many(s, THOUSAND)


@contender("1,000 sent", "create_many", "ours", limit=0.15)
async def _(s: AsyncSession, _n: int) -> object:
    return await repo.create_many(s, THOUSAND, returning=False)
