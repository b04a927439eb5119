"""Routes of models whose writes are the ORM's: validators, inheritance, dataclasses, cascades, deferred columns."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship, validates

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource


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


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    """The application on an empty database."""
    app = FastAPI()
    models = {"/checked": Checked, "/vehicles": Vehicle, "/trucks": Truck, "/albums": Album, "/data": Data}
    resources = [
        ApiResource(model=model, prefix=prefix, actions=ALL_ACTIONS - {"restore"}) for prefix, model in models.items()
    ]
    setup_sql(app, [*resources, ApiResource(model=Song, prefix="/songs")], url=sql_url)
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
