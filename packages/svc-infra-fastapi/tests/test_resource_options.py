"""What an `ApiResource` adds: versions, replacement, restore, cursors, sparse and related fields, export, guards."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource, RouteOptions
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep
from svc_infra.db.sql.errors import UniqueViolation
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
everywhere = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql", "duckdb"], indirect=True)
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    token: Mapped[str | None] = mapped_column(String(50))
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    pages: Mapped[int] = mapped_column(default=100)
    note: Mapped[str | None] = mapped_column(String(50))
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author | None] = relationship(back_populates="books")
    deleted_at: Mapped[datetime | None]


class Counter(Base):
    __tablename__ = "counters"
    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int]
    version: Mapped[int] = mapped_column(default=1)


async def signed_in(x_user: Annotated[str | None, Header()] = None) -> None:
    if x_user is None:
        raise HTTPException(401, "sign in first")


async def only_admin(x_user: Annotated[str, Header()], session: SqlSessionDep) -> None:
    assert session is not None
    if x_user != "admin":
        raise HTTPException(403, "not yours")


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    resources: list[ApiResource[Any]] = [
        ApiResource(model=Author, prefix="/authors", include=["books"]),
        ApiResource(
            model=Book,
            prefix="/books",
            actions=ALL_ACTIONS,
            soft_delete=True,
            search_fields=["title"],
            include=["author"],
        ),
        ApiResource(model=Counter, prefix="/counters", version_field="version"),
        ApiResource(model=Counter, prefix="/strict", require_if_match=True),
        ApiResource(
            model=Author,
            prefix="/guarded",
            actions={"list", "create"},
            dependencies=[Depends(signed_in)],
            read_name="GuardedRead",
            routes={
                "create": RouteOptions(dependencies=[only_admin]),
                "list": RouteOptions(path="/all", operation_id="everyone", summary="Everyone"),
            },
        ),
    ]
    setup_sql(app, resources, url=sql_url)
    return app


async def books(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        answer = await client.post("/books", json={"title": f"book {number:02}", "pages": number % 3})
        assert answer.status_code == 201, answer.text
        rows.append(answer.json())
    return rows


async def test_a_record_that_did_not_change_is_304(client: httpx.AsyncClient) -> None:
    """If-None-Match with the ETag that the client has."""
    created = await client.post("/books", json={"title": "a"})
    path, etag = created.headers["location"], created.headers["etag"]
    assert (await client.get(path)).headers["etag"] == etag
    for given in (etag, f'"other", W/{etag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    await client.patch(path, json={"pages": 7})
    assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 200


async def test_several_lines_of_a_list_are_one_list(app: FastAPI, served: ClientOf, make_tables: MakeTables) -> None:
    """Of If-Match and If-None-Match every line counts, as a client or a proxy may send them (RFC 9110, section 5.3)."""
    client = await served(app)
    await make_tables(app, Base)
    made = await client.post("/books", json={"title": "a"})
    path, etag = made.headers["location"], made.headers["etag"]
    for name, method, status in (("If-None-Match", "GET", 304), ("If-Match", "DELETE", 204)):
        refused = await client.request("DELETE", path, headers=[("If-Match", '"x"'), ("If-Match", '"y"')])
        assert refused.status_code == 412
        answer = await client.request(method, path, headers=[(name, '"x"'), (name, ""), (name, etag)])
        assert answer.status_code == status, name


@everywhere
@pytest.mark.parametrize("prefix", ["/books", "/counters"])
async def test_a_write_with_an_old_etag_is_412(client: httpx.AsyncClient, prefix: str) -> None:
    """If-Match protects from overwriting, by a version column and by a hash."""
    bodies = {"/books": ({"title": "a"}, {"title": "b"}), "/counters": ({"value": 1}, {"value": 2})}
    first, second = bodies[prefix]
    created = await client.post(prefix, json=first)
    path, old = created.headers["location"], {"If-Match": created.headers["etag"]}
    changed = await client.patch(path, json=second, headers=old)
    assert changed.status_code == 200
    assert changed.headers["etag"] != created.headers["etag"]
    for answer in (await client.patch(path, json=first, headers=old), await client.delete(path, headers=old)):
        assert answer.status_code == 412
        assert answer.json()["type"].endswith("precondition-failed")
    assert (await client.delete(path, headers={"If-Match": changed.headers["etag"]})).status_code == 204
    assert (await client.patch(path, json=first, headers=old)).status_code in {404, 412}


@pytest.mark.parametrize("prefix", ["/books", "/counters"])
async def test_a_write_only_if_there_is_none_is_412(client: httpx.AsyncClient, prefix: str) -> None:
    """If-None-Match on a write; these writes never create a record, so `*` refuses every one that is there."""
    body = {"title": "a"} if prefix == "/books" else {"value": 1}
    created = await client.post(prefix, json=body)
    path, etag = created.headers["location"], created.headers["etag"]
    for given in ("*", etag):
        assert (await client.patch(path, json=body, headers={"If-None-Match": given})).status_code == 412
        assert (await client.delete(path, headers={"If-None-Match": given})).status_code == 412
    assert (await client.patch(f"{prefix}/999", json=body, headers={"If-None-Match": "*"})).status_code == 404
    assert (await client.patch(path, json=body, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_version_is_compared_strongly(client: httpx.AsyncClient) -> None:
    """A weak ETag is none of ours (RFC 9110, section 13.1.1), and text without quotes is no ETag."""
    path = (await client.post("/counters", json={"value": 1})).headers["location"]
    for tag, status in (('W/"v1"', 412), ('"v01x"', 412), ('"v99999999999999999999"', 412), ("v1", 422), ("1", 422)):
        assert (await client.patch(path, json={"value": 2}, headers={"If-Match": tag})).status_code == status, tag


async def test_a_resource_may_insist_on_if_match(client: httpx.AsyncClient) -> None:
    """428 tells the client to read first."""
    created = await client.post("/strict", json={"value": 1})
    path = created.headers["location"]
    assert (await client.patch(path, json={"value": 2})).status_code == 428
    assert (await client.patch(path, json={"value": 2}, headers={"If-Match": "*"})).status_code == 200


@everywhere
@pytest.mark.parametrize("prefix", ["/books", "/counters"])
async def test_fifty_writers_lose_no_update(app: FastAPI, client: httpx.AsyncClient, prefix: str) -> None:
    """Read, add one, write back with If-Match, again on 412: the sum is exact."""
    field = "pages" if prefix == "/books" else "value"
    created = await client.post(prefix, json={"title": "a", field: 0} if prefix == "/books" else {field: 0})
    path = created.headers["location"]
    writers = 50 if get_database(app).engine.dialect.name in {"postgresql", "mysql"} else 10

    async def write() -> None:
        while True:
            read = await client.get(path)
            answer = await client.patch(
                path, json={field: read.json()[field] + 1}, headers={"If-Match": read.headers["etag"]}
            )
            if answer.status_code == 200:
                break
            assert answer.status_code in {412, 503}, answer.text

    await asyncio.gather(*(write() for _ in range(writers)))
    assert (await client.get(path)).json()[field] == writers


@everywhere
async def test_replace_sets_every_field(client: httpx.AsyncClient) -> None:
    """PUT: what the body leaves out takes its default or becomes null; required fields are required."""
    created = await client.post("/books", json={"title": "a", "pages": 5, "note": "n"})
    path = created.headers["location"]
    replaced = (await client.put(path, json={"title": "b"})).json()
    assert (replaced["title"], replaced["pages"], replaced["note"]) == ("b", 100, None)
    assert (await client.put(path, json={"pages": 1})).status_code == 422
    assert (await client.put("/books/999", json={"title": "b"})).status_code == 404


@everywhere
async def test_restore_undoes_a_soft_delete(client: httpx.AsyncClient) -> None:
    """A deleted record comes back, and a live one is answered as it is, so that a restore may be repeated."""
    created = await client.post("/books", json={"title": "a"})
    path = created.headers["location"]
    assert (await client.post(f"{path}/restore")).json() == created.json()
    await client.delete(path)
    restored = await client.post(f"{path}/restore")
    assert (restored.status_code, restored.json()) == (200, created.json())
    assert (await client.get(path)).status_code == 200


async def test_cursor_pages_meet_every_record_once(client: httpx.AsyncClient) -> None:
    """Forwards and backwards, while records are added."""
    rows = await books(client, 7)
    seen: list[int] = []
    cursor, pages = "", []
    while cursor is not None:
        page = (await client.get("/books", params={"cursor": cursor, "limit": 3, "order_by": "pages,-title"})).json()
        pages.append(page)
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == [row["id"] for row in rows]
    assert pages[0]["previous_cursor"] is None
    back = (
        await client.get(
            "/books", params={"cursor": pages[1]["previous_cursor"], "limit": 3, "order_by": "pages,-title"}
        )
    ).json()
    assert back["items"] == pages[0]["items"]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%00", "é" * 100])
async def test_a_bad_cursor_is_422(client: httpx.AsyncClient, cursor: str) -> None:
    """What is no cursor of this list is named."""
    answer = await client.get("/books", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


async def test_totals(client: httpx.AsyncClient) -> None:
    """Exact and capped count, estimated may guess, none does not say."""
    await books(client, 3)
    totals = {
        mode: (await client.get(f"/books?total={mode}&limit=2")).json()["total"] for mode in ("exact", "capped", "none")
    }
    assert totals == {"exact": 3, "capped": 3, "none": None}
    assert (await client.get("/books?total=estimated")).json()["total"] >= 3
    assert (await client.get("/books?total=exact&offset=99")).json() == {
        "total": 3,
        "items": [],
        "limit": 50,
        "offset": 99,
    }


async def test_select_answers_only_chosen_fields(client: httpx.AsyncClient) -> None:
    """For a page and for one record."""
    [row] = await books(client, 1)
    assert (await client.get("/books?select=title,id")).json()["items"] == [{"title": "book 00", "id": row["id"]}]
    assert (await client.get(f"/books/{row['id']}?select=title")).json() == {"title": "book 00"}
    assert (await client.get(f"/books/{row['id']}?select=nothing")).status_code == 422
    assert (await client.get(f"/books/{row['id']}?titel=x")).status_code == 422


async def test_include_adds_related_records(client: httpx.AsyncClient) -> None:
    """In both directions, without hidden columns, and only when asked for."""
    author = (await client.post("/authors", json={"name": "Ann", "token": "s3cret"})).json()
    book = (await client.post("/books", json={"title": "a", "author_id": author["id"]})).json()
    with_author = (await client.get(f"/books/{book['id']}?include=author")).json()
    assert with_author == {**book, "author": author}
    page = await client.get("/authors?include=books")
    assert page.json()["items"] == [{**author, "books": [book]}]
    assert "s3cret" not in page.text
    assert (await client.get("/authors?include=token")).status_code == 422
    assert "books" not in (await client.get("/authors")).json()["items"][0]


async def test_a_selection_keeps_the_related_records_that_are_asked_for(client: httpx.AsyncClient) -> None:
    """`select` cuts down the record itself, `include` adds to it; neither makes the other one void."""
    author = (await client.post("/authors", json={"name": "Ann"})).json()
    book = (await client.post("/books", json={"title": "a", "author_id": author["id"]})).json()
    shown = await client.get(f"/books/{book['id']}?select=title&include=author")
    assert shown.json() == {"title": "a", "author": author}
    page = await client.get("/authors?include=books&select=name")
    assert page.json()["items"] == [{"name": "Ann", "books": [book]}]
    assert (await client.get("/authors?include=books")).json()["items"] == [{**author, "books": [book]}]


@everywhere
async def test_export_as_lines_and_as_csv(client: httpx.AsyncClient) -> None:
    """Every record that the conditions allow, more than one batch, in the order asked for."""
    rows = await books(client, 4)
    lines = await client.get("/books/export?order_by=-title&pages__in=0,1")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["title"] for line in lines.text.splitlines()] == ["book 03", "book 01", "book 00"]
    table = await client.get("/books/export", headers={"Accept": "text/csv"})
    found = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["title"] for row in found] == [row["title"] for row in rows]
    assert list(found[0]) == list(rows[0])


async def test_guards_of_a_resource_and_of_one_action(client: httpx.AsyncClient) -> None:
    """A guard's answer is a problem too, with its own status."""
    anonymous = await client.get("/guarded/all")
    assert (anonymous.status_code, anonymous.json()["detail"]) == (401, "sign in first")
    assert (await client.get("/guarded/all", headers={"X-User": "ann"})).json()["total"] == 0
    assert (await client.post("/guarded", json={"name": "x"}, headers={"X-User": "ann"})).status_code == 403
    made = await client.post("/guarded", json={"name": "x"}, headers={"X-User": "admin"})
    assert made.status_code == 201, made.text


