"""Fixtures of the connections that svc-infra-dburl makes possible."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from svc_infra.dburl import ResolvedUrl
from svc_infra.dburl.engine import prepare_engine


async def run(resolved: ResolvedUrl, statement: str) -> object:
    """Connect with a new engine, run the statement and return the last column of its first row."""
    if resolved.mode == "sync":
        engine = create_engine(resolved.url, connect_args=resolved.connect_args, poolclass=NullPool)
        prepare_engine(engine, resolved)
        with engine.connect() as connection:
            row = connection.exec_driver_sql(statement).first()
        engine.dispose()
    else:
        async_engine = create_async_engine(resolved.url, connect_args=resolved.connect_args, poolclass=NullPool)
        prepare_engine(async_engine, resolved)
        async with async_engine.connect() as async_connection:
            row = (await async_connection.exec_driver_sql(statement)).first()
        await async_engine.dispose()
    return None if row is None else row[-1]


@pytest.fixture
def connect_and_run() -> Callable[..., object]:
    return run
