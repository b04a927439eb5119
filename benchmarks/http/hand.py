"""The hand-written service: FastAPI and SQLAlchemy's ORM as their manuals advise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.http.model import Item, ItemCreate, ItemPage, ItemRead, engine


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one engine while the application runs."""
    made = engine()
    app.state.sessions = async_sessionmaker(made, expire_on_commit=False)
    yield
    await made.dispose()


app = FastAPI(lifespan=lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    """Give a session; the endpoint commits."""
    async with app.state.sessions() as found:
        yield found


Session = Annotated[AsyncSession, Depends(session)]


@app.get("/items/{item_id}", response_model=ItemRead)
async def get(item_id: int, session: Session) -> Item:
    """Answer one row."""
    found = await session.get(Item, item_id)
    if found is None:
        raise HTTPException(404)
    return found


@app.get("/items", response_model=ItemPage)
async def page(
    session: Session, limit: Annotated[int, Query(ge=1, le=1000)] = 50, offset: Annotated[int, Query(ge=0)] = 0
) -> dict[str, object]:
    """Answer a page of rows."""
    rows = await session.scalars(select(Item).order_by(Item.id).limit(limit).offset(offset))
    return {"items": rows.all(), "limit": limit, "offset": offset}


@app.post("/items", response_model=ItemRead, status_code=201)
async def create(body: ItemCreate, session: Session) -> Item:
    """Create a row."""
    item = Item(**body.model_dump())
    session.add(item)
    await session.flush()
    await session.refresh(item)
    await session.commit()
    return item
