"""Bulk routes: many records in one request, all or none, or each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import CheckConstraint, ForeignKey, String, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import Action, ApiResource
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]

BULK: set[Action] = {"bulk_create", "bulk_update", "bulk_upsert", "bulk_delete", "list", "create", "get", "update"}
everywhere = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql", "duckdb"], indirect=True)
undoing = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql"], indirect=True)
"""On every database that can undo a part of a transaction; DuckDB has no savepoints."""


class Base(DeclarativeBase):
    pass


class Part(Base):
    __tablename__ = "parts"
    __table_args__ = (CheckConstraint("stock >= 0", name="ck_parts_stock"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(20), unique=True)
    stock: Mapped[int] = mapped_column(default=0)
    note: Mapped[str | None] = mapped_column(String(50))
    secret: Mapped[str | None] = mapped_column(String(50))
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("parts.id"))
    version: Mapped[int] = mapped_column(default=1)


class Note(Base):
    __tablename__ = "notes"
    key: Mapped[str] = mapped_column(String(20), primary_key=True)
    shop: Mapped[str] = mapped_column(String(20), primary_key=True)
    text: Mapped[str] = mapped_column(String(20))
    deleted_at: Mapped[datetime | None]


class Seat(Base):
    __tablename__ = "seats"
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    letter: Mapped[str] = mapped_column(String(1), primary_key=True)
    taken: Mapped[bool] = mapped_column(default=False)


class Careful(SqlService[Part]):
    """Doubles the stock and refuses the SKU `bad`; counts what it saw."""

    seen: list[str]

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["sku"] == "bad":
            raise HTTPException(409, "no bad parts")
        return {**data, "stock": data.get("stock", 0) * 2}

    async def pre_delete(self, session: Any, id: object) -> None:  # noqa: A002
        assert session is not None
        if id == 1:
            raise HTTPException(403, "the first part stays")


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    resources: list[ApiResource[Any]] = [
        ApiResource(
            model=Part,
            prefix="/parts",
            actions=BULK,
            upsert_on=["sku"],
            version_field="version",
            max_bulk_items=500,
            max_bulk_bytes=200_000,
        ),
        ApiResource(
            model=Part, prefix="/careful", actions=BULK, upsert_on=["sku"], service_factory=Careful, read_name="CRead"
        ),
        ApiResource(
            model=Part, prefix="/strict", actions={"bulk_update", "bulk_delete"}, require_if_match=True, read_name="S"
        ),
        ApiResource(model=Note, prefix="/notes", actions=BULK, soft_delete=True, tenant_field="shop", id_attr="key"),
        ApiResource(model=Seat, prefix="/seats", actions=BULK - {"bulk_upsert"}, id_attr=("row", "letter")),
    ]
    setup_sql(app, resources, url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


async def parts(client: httpx.AsyncClient, *skus: str) -> list[dict[str, Any]]:
    answer = await client.post("/parts/bulk", json=[{"sku": sku} for sku in skus])
    assert answer.status_code == 200, answer.text
    return [result["item"] for result in answer.json()["results"]]


async def count(client: httpx.AsyncClient, path: str = "/parts") -> int:
    total: int = (await client.get(path)).json()["total"]
    return total


@everywhere
async def test_many_records_are_created_in_their_order(client: httpx.AsyncClient) -> None:
    """Each with its status, record and ETag; the ETag is the one that a read gives."""
    answer = await client.post("/parts/bulk", json=[{"sku": "b", "stock": 2}, {"sku": "a", "note": "n"}])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["succeeded"], body["failed"]) == (2, 0)
    assert [(each["index"], each["status"], each["item"]["sku"]) for each in body["results"]] == [
        (0, 201, "b"),
        (1, 201, "a"),
    ]
    first = body["results"][0]
    read = await client.get(f"/parts/{first['item']['id']}")
    assert (read.json(), read.headers["etag"]) == (first["item"], first["etag"])
    assert "secret" not in first["item"]


async def test_no_records_are_no_error(client: httpx.AsyncClient) -> None:
    """An empty array is carried out."""
    for method, path in (("POST", ""), ("PATCH", ""), ("PUT", ""), ("POST", "/delete")):
        answer = await client.request(method, f"/parts/bulk{path}", json=[])
        assert answer.json() == {"succeeded": 0, "failed": 0, "results": []}, answer.text


@undoing
async def test_one_bad_item_undoes_all(client: httpx.AsyncClient) -> None:
    """The problem names the item and the field; nothing was written."""
    await parts(client, "taken")
    answer = await client.post("/parts/bulk", json=[{"sku": "a"}, {"sku": "b"}, {"sku": "taken"}, {"sku": "c"}])
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    [error] = answer.json()["errors"]
    assert error["loc"][:2] == ["body", 2]
    assert await count(client) == 1
    invalid = await client.post("/parts/bulk", json=[{"sku": "a"}, {"sku": 1}, {"skuu": "b"}])
    assert invalid.status_code == 422
    assert [error["loc"] for error in invalid.json()["errors"]] == [["body", 1, "sku"], ["body", 2, "sku"]]
    unknown = await client.post("/parts/bulk", json=[{"sku": "a"}, {"sku": "b", "skuu": "b"}])
    assert (unknown.status_code, unknown.json()["errors"][0]["loc"]) == (422, ["body", 1, "skuu"])
    assert await count(client) == 1


@undoing
@pytest.mark.parametrize("prefix", ["/parts", "/careful"])
async def test_items_may_fail_by_themselves(client: httpx.AsyncClient, prefix: str) -> None:
    """With atomic=false the good ones are committed and each bad one has its problem."""
    await parts(client, "taken")
    items = [{"sku": "a"}, {"sku": 5}, {"sku": "taken"}, {"sku": "b", "stock": -1}, {"sku": "c"}]
    answer = await client.post(f"{prefix}/bulk?atomic=false", json=items)
    assert answer.status_code == 207, answer.text
    body = answer.json()
    assert (body["succeeded"], body["failed"]) == (2, 3)
    assert [each["status"] for each in body["results"]] == [201, 422, 409, 422, 201]
    assert body["results"][1]["problem"]["errors"][0]["loc"] == ["body", "sku"]
    assert {row["sku"] for row in (await client.get("/parts")).json()["items"]} == {"taken", "a", "c"}
    for query in ("atomic=maybe", "atomic=true&atomic=false", "atomik=false", "x=1"):
        assert (await client.post(f"{prefix}/bulk?{query}", json=[])).status_code == 422


@undoing
async def test_a_count_may_be_enough(client: httpx.AsyncClient) -> None:
    """Prefer: return=minimal, for a thousand rows by the database's fastest way too."""
    headers = {"Prefer": "respond-async, return=minimal"}
    answer = await client.post("/parts/bulk", json=[{"sku": f"s{n}"} for n in range(400)], headers=headers)
    assert answer.json() == {"succeeded": 400, "failed": 0, "results": []}
    assert answer.headers["preference-applied"] == "return=minimal"
    refused = await client.post("/parts/bulk", json=[{"sku": "x"}, {"sku": "s7"}], headers=headers)
    assert (refused.status_code, refused.json()["errors"][0]["loc"][:2]) == (409, ["body", 1])
    assert await count(client) == 400


