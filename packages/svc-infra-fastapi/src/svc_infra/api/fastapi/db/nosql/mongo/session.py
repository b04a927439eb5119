"""The MongoDB database for a route, as a parameter.

@app.get("/items")
async def list_items(db: MongoDatabaseDep):
    return await db.items.find({}, {"_id": 0}).to_list(100)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

from starlette.requests import HTTPConnection

from fastapi import Depends
from svc_infra.api.fastapi.db.nosql.mongo.state import DEFAULT, mongo_database_of
from svc_infra.db.nosql.mongo.types import MongoDatabase

__all__ = ["MongoDatabaseDep", "get_mongo_database", "mongo_database"]


async def get_mongo_database(connection: HTTPConnection) -> MongoDatabase:
    """Return the database of the application's default deployment. Override it in tests."""
    return mongo_database_of(connection)


def mongo_database(name: str) -> Callable[[HTTPConnection], Coroutine[Any, Any, MongoDatabase]]:
    """Return the dependency that gives the database of the deployment *name*."""
    if name == DEFAULT:
        return get_mongo_database

    async def get_named_database(connection: HTTPConnection) -> MongoDatabase:
        return mongo_database_of(connection, name)

    return get_named_database


# The driver's types exist for type checkers only, so FastAPI sees no more than that it is an object.
MongoDatabaseDep: TypeAlias = Annotated[Any, Depends(get_mongo_database)]
"""The database of the default deployment, as the type of an endpoint's parameter."""
