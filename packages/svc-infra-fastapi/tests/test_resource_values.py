"""What values of each type a body, a path and a query may hold, and which fields a client may ask for."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, field_serializer
from sqlalchemy import REAL, DateTime, LargeBinary, Numeric, SmallInteger, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService


class Base(DeclarativeBase):
    pass


class Sample(Base):
    """A sample."""

    __tablename__ = "value_samples"

    id: Mapped[int] = mapped_column(primary_key=True)
    small: Mapped[int | None] = mapped_column(SmallInteger)
    price: Mapped[Decimal | None] = mapped_column(Numeric(6, 2))
    ratio: Mapped[float | None] = mapped_column(REAL)
    moment: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    local: Mapped[dt.datetime | None]
    day: Mapped[dt.date | None]
    opens: Mapped[dt.time | None]
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)


class Person(Base):
    """A person."""

    __tablename__ = "value_people"

    code: Mapped[str] = mapped_column(String(10), primary_key=True, doc="What names them.", info={"example": "ada"})
    phone: Mapped[str | None] = mapped_column(String(20))
    rating: Mapped[int | None]


class PersonShown(BaseModel):
    """A person, as others see them."""

    code: str
    phone: str | None

    @field_serializer("phone")
    def _masked(self, phone: str | None) -> str | None:
        return phone and f"...{phone[-2:]}"


class OwnReads(SqlService[Person]):
    """A service whose reads are its own."""

    async def list(self, *arguments: Any, **options: Any) -> Any:
        return await super().list(*arguments, **options)


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    """The application on an empty database."""
    app = FastAPI()
    resources = [
        SqlResource(model=Sample, prefix="/samples"),
        SqlResource(model=Person, prefix="/people"),
        SqlResource(model=Person, prefix="/excluded", read_exclude=("rating",)),
        SqlResource(model=Person, prefix="/masked", read_schema=PersonShown),
        ApiResource(model=Person, prefix="/own", service_factory=OwnReads),
    ]
    setup_sql(app, resources, url=sql_url)
    return app


TAKEN = [
    ("small", 5, 5),
    ("small", 5.0, 5),
    ("small", -32768, -32768),
    ("price", 1.25, "1.25"),
    ("price", "1234.5", "1234.50"),
    ("price", -9999.99, "-9999.99"),
    ("ratio", 2, 2.0),
    ("ratio", 1e-300, 0.0),
    ("moment", "2013-01-01T08:00:00Z", "2013-01-01T08:00:00Z"),
    ("moment", "2013-01-01 09:00:00+01:00", "2013-01-01T08:00:00Z"),
    ("local", "2013-01-01T08:00", "2013-01-01T08:00:00"),
    ("local", "2013-01-01T09:00:00+01:00", "2013-01-01T08:00:00"),
    ("day", "2013-01-31", "2013-01-31"),
    ("opens", "08:30:00.25", "08:30:00.250000"),
    ("picture", "aGk+/w==", "aGk+/w=="),
    ("picture", "", ""),
]


async def test_a_value_of_its_type_is_stored_and_answered(client: httpx.AsyncClient) -> None:
    """What JSON Schema calls an integer is one, and times keep their moment."""
    for name, sent, shown in TAKEN:
        answer = await client.post("/samples", json={name: sent})
        assert (answer.status_code, answer.json().get(name)) == (201, shown), (name, sent, answer.text)


REFUSED = {
    "small": [5.5, 32768, -32769, "5", True, 1e300, [5]],
    "price": ["1.234", 12345, "1e3", " 1", "", "NaN", True, "12345.00", [1]],
    "ratio": [1e39, "1.5", True],
    "moment": ["0.5", 1357027200, "2013-01-01T08:00:00", "2013-01-01", "soon", True, "0001-01-01T00:00:00+01:00"],
    "local": ["0.5", 1357027200, "soon", "2013-02-30T00:00:00", "9999-12-31T23:59:59-01:00"],
    "day": ["0", 15706, "2013-1-1", "2013-02-30", "2013-01-01T00:00:00"],
    "opens": ["25:00", "08", 30600, "08:30:00Z"],
    "picture": ["a", "aGk", "_-__", "aGk=\n", 5],
}


async def test_a_value_of_another_type_is_refused_with_its_place(client: httpx.AsyncClient) -> None:
    """A number is no time, a text no number, and what the column can't hold does not reach it."""
    for name, values in REFUSED.items():
        for value in values:
            answer = await client.post("/samples", json={name: value})
            assert answer.status_code == 422, (name, value, answer.text)
            assert [error["loc"][:2] for error in answer.json()["errors"]] == [["body", name]]
    assert (await client.get("/samples")).json()["total"] == 0


