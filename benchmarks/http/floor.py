"""The floor: Starlette and asyncpg, with no more than what the task needs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pydantic_core
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.http.model import POOL_SIZE, Item, url

COLUMNS = ", ".join(column.name for column in Item.__table__.columns)
WRITTEN = ("name", "email", "city", "age", "score", "active", "note")
INSERT = f"INSERT INTO http_items ({', '.join(WRITTEN)}) VALUES ($1,$2,$3,$4,$5,$6,$7) RETURNING {COLUMNS}"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep one pool while the application runs."""
    async with asyncpg.create_pool(url("postgresql"), min_size=POOL_SIZE, max_size=POOL_SIZE, ssl=False) as pool:
        app.state.pool = pool
        yield


def answer(content: object, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(pydantic_core.to_json(content), status, media_type="application/json")


async def get(request: Request) -> Response:
    """Answer one row."""
    query = f"SELECT {COLUMNS} FROM http_items WHERE id = $1"
    found = await request.app.state.pool.fetchrow(query, int(request.path_params["id"]))
    return Response(status_code=404) if found is None else answer(dict(found))


async def page(request: Request) -> Response:
    """Answer a page of rows."""
    limit, offset = int(request.query_params.get("limit", 50)), int(request.query_params.get("offset", 0))
    query = f"SELECT {COLUMNS} FROM http_items ORDER BY id LIMIT $1 OFFSET $2"
    rows = await request.app.state.pool.fetch(query, limit, offset)
    return answer({"items": [dict(row) for row in rows], "limit": limit, "offset": offset})


async def create(request: Request) -> Response:
    """Create a row."""
    body = json.loads(await request.body())
    return answer(dict(await request.app.state.pool.fetchrow(INSERT, *(body.get(name) for name in WRITTEN))), 201)


app = Starlette(
    lifespan=lifespan,
    routes=[Route("/items/{id}", get), Route("/items", page), Route("/items", create, methods=["POST"])],
)
