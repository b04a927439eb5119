"""Routes of models whose writes are the ORM's: validators, inheritance, dataclasses, cascades, deferred columns."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship, validates

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.db.sql.service import SqlService


class Base(DeclarativeBase):
    pass


class Checked(Base):
    """A record with a validator, a deferred column and a private one."""

    __tablename__ = "unusual_checked"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    notes: Mapped[str | None] = mapped_column(String(200), deferred=True)
    _private: Mapped[str | None] = mapped_column("private", String(20))

    @validates("name")
    def upper(self, _key: str, value: str) -> str:
        return value.upper()


class Vehicle(Base):
    """A vehicle of any kind."""

    __tablename__ = "unusual_vehicles"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    wheels: Mapped[int]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012


class Truck(Vehicle):
    """A truck."""

    __tablename__ = "unusual_trucks"

    id: Mapped[int] = mapped_column(ForeignKey("unusual_vehicles.id"), primary_key=True)
    load: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "truck"}  # noqa: RUF012


class Album(Base):
    """An album, whose songs go with it."""

    __tablename__ = "unusual_albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    songs: Mapped[list[Song]] = relationship(cascade="all, delete-orphan")


class Song(Base):
    """A song."""

    __tablename__ = "unusual_songs"

    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("unusual_albums.id"))


class Data(MappedAsDataclass, Base):
    """A dataclass, whose constructor demands and refuses other fields than its table."""

    __tablename__ = "unusual_data"

    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None] = mapped_column(String(20))
    made: Mapped[str | None] = mapped_column(String(20), init=False)
    given: Mapped[str] = mapped_column(String(20), server_default="by the database")
    tag: Mapped[str] = mapped_column(String(20), default_factory=lambda: "factory", insert_default=None)


class Account(Base):
    """An account, whose columns, attributes and JSON members are called differently."""

    __tablename__ = "unusual_accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    org: Mapped[str] = mapped_column("organisation", String(20))
    login_name: Mapped[str] = mapped_column("LOGIN", String(20))
    note: Mapped[str | None] = mapped_column("select", String(20), unique=True)
    __table_args__ = (UniqueConstraint("organisation", "LOGIN"),)


class Camel(BaseModel):
    """What names its members in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class AccountBody(Camel):
    """What creates an account."""

    login_name: str
    note: str | None = None


class AccountRead(AccountBody):
    """An account."""

    id: int


class OwnReads(SqlService[Checked]):
    """A service whose reads are its own, so that routes show objects."""

    async def get(self, *arguments: Any, **options: Any) -> Any:
        return await super().get(*arguments, **options)


async def one_tenant() -> str:
    """Everybody's tenant."""
    return "a"


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    """The application on an empty database."""
    app = FastAPI()
    models = {"/checked": Checked, "/vehicles": Vehicle, "/trucks": Truck, "/albums": Album, "/data": Data}
    resources = [
        ApiResource(model=model, prefix=prefix, actions=ALL_ACTIONS - {"restore"}) for prefix, model in models.items()
    ]
    setup_sql(app, [*resources, ApiResource(model=Song, prefix="/songs")], url=sql_url)
    setup_sql(app, [ApiResource(model=Checked, prefix="/objects", service_factory=OwnReads)])
    accounts = ApiResource(
        model=Account,
        prefix="/accounts",
        tenant_field="org",
        actions=ALL_ACTIONS - {"restore"},
        read_schema=AccountRead,
        create_schema=AccountBody,
    )
    setup_sql(app, [accounts], tenant=one_tenant)
    return app


async def test_a_validator_sees_every_write(client: httpx.AsyncClient) -> None:
    """A model that the ORM must write is written by it: created, changed, replaced and deleted, one or many."""
    made = await client.post("/checked", json={"name": "ada", "notes": "n"})
    assert (made.status_code, made.json()) == (201, {"id": 1, "name": "ADA", "notes": "n"})
    etag = made.headers["etag"]
    changed = await client.patch("/checked/1", json={"name": "bob"}, headers={"If-Match": etag})
    assert changed.json() == {"id": 1, "name": "BOB", "notes": "n"}
    assert (await client.patch("/checked/1", json={"name": "x"}, headers={"If-Match": etag})).status_code == 412
    assert (await client.put("/checked/1", json={"name": "carl"})).json()["name"] == "CARL"
    many = await client.post("/checked/bulk", json=[{"name": "d"}, {"name": "e"}])
    assert [each["item"]["name"] for each in many.json()["results"]] == ["D", "E"]
    assert (await client.delete("/checked/1")).status_code == 204
    assert (await client.get("/checked?limit=5")).json()["total"] == 2


async def test_a_member_that_begins_with_an_underscore_is_private(client: httpx.AsyncClient) -> None:
    """It is neither shown nor taken."""
    await client.post("/checked", json={"name": "a"})
    assert (await client.post("/checked", json={"name": "b", "_private": "x"})).status_code == 422
    assert "_private" not in (await client.get("/checked")).json()["items"][0]


