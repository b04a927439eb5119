"""A service with a slow write, whose readiness fails before it stops: `uvicorn contract.slow_service:app`."""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI
from sqlalchemy import text

from svc_infra.api.fastapi.db.sql.add import add_sql_db, add_sql_health
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep
from svc_infra.api.fastapi.shutdown import add_graceful_shutdown

app = FastAPI()
add_sql_db(app)
add_sql_health(app, prefix="/ready")
add_graceful_shutdown(app, delay_seconds=float(os.environ.get("DELAY_SECONDS", "0")))


@app.post("/slow")
async def slow(seconds: float, session: SqlSessionDep) -> dict[str, str]:
    """Write something, and take that long before it is committed."""
    await session.execute(text("INSERT INTO slow_writes VALUES (1)"))
    await asyncio.sleep(seconds)
    return {"status": "written"}
