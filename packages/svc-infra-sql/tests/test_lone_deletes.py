"""Deletes that run on the driver itself, alone or in a session, from their second run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import CHAR, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import ForeignKeyViolation
from svc_infra.db.sql.repository import SqlRepository


class Thing(ModelBase):
    __tablename__ = "deleted_things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class Part(ModelBase):
    __tablename__ = "deleted_parts"
    id: Mapped[str] = mapped_column(String(10), primary_key=True)
    thing_id: Mapped[int] = mapped_column(ForeignKey("deleted_things.id"))


class Word(ModelBase):
    __tablename__ = "deleted_words"
    id: Mapped[str] = mapped_column(CHAR(4), primary_key=True)


things = SqlRepository(Thing)
parts = SqlRepository(Part)
words = SqlRepository(Word)


@pytest.fixture(params=["postgres_url", "sqlite_url"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database of each kind whose driver runs statements directly, with empty tables."""
    async with Database(request.getfixturevalue(request.param), environ={}) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=[Thing.__table__, Part.__table__])
        yield database


async def test_a_deleted_object_leaves_its_session(database: Database) -> None:
    """At any run of the statement, counted by the driver or not, delete tells whether there was a row."""
    async with database.session() as session:
        for number in range(4):
            made = await things.create(session, {"name": f"gone {number}"})
            assert await things.delete(session, made.id)
            assert made not in session
            assert not await things.delete(session, made.id)
    async with database.lone() as lone:
        for number in range(4):
            row = await things.rows.create(lone, {"name": f"gone {number}"})
            assert await things.rows.delete(lone, row.id)
            assert not await things.rows.delete(lone, row.id)


async def test_what_is_referred_to_is_not_deleted(database: Database) -> None:
    """A refusal is the same typed error at any run of the statement, and leaves a lone connection usable."""
    async with database.lone() as lone:
        thing = await things.rows.create(lone, {"name": "kept"})
        await parts.rows.create(lone, {"id": "P1", "thing_id": thing.id})
        for _ in range(3):
            with pytest.raises(ForeignKeyViolation):
                await things.rows.delete(lone, thing.id)
        assert await parts.rows.delete(lone, "P1")
        assert await things.rows.delete(lone, thing.id)


async def test_a_padded_key_is_deleted_by_the_text_without_its_padding(postgres_url: str) -> None:
    """Where one text finds another, the session's object is that of the row, and not of the text that found it."""
    async with Database(postgres_url) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=[Word.__table__])
        async with database.session() as session:
            for _ in range(3):
                word = await words.create(session, {"id": "ab"})
                assert word.id == "ab  "
                assert await words.delete(session, "ab")
                assert word not in session