async def test_the_class_of_a_record_is_the_server_s(client: httpx.AsyncClient) -> None:
    """A resource makes records of its own class; what a body says of it is ignored."""
    made = await client.post("/vehicles", json={"wheels": 2, "kind": "truck"})
    assert made.json() == {"id": 1, "wheels": 2, "kind": "vehicle"}
    truck = (await client.post("/trucks", json={"wheels": 6, "load": 9})).json()
    assert (truck["kind"], truck["load"]) == ("truck", 9)
    await client.patch(f"/trucks/{truck['id']}", json={"wheels": 8, "kind": "vehicle"})
    assert (await client.get(f"/trucks/{truck['id']}")).json() == {**truck, "wheels": 8}
    assert (await client.get("/vehicles")).json()["total"] == 2
    assert (await client.delete(f"/trucks/{truck['id']}")).status_code == 204
    assert (await client.get("/vehicles")).json()["total"] == 1


async def test_a_delete_takes_along_what_the_model_says(client: httpx.AsyncClient) -> None:
    """The cascades of a relationship are followed, as in a session."""
    await client.post("/albums", json={})
    await client.post("/songs", json={"album_id": 1})
    assert (await client.delete("/albums/1")).status_code == 204
    assert (await client.get("/songs")).json()["total"] == 0


async def test_a_dataclass_needs_no_more_of_a_body_than_its_table(client: httpx.AsyncClient) -> None:
    """What its constructor demands but the table does not may be left out, and what it refuses may be given."""
    first = await client.post("/data", json={})
    assert first.json() == {"id": 1, "note": None, "made": None, "given": "by the database", "tag": "factory"}
    second = await client.post("/data", json={"made": "m", "tag": "t", "note": "n"})
    assert second.json() == {"id": 2, "note": "n", "made": "m", "given": "by the database", "tag": "t"}


async def test_a_conflict_names_the_member_of_the_body(client: httpx.AsyncClient) -> None:
    """Whatever the column is called; the tenant, which no body has, is not named."""
    await client.post("/accounts", json={"loginName": "ada", "note": "n"})
    await client.post("/accounts", json={"loginName": "bob", "note": "m"})
    answer = await client.post("/accounts", json={"loginName": "ada"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (409, ["body", "loginName"])
    answer = await client.post("/accounts", json={"loginName": "carl", "note": "n"})
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", "note"]]
    answer = await client.post("/accounts/bulk", json=[{"loginName": "d"}, {"loginName": "ada"}])
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", 1, "loginName"]]
    answer = await client.post("/accounts/bulk?atomic=false", json=[{"loginName": "e"}, {"loginName": "ada"}])
    assert [error["loc"] for error in answer.json()["results"][1]["problem"]["errors"]] == [["body", "loginName"]]
    answer = await client.patch("/accounts/bulk", json=[{"id": 1, "data": {"note": "m"}}])
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", 0, "data", "note"]]


async def test_a_read_schema_in_camel_case_shows_its_columns(client: httpx.AsyncClient) -> None:
    """An alias that is no column is for JSON alone: what it stands for is filtered, ordered and exported."""
    await client.post("/accounts/bulk", json=[{"loginName": "ada"}, {"loginName": "bob"}])
    found = (await client.get("/accounts?login_name=ada&order_by=-login_name")).json()
    assert found["items"] == [{"loginName": "ada", "note": None, "id": 1}]
    assert (await client.get("/accounts/export")).text.splitlines()[0] == '{"loginName":"ada","note":null,"id":1}'
    assert (await client.get("/accounts/export", headers={"Accept": "text/csv"})).text.split()[
        0
    ] == "login_name,note,id"


@pytest.mark.parametrize("path", ["/data", "/proxy/data"])
async def test_a_location_is_the_client_s_behind_a_proxy(app: FastAPI, client: httpx.AsyncClient, path: str) -> None:
    """Whether the proxy leaves its prefix in the path or takes it away, `Location` has it."""
    transport = httpx.ASGITransport(app, root_path="/proxy")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as proxied:
        assert (await proxied.post(path, json={})).headers["location"] == "/proxy/data/1"
    assert (await client.post("/data", json={})).headers["location"] == "/data/2"


async def test_a_deferred_column_is_shown_with_objects_too(client: httpx.AsyncClient) -> None:
    """A service whose reads are its own answers the same members as one that leaves them alone."""
    made = await client.post("/objects", json={"name": "a", "notes": "n"})
    assert (await client.get("/objects/1")).json() == made.json() == {"id": 1, "name": "A", "notes": "n"}
    assert (await client.get("/objects")).json()["items"] == [made.json()]
    assert (await client.patch("/objects/1", json={"name": "b"})).json()["notes"] == "n"
