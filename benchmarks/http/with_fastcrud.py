"""FastCRUD in FastAPI, as its manual shows it, with its pages without a total."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from fastcrud import FastCRUD
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
items: Any = FastCRUD(Item)


async def session() -> AsyncIterator[AsyncSession]:
    """Give a session."""
    async with app.state.sessions() as found:
        yield found


Session = Annotated[AsyncSession, Depends(session)]


@app.get("/items/{item_id}", response_model=ItemRead)
async def get(item_id: int, session: Session) -> dict[str, Any]:
    """Answer one row."""
    found = await items.get(session, id=item_id)
    if found is None:
        raise HTTPException(404)
    return found  # type: ignore[no-any-return]


@app.get("/items", response_model=ItemPage)
async def page(
    session: Session, limit: Annotated[int, Query(ge=1, le=1000)] = 50, offset: Annotated[int, Query(ge=0)] = 0
) -> dict[str, object]:
    """Answer a page of rows."""
    found = await items.get_multi(session, offset=offset, limit=limit, sort_columns="id", return_total_count=False)
    return {"items": found["data"], "limit": limit, "offset": offset}


@app.post("/items", response_model=ItemRead, status_code=201)
async def create(body: ItemCreate, session: Session) -> ItemRead:
    """Create a row."""
    return await items.create(session, body, schema_to_select=ItemRead, return_as_model=True)  # type: ignore[no-any-return]
