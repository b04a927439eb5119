"""The health of MongoDB deployments, where the application has any; MongoDB's own package stays optional."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from fastapi import FastAPI

__all__ = ["MongoStatus", "mongo_statuses"]


@dataclass(frozen=True, slots=True)
class MongoStatus:
    """One deployment.

    Attributes:
        name: Its name within the application.
        milliseconds: How long it took to answer; None when it didn't.
        problem: Why it didn't.
    """

    name: str
    milliseconds: float | None
    problem: str | None


async def mongo_statuses(app: FastAPI) -> list[MongoStatus]:
    """Ask each deployment of `add_mongo_db` how it is; none where there is none."""
    if getattr(app.state, "svc_infra_mongo", None) is None:
        return []
    from svc_infra.api.fastapi.db.nosql.mongo.state import get_mongo, mongo_slots_of

    async def ask(name: str) -> MongoStatus:
        start = time.perf_counter()
        if await get_mongo(app, name).ping(timeout=1.0):
            return MongoStatus(name, (time.perf_counter() - start) * 1000, None)
        return MongoStatus(name, None, "does not answer")

    return await asyncio.gather(*map(ask, sorted(mongo_slots_of(app))))