async def test_without_savepoints_a_refusal_names_no_item(duckdb_url: str, running: ClientOf) -> None:
    """DuckDB can't undo a part of a transaction: a duplicate is 409 of the whole request, atomic=false is 422."""
    app = FastAPI()
    setup_sql(app, [ApiResource(model=Part, prefix="/parts", actions=BULK, upsert_on=["sku"])], url=duckdb_url)
    client = await running(app)
    async with get_database(app).engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await parts(client, "taken")
    refused = await client.post("/parts/bulk", json=[{"sku": "a"}, {"sku": "taken"}])
    assert (refused.status_code, await count(client)) == (409, 1)
    for method, path in (("POST", ""), ("PATCH", ""), ("PUT", ""), ("POST", "/delete")):
        answer = await client.request(method, f"/parts/bulk{path}?atomic=false", json=[])
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:svc-infra:problem:not-supported")


@everywhere
async def test_many_records_are_changed(client: httpx.AsyncClient) -> None:
    """The same values for all, and different ones for each; what is not named stays."""
    rows = await parts(client, "a", "b", "c")
    same = await client.patch("/parts/bulk", json=[{"id": row["id"], "data": {"note": "all"}} for row in rows])
    assert [each["item"]["note"] for each in same.json()["results"]] == ["all"] * 3, same.text
    items = [{"id": row["id"], "data": {"stock": n}} for n, row in enumerate(reversed(rows))]
    answer = await client.patch("/parts/bulk", json=items)
    assert answer.status_code == 200, answer.text
    assert [(each["item"]["sku"], each["item"]["stock"]) for each in answer.json()["results"]] == [
        ("c", 0),
        ("b", 1),
        ("a", 2),
    ]
    assert {each["item"]["version"] for each in answer.json()["results"]} == {3}


