"""Connections that the server ends while they are in use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import String, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import Disconnected
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.translate import translate

Use = Callable[[AsyncSession], Awaitable[object]]


class Signal(ModelBase):
    __tablename__ = "lost_signals"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))


signals = SqlRepository(Signal)

USES: dict[str, Use] = {
    "a kept statement": lambda session: signals.rows.get(session, 1),
    "rows of which none comes back": lambda session: signals.create_many(
        session, ({"name": "x"} for _ in range(500)), returning=False
    ),
    "rows that come back": lambda session: signals.create_many(session, ({"name": "x"} for _ in range(500))),
    "a statement of the application": lambda session: session.execute(select(Signal).limit(1)),
}


async def until_it_fails(use: Use, session: AsyncSession) -> None:
    async with asyncio.timeout(20):
        while True:
            await use(session)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_session_that_the_server_ends_is_disconnected_and_closes(
    postgres_url: str, postgres_admin_url: str, driver: str, use: Use
) -> None:
    """Whether the driver has read none of the server's last words, some, or all; in a session of the application's."""
    url = postgres_url.replace("postgresql:", f"postgresql+{driver}:", 1)
    async with Database(url, environ={}, pool_size=1) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=[Signal.__table__])
        with psycopg.connect(postgres_admin_url, autocommit=True) as other:
            for turns in range(5):
                session = AsyncSession(database.engine)
                number = await session.scalar(text("SELECT pg_backend_pid()"))
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (number,))  # without a turn of the loop
                for _ in range(turns):
                    await asyncio.sleep(0)
                with pytest.raises(Exception) as caught:  # noqa: PT011 (what it is, is told below)
                    await until_it_fails(use, session)
                assert isinstance(translate(caught.value), Disconnected), repr(caught.value)
                await session.close()