async def with_token(token: str = "") -> None:
    if token != "t":
        raise HTTPException(401, "sign in first")


async def test_a_guard_may_have_a_query_parameter(sqlite_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """It is the guard's, and no unknown one."""
    app = FastAPI()
    actions = {"list", "get", "create", "bulk_create"}
    resource = ApiResource(model=Author, prefix="/authors", dependencies=[with_token], actions=actions)  # type: ignore[arg-type]
    setup_sql(app, [resource], url=sqlite_url)
    client = await running(app)
    await make_tables(app, Base)
    made = await client.post("/authors/bulk?token=t", json=[{"name": "Ann"}])
    assert made.status_code == 200, made.text
    assert (await client.get("/authors?token=t")).json()["total"] == 1
    assert (await client.get("/authors/1?token=t")).status_code == 200
    assert (await client.get("/authors?token=x")).status_code == 401
    assert (await client.get("/authors?token=t&tokn=x")).status_code == 422


async def test_actions_that_are_switched_off_are_not_there(client: httpx.AsyncClient) -> None:
    """Neither route nor documentation."""
    assert (await client.get("/guarded/1", headers={"X-User": "admin"})).status_code in {404, 405}
    assert (await client.put("/authors/1", json={})).status_code == 405


async def test_a_route_can_be_renamed(app: FastAPI) -> None:
    """Path, operation id and title."""
    operation = app.openapi()["paths"]["/guarded/all"]["get"]
    assert (operation["operationId"], operation["summary"]) == ("everyone", "Everyone")
    assert "x-user" in [parameter["name"] for parameter in operation["parameters"]]


class Refusing(SqlService[Author]):
    async def post_create(self, session: Any, entity: Author) -> None:
        raise HTTPException(409, "not today") if entity.name == "http" else UniqueViolation("x", columns=("name",))


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_hook_that_raises_rolls_back(
    sql_url: str, running: ClientOf, make_tables: MakeTables, guarded: bool
) -> None:
    """With and without dependencies, whatever it raises."""
    app = FastAPI()
    guards = [only_admin] if guarded else []
    setup_sql(
        app,
        [ApiResource(model=Author, prefix="/authors", service_factory=Refusing, dependencies=guards)],
        url=sql_url,
    )
    client = await running(app)
    await make_tables(app, Base)
    for name in ("http", "sql"):
        answer = await client.post("/authors", json={"name": name}, headers={"X-User": "admin"})
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.get("/authors", headers={"X-User": "admin"})).json()["total"] == 0


def test_mistakes_in_a_resource_show_at_once() -> None:
    """Unknown actions, limits and a restore without soft delete."""
    with pytest.raises(ValueError, match="no action"):
        ApiResource(model=Author, prefix="/a", actions={"lisst"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit_default"):
        ApiResource(model=Author, prefix="/a", limit_default=5, limit_max=4)
    with pytest.raises(ValueError, match="soft_delete"):
        ApiResource(model=Author, prefix="/a", actions={"restore"})