@contextmanager
def statements(app: FastAPI) -> Iterator[list[str]]:
    """The statements on rows that are sent meanwhile."""
    engine, sent = get_database(app).engine.sync_engine, list[str]()

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip("( ").upper().startswith(("SELECT", "UPDATE", "DELETE")):
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    yield sent
    event.remove(engine, "before_cursor_execute", record)


@everywhere
async def test_versions_that_no_column_counts_are_compared_at_once(app: FastAPI, client: httpx.AsyncClient) -> None:
    """One statement locks and reads all records; their hashes are compared, then they are changed or deleted."""
    made = (await client.post("/careful/bulk", json=[{"sku": f"s{number}"} for number in range(60)])).json()["results"]
    named = [{"id": each["item"]["id"], "if_match": each["etag"]} for each in made]
    with statements(app) as sent:
        answer = await client.patch("/strict/bulk", json=[{**each, "data": {"stock": each["id"]}} for each in named])
    assert answer.status_code == 200, answer.text
    is_mysql = get_database(app).engine.dialect.name == "mysql"
    assert len(sent) == (4 if is_mysql else 3), sent
    renewed = [{**each, "if_match": new["etag"]} for each, new in zip(named, answer.json()["results"], strict=True)]
    for wrong, status in ((named[7], 412), ({**named[7], "id": 999}, 404)):
        items = [*renewed[:7], wrong, *renewed[8:]]
        for method, path, more in (("PATCH", "", {"data": {"stock": 1}}), ("POST", "/delete", {})):
            refused = await client.request(method, f"/strict/bulk{path}", json=[{**item, **more} for item in items])
            assert (refused.status_code, refused.json()["errors"][0]["loc"][:2]) == (status, ["body", 7]), refused.text
    assert await count(client) == 60
    with statements(app) as sent:
        deleted = await client.post("/strict/bulk/delete", json=renewed)
    assert deleted.json()["succeeded"] == 60, deleted.text
    assert len(sent) == 2, sent
    assert await count(client) == 0


@everywhere
async def test_ids_of_several_fields_go_together_too(app: FastAPI, client: httpx.AsyncClient) -> None:
    """Two hundred of them are one condition."""
    seats = [{"row": row, "letter": letter} for row in range(50) for letter in "ABCDE"]
    made = (await client.post("/seats/bulk", json=seats)).json()["results"]
    named = [{**seat, "if_match": each["etag"]} for seat, each in zip(seats, made, strict=True)]
    changed = await client.patch("/seats/bulk", json=[{**each, "data": {"taken": True}} for each in named[:3]])
    assert [each["item"]["taken"] for each in changed.json()["results"]] == [True] * 3, changed.text
    stale = await client.post("/seats/bulk/delete", json=named)
    assert (stale.status_code, stale.json()["errors"][0]["loc"]) == (412, ["body", 0])
    with statements(app) as sent:
        deleted = await client.post("/seats/bulk/delete", json=named[3:])
    assert deleted.json()["succeeded"] == 247, deleted.text
    assert len(sent) == 4, sent
    assert await count(client, "/seats") == 3


