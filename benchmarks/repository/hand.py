"""Hand-written SQLAlchemy, as its manual teaches it: the measure of the others."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.repository.cases import contender, deep
from benchmarks.repository.model import THOUSAND, Item, T, created


@contender("get", "orm by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    return (await s.execute(select(Item).where(Item.id == n, Item.deleted_at.is_(None)))).scalar_one_or_none()


@contender("get rows", "core by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    return (await (await s.connection()).execute(select(T).where(T.c.id == n, T.c.deleted_at.is_(None)))).first()


@contender("list 50", "orm by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    statement = select(Item).where(Item.deleted_at.is_(None)).order_by(Item.created_at.desc(), Item.id.desc())
    return (await s.execute(statement.limit(50).offset(n % 100))).scalars().all()


@contender("list 50 rows", "core by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    statement = select(T).where(T.c.deleted_at.is_(None)).order_by(T.c.created_at.desc(), T.c.id.desc())
    return (await (await s.connection()).execute(statement.limit(50).offset(n % 100))).all()


@contender("total", "orm by hand", "hand")
async def _(s: AsyncSession, _n: int) -> object:
    statement = select(Item).where(Item.deleted_at.is_(None)).order_by(Item.created_at.desc(), Item.id.desc())
    counted = select(func.count()).select_from(Item).where(Item.deleted_at.is_(None))
    return (await s.execute(statement.limit(50))).scalars().all(), (await s.execute(counted)).scalar_one()


@contender("total rows", "core by hand", "hand")
async def _(s: AsyncSession, _n: int) -> object:
    connection = await s.connection()
    live = select(T).where(T.c.deleted_at.is_(None))
    page = (await connection.execute(live.order_by(T.c.created_at.desc(), T.c.id.desc()).limit(50))).all()
    counted = select(func.count()).select_from(T).where(T.c.deleted_at.is_(None))
    return page, (await connection.execute(counted)).scalar_one()


@contender("create", "orm by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    item = Item(**created(n))
    s.add(item)
    await s.flush()
    await s.refresh(item)
    return item


@contender("create rows", "core by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    connection = await s.connection()
    result = await connection.execute(insert(T).values(**created(n)))
    return (await connection.execute(select(T).where(T.c.id == result.inserted_primary_key[0]))).one()


@contender("update", "orm by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    item = (await s.execute(select(Item).where(Item.id == n, Item.deleted_at.is_(None)))).scalar_one()
    item.name = "new"
    await s.flush()
    await s.refresh(item)
    return item


@contender("update rows", "core by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    connection = await s.connection()
    await connection.execute(update(T).where(T.c.id == n, T.c.deleted_at.is_(None)).values(name="new"))
    return (await connection.execute(select(T).where(T.c.id == n))).one()


@contender("delete", "orm by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    await s.delete((await s.execute(select(Item).where(Item.id == n))).scalar_one())
    await s.flush()


@contender("delete rows", "core by hand", "hand")
async def _(s: AsyncSession, n: int) -> object:
    connection = await s.connection()
    if (await connection.execute(select(T.c.id).where(T.c.id == n))).first() is not None:
        await connection.execute(delete(T).where(T.c.id == n))


@contender("deep page", "offset by hand", "hand")
async def _(s: AsyncSession, _n: int) -> object:
    statement = select(T).where(T.c.deleted_at.is_(None)).order_by(T.c.created_at, T.c.id)
    return (await (await s.connection()).execute(statement.limit(50).offset(deep.depth))).all()


@contender("deep, all", "offset by hand", "hand")
async def _(s: AsyncSession, _n: int) -> object:
    statement = select(T).order_by(T.c.created_at, T.c.id).limit(50).offset(deep.depth)
    return (await (await s.connection()).execute(statement)).all()


@contender("1,000 returned", "orm add_all", "hand")
async def _(s: AsyncSession, _n: int) -> object:
    items = [Item(**row) for row in THOUSAND]
    s.add_all(items)
    await s.flush()
    return items


@contender("1,000 sent", "orm add_all", "hand")
async def _(s: AsyncSession, _n: int) -> object:
    s.add_all([Item(**row) for row in THOUSAND])
    await s.flush()
