"""Generated routes of MongoDB resources about whole records and many of them: PUT, bulk writes, export."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated, Any, get_args

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from svc_infra.api.fastapi.db.nosql.mongo.add import get_mongo, setup_mongo
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.prepare import prepare_mongo
from svc_infra.db.nosql.mongo.resource import MongoAction, MongoResource
from svc_infra.db.nosql.mongo.service import MongoService
from svc_infra.db.nosql.mongo.settings import MongoSettings

ONE, TWO = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}


class Part(BaseModel):
    """A part on a shelf."""

    id: str
    sku: Annotated[str, Field(max_length=40)]
    stock: Annotated[int, Field(ge=0)] = 0
    note: str | None = None
    tags: list[str] = []
    secret: str | None = None
    version: int = 1


class Card(BaseModel):
    id: str
    shop: str
    text: str
    deleted_at: datetime | None = None


class Careful(MongoService[Part]):
    """Refuses the SKU `bad` and doubles the stock."""

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["sku"] == "bad":
            raise HTTPException(409, "no bad parts")
        return {**data, "stock": data.get("stock", 0) * 2}


ACTIONS = set(get_args(MongoAction)) - {"restore"}
PARTS = MongoResource(
    model=Part,
    prefix="/parts",
    actions=ACTIONS,
    version_field="version",
    indexes=[MongoIndex("sku", unique=True)],
    max_bulk_items=50,
    max_bulk_bytes=20_000,
)
CAREFUL = MongoResource(
    model=Part, prefix="/careful", collection="parts", actions={"bulk_create"}, service_factory=Careful
)
CARDS = MongoResource(
    model=Card, prefix="/cards", actions=set(get_args(MongoAction)), tenant_field="shop", soft_delete=True
)


@pytest.fixture
async def app(mongo_url: str, mongo_db_name: str) -> AsyncIterator[FastAPI]:
    app = FastAPI()
    setup_mongo(
        app,
        [PARTS, CAREFUL, CARDS],
        settings=MongoSettings(url=mongo_url, db_name=mongo_db_name, driver="pymongo"),
    )
    set_tenant_resolver(app, tenant_header())
    async with app.router.lifespan_context(app):
        await prepare_mongo(get_mongo(app).database(), [PARTS.repository()])
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://test"))


async def parts(client: httpx.AsyncClient, *skus: str) -> list[dict[str, Any]]:
    answer = await client.post("/parts/bulk", json=[{"sku": sku, "note": "old"} for sku in skus])
    assert answer.status_code == 200, answer.text
    return [result["item"] for result in answer.json()["results"]]


async def test_put_replaces_every_field_that_may_be_written(client: httpx.AsyncClient) -> None:
    """What is left out takes its default or becomes null; required fields are required, an old version is 412."""
    [row] = await parts(client, "a")
    path = f"/parts/{row['id']}"
    await client.patch(path, json={"stock": 5, "tags": ["x"]})
    tag = (await client.get(path)).headers["etag"]
    answer = await client.put(path, json={"sku": "b", "version": 99}, headers={"If-Match": tag})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": row["id"], "sku": "b", "stock": 0, "note": None, "tags": [], "version": 3}
    assert (await client.put(path, json={"sku": "c"}, headers={"If-Match": tag})).status_code == 412
    assert (await client.put(path, json={"stock": 1})).json()["errors"][0]["loc"] == ["body", "sku"]
    assert (await client.put(f"/parts/{'0' * 24}", json={"sku": "z"})).status_code == 404


async def test_many_records_are_created_each_by_itself(client: httpx.AsyncClient) -> None:
    """207 with a result for each: the record and its ETag, or its problem."""
    await parts(client, "taken")
    items = [{"sku": "a"}, {"sku": 5}, {"sku": "taken"}, {"sku": "b", "stock": -1}, {"sku": "c"}, {"skuu": "d"}]
    answer = await client.post("/parts/bulk?atomic=false", json=items)
    assert answer.status_code == 207, answer.text
    body = answer.json()
    assert [each["status"] for each in body["results"]] == [201, 422, 409, 422, 201, 422]
    assert (body["succeeded"], body["failed"]) == (2, 4)
    assert body["results"][2]["problem"]["type"] == "urn:svc-infra:problem:unique-violation"
    assert body["results"][1]["problem"]["errors"][0]["loc"] == ["body", "sku"]
    first = body["results"][0]
    read = await client.get(f"/parts/{first['item']['id']}")
    assert (read.json(), read.headers["etag"]) == (first["item"], first["etag"])
    assert "secret" not in first["item"]
    assert {row["sku"] for row in (await client.get("/parts")).json()["items"]} == {"taken", "a", "c"}


async def test_all_or_nothing_is_not_promised(client: httpx.AsyncClient) -> None:
    """MongoDB alone can't undo a part: atomic=true is 422, and nothing is written."""
    answer = await client.post("/parts/bulk?atomic=true", json=[{"sku": "a"}])
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "atomic"])
    assert (await client.get("/parts")).json()["total"] == 0


