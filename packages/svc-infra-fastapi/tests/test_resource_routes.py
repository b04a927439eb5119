"""Generated routes: list, create, get, update and delete, as clients of the first svc-infra know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, computed_field
from sqlalchemy import JSON, DateTime, LargeBinary, Numeric, String, Uuid, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]


class Base(DeclarativeBase):
    pass


class Role(Enum):
    ADMIN = "admin"
    GUEST = "guest"


class User(Base):
    """Someone who may sign in."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(100), unique=True, doc="Where letters go")
    name: Mapped[str | None] = mapped_column(String(50))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    role: Mapped[Role]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    blob: Mapped[bytes] = mapped_column(LargeBinary)
    day: Mapped[datetime | None] = mapped_column(DateTime)


class Airline(Base):
    __tablename__ = "airlines"
    carrier: Mapped[str] = mapped_column(String(10), primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class Seat(Base):
    __tablename__ = "seats"
    plane: Mapped[str] = mapped_column(String(10), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    taken: Mapped[bool]


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    resources: list[SqlResource[Any]] = [
        SqlResource(
            model=User,
            prefix="/users",
            tags=["users"],
            id_attr="id",
            soft_delete=True,
            search_fields=["name", "email"],
            ordering_default="-created_at",
            allowed_order_fields=["created_at", "name", "email"],
        ),
        SqlResource(model=Thing, prefix="/things"),
        SqlResource(model=Airline, prefix="/airlines"),
        SqlResource(model=Seat, prefix="/seats"),
    ]
    setup_sql(app, resources, url=sql_url)
    return app


async def add(client: httpx.AsyncClient, *emails: str) -> list[dict[str, Any]]:
    answers = [await client.post("/users", json={"email": email, "name": email.title()}) for email in emails]
    assert [answer.status_code for answer in answers] == [201] * len(emails)
    return [answer.json() for answer in answers]


async def test_create_answers_201_with_the_row_and_its_place(client: httpx.AsyncClient) -> None:
    """What the database filled in is in the answer."""
    answer = await client.post("/users", json={"email": "a@b.c"})
    assert answer.status_code == 201
    row = answer.json()
    assert answer.headers["location"] == f"/users/{row['id']}"
    assert (row["email"], row["name"], row["deleted_at"]) == ("a@b.c", None, None)
    assert datetime.fromisoformat(row["created_at"]).tzinfo is not None


async def test_a_page_has_the_envelope(client: httpx.AsyncClient) -> None:
    """total, items, limit and offset, with the default limit."""
    rows = await add(client, "a@x", "b@x")
    page = (await client.get("/users", params={"order_by": "email"})).json()
    assert page == {"total": 2, "items": rows, "limit": 50, "offset": 0}


async def test_paging_and_order(client: httpx.AsyncClient) -> None:
    """limit, offset and order_by=-a,b work together."""
    await add(client, "a@x", "b@x", "c@x")
    page = (await client.get("/users?order_by=-email,name&limit=1&offset=1")).json()
    assert ([row["email"] for row in page["items"]], page["total"]) == (["b@x"], 3)


async def test_search_in_chosen_fields(client: httpx.AsyncClient) -> None:
    """Q searches all search fields, or those in `fields`; wildcards are literal."""
    await add(client, "john@x", "jane@x")
    assert (await client.get("/users?q=JOHN")).json()["total"] == 1
    assert (await client.get("/users?q=@x&fields=email")).json()["total"] == 2
    assert (await client.get("/users?q=%25&fields=name")).json()["total"] == 0


CONDITIONS: list[tuple[str, list[str]]] = [
    ("email=a@x", ["a@x"]),
    ("email__ne=a@x", ["b@x", "c@x"]),
    ("email__in=a@x,c@x", ["a@x", "c@x"]),
    ("email__gte=b@x", ["b@x", "c@x"]),
    ("email__lt=b@x", ["a@x"]),
    ("email__contains=B@", ["b@x"]),
    ("email__starts_with=c", ["c@x"]),
    ("name__is_null=true", []),
    ("name__is_null=false&email__not_in=a@x", ["b@x", "c@x"]),
    ("_=123&email=a@x", ["a@x"]),
]


async def test_conditions(client: httpx.AsyncClient) -> None:
    """Each operator of a condition, and how conditions combine."""
    await add(client, "a@x", "b@x", "c@x")
    for query, found in CONDITIONS:
        page = (await client.get(f"/users?order_by=email&{query}")).json()
        assert [row["email"] for row in page["items"]] == found, query
        assert page["total"] == len(found), query


BAD_PARAMETERS = [
    ("limit=0", "limit"),
    ("limit=1001", "limit"),
    ("limit=x", "limit"),
    ("limit=1&limit=2", "limit"),
    ("offset=-1", "offset"),
    ("offset=99999999999999999999", "offset"),
    ("order_by=id", "order_by"),
    ("order_by=password_hash", "order_by"),
    ("order_by=--name", "order_by"),
    ("fields=password_hash&q=x", "fields"),
    ("q=%00", "q"),
    ("password_hash=x", "password_hash"),
    ("password_hash__starts_with=a", "password_hash__starts_with"),
    ("emial=a@x", "emial"),
    ("email__like=a", "email__like"),
    ("id=abc", "id"),
    ("id=99999999999", "id"),
    ("id__contains=1", "id__contains"),
    ("created_at__gt=yesterday", "created_at__gt"),
    ("total=maybe", "total"),
    ("select=password_hash", "select"),
]


async def test_a_bad_parameter_is_named(client: httpx.AsyncClient) -> None:
    """422 with the parameter, never a 500, never an oracle on a hidden column."""
    for query, place in BAD_PARAMETERS:
        answer = await client.get(f"/users?{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"] == "application/problem+json"
        assert ["query", place] in [error["loc"] for error in answer.json()["errors"]], query


async def test_get_update_and_soft_delete(client: httpx.AsyncClient) -> None:
    """A deleted row is gone for every route, and a second delete finds nothing."""
    [row] = await add(client, "a@x")
    path = f"/users/{row['id']}"
    assert (await client.get(path)).json() == row
    changed = await client.patch(path, json={"name": None})
    assert (changed.status_code, changed.json()["name"], changed.json()["email"]) == (200, None, "a@x")
    gone = await client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (await client.get(path), await client.delete(path), await client.patch(path, json={"name": "x"})):
        assert answer.status_code == 404
        assert answer.json()["detail"] == "Not found"
    assert (await client.get("/users")).json()["total"] == 0


async def test_a_trailing_slash_is_no_redirect(client: httpx.AsyncClient) -> None:
    """Both forms of a path answer directly."""
    created = await client.post("/users/", json={"email": "a@x"})
    assert (created.status_code, created.headers["location"]) == (201, f"/users/{created.json()['id']}")
    assert (await client.get("/users/")).status_code == 200
    assert (await client.get(f"/users/{created.json()['id']}/")).status_code == 200


async def test_head_has_the_headers_and_no_body(client: httpx.AsyncClient) -> None:
    """HEAD tells what GET would."""
    [row] = await add(client, "a@x")
    head, full = await client.head(f"/users/{row['id']}"), await client.get(f"/users/{row['id']}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(full.content))
    assert (await client.head("/users/999")).status_code == 404


async def test_a_method_that_is_not_there_names_the_others(client: httpx.AsyncClient) -> None:
    """405 with the methods of the path."""
    answer = await client.put("/users/1", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_a_duplicate_names_its_field(client: httpx.AsyncClient) -> None:
    """409 with the field and no SQL."""
    await add(client, "a@x")
    answer = await client.post("/users", json={"email": "a@x"})
    assert answer.status_code == 409
    problem = answer.json()
    assert (problem["detail"], problem["status"]) == ("Record already exists.", 409)
    assert problem["errors"][0]["loc"] == ["body", "email"]
    assert "INSERT" not in answer.text


BAD_BODIES: list[tuple[object, list[str]]] = [
    ({}, ["body", "email"]),
    ({"email": None}, ["body", "email"]),
    ({"email": 5}, ["body", "email"]),
    ({"email": "x" * 101}, ["body", "email"]),
    ({"email": "nul\x00"}, ["body", "email"]),
    ({"email": "a@x", "nmae": "y"}, ["body", "nmae"]),
    ([], ["body"]),
    ("x", ["body"]),
]


async def test_a_bad_body_is_named(client: httpx.AsyncClient) -> None:
    """422 with the field."""
    for body, place in BAD_BODIES:
        answer = await client.post("/users", json=body)
        assert answer.status_code == 422, body
        assert place in [error["loc"] for error in answer.json()["errors"]], body


async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient) -> None:
    """415 for another media type, 422 for broken JSON, 413 for too much."""
    as_json = {"content-type": "application/json"}
    assert (await client.post("/users", content=b"email=a")).status_code == 415
    assert (await client.post("/users", content=b"{", headers=as_json)).status_code == 422
    assert (await client.post("/users", content=b"\xff", headers=as_json)).status_code == 422
    assert (await client.post("/users", content=b"null", headers=as_json)).status_code == 422
    assert (await client.post("/users", content=b"", headers=as_json)).status_code == 422
    assert (await client.post("/users", content=b" " * 2_000_000, headers=as_json)).status_code == 413


async def test_what_the_server_owns_is_ignored_in_a_body(client: httpx.AsyncClient) -> None:
    """A client may send back what it read; it can't set ids, times or the delete mark."""
    answer = await client.post(
        "/users",
        json={"email": "a@x", "id": 77, "created_at": "2001-01-01T00:00:00Z", "deleted_at": "2001-01-01T00:00:00Z"},
    )
    row = answer.json()
    assert answer.status_code == 201
    assert row["id"] != 77
    assert not row["created_at"].startswith("2001")
    assert row["deleted_at"] is None
    changed = (await client.patch(f"/users/{row['id']}", json={**row, "name": "new"})).json()
    assert changed == {**row, "name": "new"}


async def test_a_secret_is_never_shown(client: httpx.AsyncClient) -> None:
    """password_hash is written and appears in no answer and no read schema."""
    created = await client.post("/users", json={"email": "a@x", "password_hash": "s3cret"})
    assert created.status_code == 201
    texts = [created.text, (await client.get("/users")).text, (await client.get(f"/users/{created.json()['id']}")).text]
    assert not any("s3cret" in text or "password_hash" in text for text in texts)


async def test_an_id_that_is_no_number_is_no_500(client: httpx.AsyncClient) -> None:
    """The id is read as its column's type."""
    for bad in ["abc", "1.5", "99999999999999999999", "-9223372036854775809", "%00", "0x1", "1%20"]:
        assert (await client.get(f"/users/{bad}")).status_code in {404, 422}, bad
        assert (await client.delete(f"/users/{bad}")).status_code in {404, 422}, bad


async def test_types_survive_the_way_through_json(client: httpx.AsyncClient) -> None:
    """UUID, Decimal, enum, JSON, bytes and datetime come back as they were sent."""
    body = {"price": "12.50", "role": "admin", "data": {"a": [1, None]}, "blob": "AAEC", "day": "2026-01-02T03:04:05"}
    created = await client.post("/things", json=body)
    assert created.status_code == 201, created.text
    row = created.json()
    UUID(row.pop("id"))
    assert row == body
    assert (await client.get(created.headers["location"])).json() == created.json()
    assert (await client.get("/things/not-a-uuid")).status_code == 422


async def test_a_natural_key_is_the_clients(client: httpx.AsyncClient) -> None:
    """A primary key without a default stands in the body of a create, and not in that of an update."""
    created = await client.post("/airlines", json={"carrier": "AA", "name": "American"})
    assert (created.status_code, created.headers["location"]) == (201, "/airlines/AA")
    assert (await client.post("/airlines", json={"name": "None"})).status_code == 422
    empty = await client.post("/airlines", json={"carrier": "", "name": "Nobody could read it"})
    assert (empty.status_code, empty.json()["errors"][0]["loc"]) == (422, ["body", "carrier"])
    assert (await client.patch("/airlines/AA", json={"name": "New"})).json() == {"carrier": "AA", "name": "New"}


async def test_a_composite_key_is_several_path_parts(client: httpx.AsyncClient) -> None:
    """The parts are in the order of the key: /seats/{plane}/{row}."""
    created = await client.post("/seats", json={"plane": "N1/2", "row": 3, "taken": False})
    assert (created.status_code, created.headers["location"]) == (201, "/seats/N1%2F2/3")
    await client.post("/seats", json={"plane": "N2", "row": 3, "taken": False})
    assert (await client.patch("/seats/N2/3", json={"taken": True})).json()["taken"] is True
    assert (await client.get("/seats/N2/x")).status_code == 422
    assert (await client.delete("/seats/N2/3")).status_code == 204


async def test_an_id_with_slashes_is_found_by_its_location(
    app: FastAPI, served: ClientOf, make_tables: MakeTables
) -> None:
    """A slash in an id is sent as %2F, and is none between the parts of the path."""
    client = await served(app)
    await make_tables(app, Base)
    await client.post("/airlines", json={"carrier": "a", "name": "Another"})
    for code in ("a/b", "/", "a/", "//", "a%2Fb", "a b", "é/ü", "?/#", "a/export"):
        created = await client.post("/airlines", json={"carrier": code, "name": "Slashed"})
        place = created.headers["location"]
        assert (created.status_code, (await client.get(place)).json()) == (201, {"carrier": code, "name": "Slashed"})
        assert (await client.head(place)).headers["etag"] == created.headers["etag"]
        assert (await client.patch(place, json={"name": "New"})).json()["carrier"] == code
        assert (await client.put(place)).status_code == 405
        seat = await client.post("/seats", json={"plane": code, "row": 3, "taken": False})
        assert (await client.get(seat.headers["location"])).json()["plane"] == code
        assert (await client.delete(place)).status_code == 204
        assert (await client.get(place)).status_code == 404
    assert (await client.get("/airlines/a")).json()["name"] == "Another"


@pytest.mark.parametrize("code", [".", ".."])
async def test_an_id_that_no_path_can_hold_is_refused(client: httpx.AsyncClient, code: str) -> None:
    """Clients take dots out of a path before they send it."""
    answer = await client.post("/airlines", json={"carrier": code, "name": "Nowhere"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "carrier"])


class Member(Base):
    __tablename__ = "members"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    email: Mapped[str] = mapped_column(String(50))


async def test_an_id_of_text_is_made_by_the_server(sql_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """The guide's model has `id = Column(String, primary_key=True)` and creates rows without an id."""
    app = FastAPI()
    setup_sql(app, [SqlResource(model=Member, prefix="/members")], url=sql_url)
    client = await running(app)
    await make_tables(app, Base)
    created = await client.post("/members", json={"email": "a@x", "id": "mine"})
    assert created.status_code == 201
    assert UUID(created.json()["id"])
    assert (await client.get(created.headers["location"])).json() == created.json()


class Password(BaseModel):
    email: str
    password: str


class Greeting(BaseModel):
    id: int
    email: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def greeting(self) -> str:
        """A field that no column holds."""
        return f"Dear {self.email}"


class UserService(SqlService[User]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        data["password_hash"] = "hashed " + data.pop("password")
        return data


@pytest.mark.parametrize("create_schema", [None, Password])
async def test_hooks_consume_fields_that_are_no_columns(
    sql_url: str, running: ClientOf, make_tables: MakeTables, create_schema: type | None
) -> None:
    """The guide's service turns `password` into `password_hash`, with a given schema and with the generated one."""
    app = FastAPI()
    setup_sql(
        app,
        [SqlResource(model=User, prefix="/users", service_factory=UserService, create_schema=create_schema)],
        url=sql_url,
    )
    client = await running(app)
    await make_tables(app, Base)
    created = await client.post("/users", json={"email": "a@x", "password": "pw"})
    assert created.status_code == 201, created.text
    assert "password" not in created.text


async def test_one_schema_can_be_replaced_alone(sql_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """A given read schema is honoured in full, and the bodies stay the generated ones."""
    app = FastAPI()
    setup_sql(app, [SqlResource(model=User, prefix="/users", read_schema=Greeting)], url=sql_url)
    client = await running(app)
    await make_tables(app, Base)
    created = await client.post("/users", json={"email": "a@x", "name": "A"})
    expected = {"id": created.json()["id"], "email": "a@x", "greeting": "Dear a@x"}
    assert created.json() == expected
    assert (await client.get("/users")).json()["items"] == [expected]


def test_schema_names_and_descriptions(sqlite_url: str) -> None:
    """UserRead, UserCreate, UserUpdate and Page_UserRead_, described by the model."""
    app = FastAPI()
    setup_sql(app, [SqlResource(model=User, prefix="/users")], url=sqlite_url)
    schemas = app.openapi()["components"]["schemas"]
    assert {"UserRead", "UserCreate", "UserUpdate", "Page_UserRead_", "ProblemDetails"} <= set(schemas)
    assert schemas["UserRead"]["description"] == "Someone who may sign in."
    assert schemas["UserCreate"]["properties"]["email"]["description"] == "Where letters go"
    assert "password_hash" not in schemas["UserRead"]["properties"]
    assert "required" not in schemas["UserUpdate"]


def test_a_prefix_is_used_once(sqlite_url: str) -> None:
    """Two resources at one path would hide each other."""
    app = FastAPI()
    resource = SqlResource(model=User, prefix="/users")
    with pytest.raises(ValueError, match="two resources have the prefix '/users'"):
        setup_sql(app, [resource, resource], url=sqlite_url)