async def test_a_query_reads_values_by_the_same_rules(client: httpx.AsyncClient) -> None:
    """A condition that would be understood otherwise than it is meant is an error."""
    await client.post("/samples", json={"moment": "2013-01-01T08:00:00Z", "small": 5, "price": 1.5, "ratio": 1.1})
    for query in (
        "ratio=1.1",
        "moment=2013-01-01T08:00:00Z",
        "small=5",
        "price=1.50",
        "small__in=5,6",
        "price__gte=1.5",
    ):
        assert (await client.get(f"/samples?{query}")).json()["total"] == 1, query
    assert (await client.get("/samples?small__in=")).json()["total"] == 0
    for query in ("moment=0.5", "small=5.5", "small=x", "price=1.234", "day=0", "select=id,,small", "order_by=id,"):
        assert (await client.get(f"/samples?{query}")).status_code == 422, query
    assert (await client.get("/samples?select=&order_by=")).json()["items"][0]["small"] == 5


async def test_the_document_says_what_the_columns_hold(client: httpx.AsyncClient) -> None:
    """Ranges, digits, descriptions and examples come from the model."""
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    answer = document["paths"]["/people/{code}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    whole, part = (schemas[each["$ref"].rpartition("/")[2]] for each in answer["anyOf"])
    sample, person = schemas["SampleCreate"]["properties"], whole["properties"]
    assert sample["small"]["anyOf"][0] == {"type": "integer", "minimum": -32768, "maximum": 32767}
    assert sample["price"]["anyOf"][0] == {
        "type": "number", "exclusiveMinimum": -10000, "exclusiveMaximum": 10000, "multipleOf": 0.01
    }  # fmt: skip
    assert (person["code"]["description"], person["code"]["examples"]) == ("What names them.", ["ada"])
    assert (set(part["properties"]), part.get("required")) == (set(person), None)


async def test_what_is_not_shown_can_not_be_asked_for(client: httpx.AsyncClient) -> None:
    """A field left out of answers is no filter, no order and no selection: each would tell its value."""
    await client.post("/people", json={"code": "ada", "phone": "5551234", "rating": 3})
    assert (await client.get("/excluded/ada")).json() == {"code": "ada", "phone": "5551234"}
    for query in ("select=rating", "rating=3", "rating__gt=1", "order_by=rating"):
        assert (await client.get(f"/excluded?{query}")).status_code == 422, query
    assert (await client.get("/excluded/ada?select=rating")).status_code == 422
    assert (await client.get("/masked?order_by=rating")).status_code == 422


async def test_a_selection_keeps_what_an_own_schema_does(client: httpx.AsyncClient) -> None:
    """`select` cuts the answer of the application's schema down, and does not go past it."""
    await client.post("/people", json={"code": "ada", "phone": "5551234"})
    assert (await client.get("/masked/ada")).json() == {"code": "ada", "phone": "...34"}
    assert (await client.get("/masked/ada?select=phone")).json() == {"phone": "...34"}
    assert (await client.get("/masked?select=phone")).json()["items"] == [{"phone": "...34"}]


async def test_a_service_with_reads_of_its_own_offers_what_it_can(client: httpx.AsyncClient) -> None:
    """What it can't answer is not documented and refused."""
    names = {each["name"] for each in (await client.get("/openapi.json")).json()["paths"]["/own"]["get"]["parameters"]}
    assert {"limit", "offset"} < names
    assert not names & {"cursor", "select", "include"}
    assert (await client.get("/own?cursor=")).status_code == 422
    assert (await client.get("/own")).json()["total"] == 0


async def test_an_id_may_be_any_text(client: httpx.AsyncClient) -> None:
    """A line feed, a dot, a per cent sign: each is an id and none the collection."""
    for code in ("\n", "a.b", "%", "?", "#", " ", "a b"):
        created = await client.post("/people", json={"code": code})
        assert created.status_code == 201, created.text
        path = created.headers["location"]
        assert (await client.get(path)).json()["code"] == code
        assert (await client.delete(path)).status_code == 204, repr(code)
