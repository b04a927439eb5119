"""Values of every kind of column, sent many at once: they arrive as one sent by itself does."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    Dialect,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    Uuid,
    text,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import CITEXT, INET, JSONB
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeEngine

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.repository import SqlRepository


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Tags(TypeDecorator[list[str]]):
    """An array where there are some."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(String) if dialect.name == "postgresql" else JSON())


class Words(TypeDecorator[list[str]]):
    """A list, kept as text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> str | None:
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[str] | None:
        return None if value is None else value.split(" ")


KINDS: dict[str, tuple[TypeEngine[Any], object]] = {
    "array": (ARRAY(String), ["a", "b"]),
    "array_of_arrays": (ARRAY(Integer, dimensions=2), [[1, 2], [3, 4]]),
    "array_of_enum": (ARRAY(Enum(Color, name="sent_colors")), [Color.RED, Color.BLUE]),
    "array_by_variant": (JSON().with_variant(ARRAY(String), "postgresql"), ["a", "b"]),
    "array_by_decorator": (Tags(), ["a", "b"]),
    "words": (Words(), ["a", "b"]),
    "enum": (Enum(Color, name="sent_color"), Color.RED),
    "json_object": (JSON(), {"a": [1, None]}),
    "json_list": (JSON(), [1, 2]),
    "json_text": (JSON(), "a"),
    "jsonb_list": (JSON().with_variant(JSONB(), "postgresql"), [[1], [2, 3]]),
    "interval": (Interval(), dt.timedelta(days=400, microseconds=3)),
    "numeric": (Numeric(10, 3), Decimal("1.5")),
    "binary": (LargeBinary(), b"\0\xff"),
    "uuid": (Uuid(), uuid.UUID(int=5)),
    "uuid_text": (Uuid(as_uuid=False), str(uuid.UUID(int=5))),
    "inet": (INET(), "10.0.0.1"),
    "citext": (CITEXT(), "aB"),
}


def model(name: str) -> type[ModelBase]:
    """A model with a value of the kind."""
    value = mapped_column(KINDS[name][0], nullable=True)
    body = {"__tablename__": f"sent_{name}", "id": mapped_column(Integer, primary_key=True, autoincrement=False)}
    return type(f"Sent{name}", (ModelBase,), {**body, "value": value, "__module__": __name__})


MODELS = {name: model(name) for name in KINDS}


@pytest.fixture(scope="module")
def own_url(postgres_server: Any) -> Any:
    """A database for all tests of the module."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["asyncpg", "psycopg"])
async def database(own_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """By each driver of PostgreSQL, which alone has arrays and COPY."""
    async with Database(own_url.replace("postgresql:", f"postgresql+{request.param}:")) as database:
        async with database.engine.begin() as connection:
            await connection.execute(text("CREATE EXTENSION IF NOT EXISTS citext"))
            tables = [each.__table__ for each in MODELS.values()]
            await connection.run_sync(ModelBase.metadata.create_all, tables=tables)
        yield database


@pytest.mark.parametrize("first", [True, False])
async def test_many_values_arrive_as_one_does(database: Database, first: bool) -> None:
    """Returned or not, in parts or not, also when the first one is missing; and changed by update_each."""
    for name in KINDS:
        repo: SqlRepository[Any] = SqlRepository(MODELS[name])
        async with database.session() as session:
            alone = {given: (await repo.rows.create(session, {"id": given, "value": value})).value
                     for given, value in enumerate((None, KINDS[name][1]))}  # fmt: skip
            await repo.delete_many(session, where=[])
            wanted = [alone[number % 2 == (0 if first else 1)] for number in range(300)]
            for start in (0, 1000):
                given = [
                    {"id": start + n, "value": None if each is None else KINDS[name][1]}
                    for n, each in enumerate(wanted)
                ]
                found = await repo.rows.create_many(session, given)
                assert [row.value for row in found] == wanted, name
                await repo.create_many(session, [{**row, "id": row["id"] + 500} for row in given], returning=False)
            listed = await repo.rows.list(session, order_by="id", limit=2000)
            assert [row.value for row in listed] == wanted * 4, name
            changes = [Change(n, {"value": None if each is None else KINDS[name][1]}) for n, each in enumerate(wanted)]
            assert [row.value for row in await repo.rows.update_each(session, changes)] == wanted, name
            await session.rollback()