async def test_hooks_see_every_item(client: httpx.AsyncClient) -> None:
    """And an item that a hook refuses is named alone."""
    answer = await client.post("/careful/bulk", json=[{"sku": "a", "stock": 2}, {"sku": "bad"}, {"sku": "b"}])
    assert [each["status"] for each in answer.json()["results"]] == [201, 409, 201]
    assert answer.json()["results"][0]["item"]["stock"] == 4


async def test_many_records_are_changed_and_deleted(client: httpx.AsyncClient) -> None:
    """Each by its own values; a version that is old, and a record that is not there, are refused alone."""
    a, b, c = await parts(client, "a", "b", "c")
    items = [
        {"id": a["id"], "data": {"stock": 1}, "if_match": '"v1"'},
        {"id": b["id"], "data": {"stock": 2}, "if_match": '"v9"'},
        {"id": c["id"], "data": {"sku": "a"}},
        {"id": "0" * 24, "data": {"stock": 3}},
        {"id": a["id"], "data": {"stock": 4}},
        {"id": c["id"], "data": {"nope": 1}},
    ]
    answer = await client.patch("/parts/bulk", json=items)
    results = answer.json()["results"]
    assert [each["status"] for each in results] == [200, 412, 409, 404, 422, 422], answer.text
    assert (results[0]["item"]["stock"], results[0]["etag"]) == (1, '"v2"')
    assert results[5]["problem"]["errors"][0]["loc"] == ["body", "data", "nope"]
    deletes = [{"id": a["id"], "if_match": '"v1"'}, {"id": b["id"]}, {"id": b["id"]}, {"id": "nothing"}]
    deleted = await client.post("/parts/bulk/delete", json=deletes)
    assert [each["status"] for each in deleted.json()["results"]] == [412, 204, 422, 404]
    assert {row["sku"] for row in (await client.get("/parts")).json()["items"]} == {"a", "c"}
    minimal = await client.patch(
        "/parts/bulk", json=[{"id": a["id"], "data": {"note": "x"}}], headers={"Prefer": "return=minimal"}
    )
    assert minimal.json() == {"succeeded": 1, "failed": 0, "results": []}
    assert minimal.headers["preference-applied"] == "return=minimal"


async def test_a_tenant_reaches_only_its_own_records(client: httpx.AsyncClient) -> None:
    """By bulk writes, PUT and export; what another has looks as if it were not there."""
    made = await client.post("/cards/bulk", json=[{"text": "t", "shop": "two"}, {"text": "u"}], headers=ONE)
    rows = [each["item"] for each in made.json()["results"]]
    assert [row["shop"] for row in rows] == ["one", "one"], made.text
    path = f"/cards/{rows[0]['id']}"
    assert (await client.put(path, json={"text": "x"}, headers=TWO)).status_code == 404
    for method, where, more in (("PATCH", "/cards/bulk", {"data": {"text": "x"}}), ("POST", "/cards/bulk/delete", {})):
        answer = await client.request(method, where, json=[{"id": rows[0]["id"], **more}], headers=TWO)
        assert [each["status"] for each in answer.json()["results"]] == [404]
    assert (await client.get("/cards/export", headers=TWO)).text == ""
    assert len((await client.get("/cards/export", headers=ONE)).text.splitlines()) == 2
    assert (await client.post("/cards/bulk", json=[{"text": "t"}])).status_code == 400
    await client.post("/cards/bulk/delete", json=[{"id": rows[0]["id"]}], headers=ONE)
    assert len((await client.get("/cards/export", headers=ONE)).text.splitlines()) == 1
    for _ in range(2):
        restored = await client.post(f"{path}/restore", headers=ONE)
        assert (restored.status_code, restored.json()) == (200, rows[0])