@everywhere
async def test_of_many_changes_of_one_version_one_succeeds(client: httpx.AsyncClient) -> None:
    """Whatever the order of their items: the others are told that the records were changed, and nothing is lost."""
    made = (await client.post("/careful/bulk", json=[{"sku": f"s{number}"} for number in range(4)])).json()["results"]
    named = [{"id": each["item"]["id"], "if_match": each["etag"]} for each in made]

    async def change(number: int) -> httpx.Response:
        items = [{**each, "data": {"stock": 100 + number}} for each in (named, named[::-1])[number % 2]]
        return await client.patch("/strict/bulk", json=items)

    answers = await asyncio.gather(*map(change, range(12)))
    [winner] = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    # DuckDB has no locks: who comes second is told to try again.
    assert {answer.status_code for answer in answers} <= {200, 412, 503}
    rows = (await client.get("/parts")).json()["items"]
    assert {row["stock"] for row in rows} == {100 + winner}


@everywhere
async def test_a_hundred_different_changes_are_few_statements(app: FastAPI, client: httpx.AsyncClient) -> None:
    """With a version for each: one statement locks, one writes, and one reads where UPDATE returns nothing."""
    rows = await parts(client, *(f"s{number}" for number in range(100)))
    engine = get_database(app).engine
    items = [{"id": row["id"], "if_match": '"v1"', "data": {"stock": row["id"] * 2}} for row in reversed(rows)]
    with statements(app) as sent:
        answer = await client.patch("/parts/bulk", json=items)
    assert answer.status_code == 200, answer.text
    assert [(each["item"]["id"], each["item"]["stock"], each["etag"]) for each in answer.json()["results"]] == [
        (row["id"], row["id"] * 2, '"v2"') for row in reversed(rows)
    ]
    assert len(sent) == (3 if engine.dialect.name == "mysql" else 2), sent
    clash = [{"id": rows[0]["id"], "data": {"note": "n"}}, {"id": rows[1]["id"], "data": {"sku": "s7"}}]
    refused = await client.patch("/parts/bulk", json=clash)
    assert refused.status_code == 409
    if engine.dialect.name != "duckdb":
        assert refused.json()["errors"][0]["loc"][:3] == ["body", 1, "data"]
    assert (await client.get(f"/parts/{rows[0]['id']}")).json()["note"] is None


@everywhere
@pytest.mark.parametrize("same", [True, False])
async def test_a_missing_record_undoes_all_changes(client: httpx.AsyncClient, same: bool) -> None:
    """404 with its place, in an update and in a delete."""
    [row] = await parts(client, "a")
    items = [{"id": row["id"], "data": {"note": "x"}}, {"id": 999, "data": {"note": "x" if same else "y"}}]
    answer = await client.patch("/parts/bulk", json=items)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (404, ["body", 1, "id"])
    deleted = await client.post("/parts/bulk/delete", json=[{"id": row["id"]}, {"id": 999}])
    assert (deleted.status_code, deleted.json()["errors"][0]["loc"]) == (404, ["body", 1, "id"])
    assert (await client.get(f"/parts/{row['id']}")).json() == row


@undoing
@pytest.mark.parametrize("prefix", ["/parts", "/careful"])
async def test_each_item_may_name_its_version(client: httpx.AsyncClient, prefix: str) -> None:
    """An old version is 412 and undoes all; by itself it leaves the others."""
    rows = await parts(client, "a", "b")
    tags = [(await client.get(f"{prefix}/{row['id']}")).headers["etag"] for row in rows]
    items = [{"id": row["id"], "if_match": tag, "data": {"stock": 5}} for row, tag in zip(rows, tags, strict=True)]
    assert (await client.patch(f"{prefix}/bulk", json=items)).status_code == 200
    new = (await client.get(f"{prefix}/{rows[0]['id']}")).headers["etag"]
    items = [
        {"id": rows[0]["id"], "if_match": new, "data": {"stock": 6}},
        {"id": rows[1]["id"], "if_match": tags[1], "data": {"stock": 7}},
    ]
    answer = await client.patch(f"{prefix}/bulk", json=items)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (412, ["body", 1]), answer.text
    single = await client.patch(f"{prefix}/bulk?atomic=false", json=items)
    assert [each["status"] for each in single.json()["results"]] == [200, 412]
    stocks = [(await client.get(f"{prefix}/{row['id']}")).json()["stock"] for row in rows]
    assert stocks == [6, 5]
    deletes = [{"id": rows[1]["id"], "if_match": tags[1]}]
    assert (await client.post(f"{prefix}/bulk/delete", json=deletes)).status_code in {412, 403}


