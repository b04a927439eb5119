"""What only the database refuses names the field of the body, whatever its column is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import CheckConstraint, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.state import get_database
from svc_infra.db.sql.resource import SqlResource

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]


class FieldBase(DeclarativeBase):
    """The tables of this module."""


class Pet(FieldBase):
    __tablename__ = "field_pets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column("called", String(20), unique=True)
    age: Mapped[int | None] = mapped_column("years")
    __table_args__ = (CheckConstraint("years >= 0", name="grown"),)


@pytest.mark.parametrize("empty_sql_url", ["sqlite", "postgres", "mysql"], indirect=True)
async def test_the_database_s_refusal_names_the_field_of_the_body(empty_sql_url: str, running: ClientOf) -> None:
    """A taken key, a broken check and, where the database tells it, a value too long for a column that was narrowed."""
    app = FastAPI()
    setup_sql(app, [SqlResource(model=Pet, prefix="/pets")], url=empty_sql_url)
    client = await running(app)
    is_told = empty_sql_url.startswith("mysql")
    async with get_database(app).engine.begin() as connection:
        await connection.run_sync(FieldBase.metadata.create_all)
        if is_told:
            await connection.execute(text("ALTER TABLE field_pets MODIFY called varchar(3)"))
    assert (await client.post("/pets", json={"name": "rex"})).status_code == 201
    for body, status, field in (
        ({"name": "rex"}, 409, "name"),
        ({"age": -1}, 422, "age"),
        *([({"name": "rexy"}, 422, "name")] if is_told else []),
    ):
        answer = await client.post("/pets", json=body)
        assert answer.status_code == status, answer.text
        assert [error["loc"] for error in answer.json()["errors"]] == [["body", field]]