async def test_all_records_are_exported_as_lines_and_as_csv(client: httpx.AsyncClient) -> None:
    """In the order asked for, within the conditions, as the list shows them; no text becomes a formula."""
    await parts(client, "b", "=1+1", "a")
    await client.post("/parts", json={"sku": "c", "tags": ["x", "y"], "stock": 7, "secret": "s"})
    listed = (await client.get("/parts?order_by=sku")).json()["items"]
    lines = await client.get("/parts/export?order_by=sku")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == listed
    table = await client.get("/parts/export?order_by=-sku&note__is_null=true", headers={"Accept": "text/csv"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    [row] = csv.DictReader(io.StringIO(table.text))
    assert (row["sku"], row["stock"], row["tags"], row["note"]) == ("c", "7", '["x","y"]', "")
    formula = await client.get("/parts/export?sku==1%2B1", headers={"Accept": "text/csv"})
    assert "'=1+1" in formula.text
    assert (await client.get("/parts/export?limit=1")).status_code in {200, 422}
    assert (await client.get("/parts/export?secret=s")).status_code == 422


async def test_an_export_takes_constant_memory(app: FastAPI) -> None:
    """12 MB of documents, several times that as Python objects, go by in less than 8 MB."""
    collection = get_mongo(app).database()["parts"]
    for start in range(0, 6000, 1000):
        await collection.insert_many(
            [{"sku": f"s{n}", "stock": n, "note": "x" * 2000, "version": 1} for n in range(start, start + 1000)]
        )
    seen = 0

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal seen
        seen += message.get("body", b"").count(b"\n")

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
        "path": "/parts/export", "raw_path": b"/parts/export", "query_string": b"", "headers": [], "root_path": "",
        "scheme": "http", "server": ("test", 80), "client": ("test", 1), "state": {},
    }  # fmt: skip
    tracemalloc.start()
    try:
        await app(scope, receive, send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == 6000
    assert peak < 8_000_000, peak


async def test_bulk_requests_have_limits(client: httpx.AsyncClient) -> None:
    """422 for too many items, 413 for too large a body, 415 for no JSON."""
    many = await client.post("/parts/bulk", json=[{"sku": str(n)} for n in range(51)])
    assert (many.status_code, many.json()["errors"][0]["type"]) == (422, "too_long")
    large = await client.post("/parts/bulk", json=[{"sku": "a", "note": "x" * 1000} for _ in range(30)])
    assert large.status_code == 413
    assert (await client.post("/parts/bulk", content=b"[]", headers={"Content-Type": "text/csv"})).status_code == 415
    assert (await client.get("/parts/bulk")).status_code == 405


def test_the_document_shows_them_as_it_shows_those_of_sql(app: FastAPI) -> None:
    """The same bodies, answers and headers; `atomic` can be nothing but false."""
    paths = app.openapi()["paths"]
    create = paths["/parts/bulk"]["post"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    assert (schema["type"], schema["maxItems"]) == ("array", 50)
    assert {"200", "207", "409", "413", "415", "422", "503"} <= set(create["responses"])
    [atomic] = [each for each in create["parameters"] if each["name"] == "atomic"]
    assert atomic["schema"] == {"type": "boolean", "enum": [False], "default": False}
    assert "application/x-ndjson" in paths["/parts/export"]["get"]["responses"]["200"]["content"]
    replace = paths["/parts/{id}"]["put"]
    assert "ETag" in replace["responses"]["200"]["headers"]
    assert {"404", "409", "412", "422"} <= set(replace["responses"])