async def test_a_resource_may_insist_on_versions(client: httpx.AsyncClient) -> None:
    """428 for an item without."""
    [row] = await parts(client, "a")
    for method, path, item in (
        ("PATCH", "/strict/bulk", {"id": row["id"], "data": {"stock": 1}}),
        ("POST", "/strict/bulk/delete", {"id": row["id"]}),
    ):
        answer = await client.request(method, path, json=[item])
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (428, ["body", 0])
        assert (await client.request(method, path, json=[{**item, "if_match": "*"}])).status_code == 200


async def test_a_record_may_be_named_once(client: httpx.AsyncClient) -> None:
    """Nobody knows which of two items is meant."""
    [row] = await parts(client, "a")
    for method, path, items in (
        ("PATCH", "", [{"id": row["id"], "data": {"stock": 1}}, {"id": row["id"], "data": {"stock": 2}}]),
        ("PUT", "", [{"sku": "a"}, {"sku": "a", "stock": 1}]),
        ("POST", "/delete", [{"id": row["id"]}, {"id": row["id"]}]),
    ):
        answer = await client.request(method, f"/parts/bulk{path}", json=items)
        assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", 1]), answer.text


@undoing
async def test_an_upsert_creates_and_updates_by_its_key(client: httpx.AsyncClient) -> None:
    """By `upsert_on`; an item without the key is refused."""
    [row] = await parts(client, "a")
    answer = await client.put("/parts/bulk", json=[{"sku": "new", "stock": 1}, {"sku": "a", "stock": 9}])
    assert answer.status_code == 200, answer.text
    new, old = (each["item"] for each in answer.json()["results"])
    assert (new["sku"], new["stock"], old["id"], old["stock"]) == ("new", 1, row["id"], 9)
    lacking = await client.put("/parts/bulk", json=[{"stock": 1}])
    assert (lacking.status_code, lacking.json()["errors"][0]["loc"]) == (422, ["body", 0, "sku"])
    each = await client.put("/parts/bulk?atomic=false", json=[{"sku": "a", "stock": -1}, {"sku": "z"}])
    assert [result["status"] for result in each.json()["results"]] == [422, 200]


@undoing
async def test_many_records_are_deleted(client: httpx.AsyncClient) -> None:
    """Each is 204; by themselves the missing ones are 404."""
    rows = await parts(client, "a", "b", "c")
    answer = await client.post("/parts/bulk/delete", json=[{"id": rows[0]["id"]}, {"id": rows[2]["id"]}])
    assert answer.json()["results"] == [{"index": 0, "status": 204}, {"index": 1, "status": 204}]
    answer = await client.post("/parts/bulk/delete?atomic=false", json=[{"id": rows[0]["id"]}, {"id": rows[1]["id"]}])
    assert [each["status"] for each in answer.json()["results"]] == [404, 204]
    assert await count(client) == 0


@everywhere
async def test_hooks_see_every_item(client: httpx.AsyncClient) -> None:
    """And an item that a hook refuses is named."""
    answer = await client.post("/careful/bulk", json=[{"sku": "a", "stock": 1}, {"sku": "b", "stock": 2}])
    assert [each["item"]["stock"] for each in answer.json()["results"]] == [2, 4], answer.text
    refused = await client.post("/careful/bulk", json=[{"sku": "c"}, {"sku": "bad"}])
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (409, ["body", 1])
    ids = [each["item"]["id"] for each in answer.json()["results"]]
    kept = await client.post("/careful/bulk/delete", json=[{"id": number} for number in ids])
    assert (kept.status_code, await count(client)) == (403, 2)
    upserted = await client.put("/careful/bulk", json=[{"sku": "a", "stock": 5}])
    assert upserted.json()["results"][0]["item"]["stock"] == 10


