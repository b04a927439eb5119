"""advanced-alchemy's service in FastAPI, as its manual shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from fastapi import Depends, FastAPI, Query
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from benchmarks.http.model import Item, ItemCreate, ItemPage, ItemRead, engine


class ItemService(SQLAlchemyAsyncRepositoryService[Item]):
    """The service of items."""

    class Repository(SQLAlchemyAsyncRepository[Item]):
        """The repository of items."""

        model_type = Item

    repository_type = Repository


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


async def service(session: Annotated[AsyncSession, Depends(session)]) -> AsyncIterator[ItemService]:
    """Give the service of a request."""
    async with ItemService.new(session=session) as found:
        yield found


Service = Annotated[ItemService, Depends(service)]


@app.get("/items/{item_id}", response_model=ItemRead)
async def get(item_id: int, items: Service) -> Item:
    """Answer one row."""
    return await items.get(item_id)


@app.get("/items", response_model=ItemPage)
async def page(
    items: Service, limit: Annotated[int, Query(ge=1, le=1000)] = 50, offset: Annotated[int, Query(ge=0)] = 0
) -> dict[str, object]:
    """Answer a page of rows."""
    rows = await items.list(LimitOffset(limit, offset), OrderBy("id"))
    return {"items": rows, "limit": limit, "offset": offset}


@app.post("/items", response_model=ItemRead, status_code=201)
async def create(body: ItemCreate, items: Service) -> Item:
    """Create a row."""
    return await items.create(body, auto_commit=True)
