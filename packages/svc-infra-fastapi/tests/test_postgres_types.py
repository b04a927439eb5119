"""Columns of types that PostgreSQL alone has: no JSON, no query string makes a 5xx, and the document is right."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from itertools import product
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.db.sql.state import get_database

# SQLAlchemy 2.1 warns that its own DOMAIN does not say which operators it has.
pytestmark = pytest.mark.filterwarnings("ignore:Type object:DeprecationWarning")

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]

KINDS: dict[str, Any] = {
    "oid": pg.OID(),
    "money": pg.MONEY(),
    "int4range": pg.INT4RANGE(),
    "int8range": pg.INT8RANGE(),
    "numrange": pg.NUMRANGE(),
    "daterange": pg.DATERANGE(),
    "tsrange": pg.TSRANGE(),
    "tstzrange": pg.TSTZRANGE(),
    "int4multirange": pg.INT4MULTIRANGE(),
    "nummultirange": pg.NUMMULTIRANGE(),
    "tstzmultirange": pg.TSTZMULTIRANGE(),
    "hstore": pg.HSTORE(),
    "jsonb": pg.JSONB(),
    "inet": pg.INET(),
    "cidr": pg.CIDR(),
    "macaddr": pg.MACADDR(),
    "macaddr8": pg.MACADDR8(),
    "bit": pg.BIT(4),
    "varbit": pg.BIT(8, varying=True),
    "interval": pg.INTERVAL(),
    "citext": pg.CITEXT(),
    "domain": pg.DOMAIN("odd_domain", sa.Integer()),
    "numeric": pg.NUMERIC(),
    "ints": pg.ARRAY(sa.Integer),
    "grid": pg.ARRAY(sa.Integer, dimensions=2),
    "texts": pg.ARRAY(sa.String(3)),
    "ranges": pg.ARRAY(pg.INT4RANGE()),
    "inets": pg.ARRAY(pg.INET()),
    "jsons": pg.ARRAY(pg.JSONB()),
    "decimals": pg.ARRAY(sa.Numeric(5, 2)),
    "dates": pg.ARRAY(pg.DATE()),
    "path": pg.JSONPATH(),
    "relation": pg.REGCLASS(),
    "configuration": pg.REGCONFIG(),
    "vector": pg.TSVECTOR(),
    "query": pg.TSQUERY(),
}
READ_BY_THE_SERVER = {"money", "path", "relation", "configuration", "vector", "query"}
"""Texts whose syntax is the server's to know; it does not always say which of them it can't read."""

ODD: list[Any] = [
    0, -1, 2**31, 2**32, 2**63, 10**30, 1.5, True, "", "1", "a'b", "\x00", "[1,2)", "empty", "2020-01-01", "08:00",
    "x" * 300, "127.0.0.1", "10.0.0.1/8", "0101", "$.a", "a & b", "pg_class",
    [], [None], [1], [1, None], [[]], [[None, 2]], [[1], [2, 3]], ["a", None], [[["a"]]],
    {}, {"a": 1}, {"a": None}, {"a\x00": "b"}, {"lower": 1, "upper": 2, "bounds": "[]"}, {"lower": 2, "upper": 1},
    {"lower": None}, {"lower": 1, "empty": True}, {"lower": 2**40}, {"lower": "2020-01-01", "upper": "2021-01-01"},
    {"lower": "2020-01-01T00:00:00Z"}, [{"lower": 1, "upper": 5}, {"lower": 7}], [{"empty": True}],
]  # fmt: skip


class Base(DeclarativeBase):
    pass


Odd: Any = type(
    "Odd",
    (Base,),
    {
        "__tablename__": "odd_values",
        "id": mapped_column(sa.Integer, primary_key=True),
        **{name: mapped_column(kind, nullable=True) for name, kind in KINDS.items()},
    },
)
Looked: Any = type(
    "Looked",
    (Base,),
    {
        "__tablename__": "odd_queries",
        "id": mapped_column(sa.Integer, primary_key=True),
        "query": mapped_column(pg.TSQUERY(), nullable=True),
        "data": mapped_column(pg.JSONB(), nullable=True),
    },
)


@pytest.fixture(scope="module", params=["asyncpg", "psycopg"])
def app(request: pytest.FixtureRequest, module_database: Callable[[str], str]) -> FastAPI:
    url = module_database("postgres").replace("postgresql://", f"postgresql+{request.param}://")
    app = FastAPI()
    setup_sql(app, [ApiResource(model=Odd, prefix="/odd"), ApiResource(model=Looked, prefix="/looked")], url=url)
    return app


@pytest.fixture
async def client(app: FastAPI, running: ClientOf) -> httpx.AsyncClient:
    found = await running(app)
    async with get_database(app).engine.begin() as connection:
        for name in ("citext", "hstore"):
            await connection.execute(sa.text(f"CREATE EXTENSION IF NOT EXISTS {name}"))
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    return found


def mistakes(document: dict[str, Any], schema: str, value: object) -> Iterator[str]:
    """What the document finds wrong with a value of one of its schemas."""
    root = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    return (error.message for error in Draft202012Validator(root).iter_errors(value))


async def test_any_json_is_stored_or_refused_by_name(client: httpx.AsyncClient, app: FastAPI) -> None:
    """What is stored is what the document allows, is shown as it says, and can be sent back; the rest is 422."""
    document = app.openapi()
    for name, value in product(KINDS, ODD):
        body = {name: value}
        answer = await client.post("/odd", content=json.dumps(body), headers={"Content-Type": "application/json"})
        found = answer.json()
        if answer.status_code == 422:
            places = [error["loc"][:2] for error in found.get("errors", ())]
            assert name in READ_BY_THE_SERVER or (places and all(place == ["body", name] for place in places)), body
            continue
        assert answer.status_code == 201, body
        assert not list(mistakes(document, "OddCreate", body)), body
        assert not list(mistakes(document, "OddRead", found)), body
        if name not in READ_BY_THE_SERVER:
            again = await client.patch(answer.headers["location"], json={name: found[name]})
            assert (again.status_code, again.json()) == (200, found), body


async def test_any_query_string_is_answered_or_refused(client: httpx.AsyncClient) -> None:
    """A condition on a column is carried out or 422."""
    for name, value, suffix in product(KINDS, ODD[:32:3], ("", "__in")):
        text = quote(value if isinstance(value, str) else json.dumps(value))
        answer = await client.get(f"/odd?{name}{suffix}={text}")
        assert answer.status_code in {200, 422}, (name, suffix, value)


def as_range(lower: object, upper: object, bounds: str, *, empty: bool = False) -> dict[str, object]:
    return {"lower": lower, "upper": upper, "bounds": bounds, "empty": empty}


@pytest.mark.parametrize(
    ("name", "given", "shown"),
    [
        ("int4range", {"lower": 1, "upper": 5, "bounds": "[]"}, as_range(1, 6, "[)")),
        ("daterange", {"upper": "2024-02-29"}, as_range(None, "2024-02-29", "()")),
        ("numrange", {"empty": True}, as_range(None, None, "[)", empty=True)),
        ("hstore", {"a": "b", "c": None}, {"a": "b", "c": None}),
        ("oid", 4294967295, 4294967295),
        ("ints", [1, None, 3], [1, None, 3]),
        ("grid", [[1, None], [3, 4]], [[1, None], [3, 4]]),
    ],
)
async def test_a_value_comes_back(client: httpx.AsyncClient, name: str, given: object, shown: object) -> None:
    """On both drivers in the same form."""
    answer = await client.post("/odd", json={name: given})
    assert (answer.status_code, answer.json()[name]) == (201, shown)


async def test_an_array_has_the_dimensions_of_its_column(client: httpx.AsyncClient) -> None:
    """One where the type says nothing, and all parts of a length; 422 says so."""
    for body, kind in (
        ({"ints": [[1]]}, "int_type"),
        ({"grid": [1]}, "list_type"),
        ({"grid": [[1], [2, 3]]}, "array_shape"),
    ):
        answer = await client.post("/odd", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["type"]) == (422, kind)


async def test_the_member_is_named_that_the_server_can_t_read(client: httpx.AsyncClient) -> None:
    """Where only one column can be meant; and that of a value which no driver was asked to send."""
    for body in ({"query": "a &"}, {"data": {"a": "\x00"}}):
        answer = await client.post("/looked", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", *body])