@everywhere
async def test_a_tenant_reaches_only_its_own_records(client: httpx.AsyncClient) -> None:
    """By create, update, upsert and delete; what another has looks as if it were not there."""
    one, two = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}
    items = [{"key": "a", "text": "t", "shop": "two"}, {"key": "b", "text": "t"}]
    made = await client.post("/notes/bulk", json=items, headers=one)
    assert [each["item"]["shop"] for each in made.json()["results"]] == ["one", "one"], made.text
    stolen = await client.patch("/notes/bulk", json=[{"key": "a", "data": {"text": "x"}}], headers=two)
    assert stolen.status_code == 404
    assert (await client.post("/notes/bulk/delete", json=[{"key": "a"}], headers=two)).status_code == 404
    put = await client.put("/notes/bulk", json=[{"key": "a", "text": "mine"}], headers=two)
    assert put.json()["results"][0]["item"]["shop"] == "two", put.text
    rows = (await client.get("/notes", headers=one)).json()["items"]
    assert [(row["key"], row["text"]) for row in rows] == [("a", "t"), ("b", "t")]
    assert (await client.post("/notes/bulk", json=items)).status_code == 400


@everywhere
async def test_a_bulk_delete_may_be_soft(client: httpx.AsyncClient) -> None:
    """A marked record is not found again."""
    headers = {"X-Tenant-Id": "one"}
    await client.post("/notes/bulk", json=[{"key": "a", "text": "t"}], headers=headers)
    assert (await client.post("/notes/bulk/delete", json=[{"key": "a"}], headers=headers)).status_code == 200
    assert (await client.post("/notes/bulk/delete", json=[{"key": "a"}], headers=headers)).status_code == 404
    assert (await client.get("/notes", headers=headers)).json()["total"] == 0


async def test_limits_of_items_and_bytes(client: httpx.AsyncClient) -> None:
    """422 for too many items, 413 for too large a body, 415 for no JSON."""
    many = await client.post("/parts/bulk", json=[{"sku": str(n)} for n in range(501)])
    assert (many.status_code, many.json()["errors"][0]["type"]) == (422, "too_long")
    large = await client.post("/parts/bulk", json=[{"sku": "a", "note": "x" * 1000} for _ in range(210)])
    assert large.status_code == 413
    assert (await client.post("/parts/bulk", content=b"[]", headers={"Content-Type": "text/csv"})).status_code == 415
    assert (await client.post("/parts/bulk", json={"sku": "a"})).status_code == 422


async def test_a_word_of_the_collection_is_no_id(client: httpx.AsyncClient) -> None:
    """A method that the bulk path lacks is 405 there too."""
    for method in ("GET", "DELETE"):
        answer = await client.request(method, "/parts/bulk")
        assert (answer.status_code, answer.headers["allow"]) == (405, "PATCH, POST, PUT")


def test_an_upsert_needs_a_key_that_a_body_can_hold() -> None:
    """Shown at set-up."""
    with pytest.raises(ValueError, match="upsert_on"):
        setup_sql(FastAPI(), [ApiResource(model=Part, prefix="/parts", actions={"bulk_upsert"})], url="sqlite://")


def test_the_document_shows_bulk_routes_where_they_are(app: FastAPI) -> None:
    """With array bodies, limits and 207; a resource that names none has none."""
    paths = app.openapi()["paths"]
    create = paths["/parts/bulk"]["post"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    assert (schema["type"], schema["maxItems"]) == ("array", 500)
    assert "PartCreate" in schema["items"]["$ref"]
    assert {"200", "207", "409", "413", "415", "422", "503"} <= set(create["responses"])
    assert "put" not in paths["/strict/bulk"]
