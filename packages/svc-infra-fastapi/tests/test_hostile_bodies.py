"""What a hostile client may send to writes: nothing is a 5xx, nothing leaks, nothing crosses tenants."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import JSON, ForeignKey, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]

ONE, TWO = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}
JSON_TYPE = {"Content-Type": "application/json"}


class Base(DeclarativeBase):
    pass


class Doc(Base):
    __tablename__ = "docs"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(20))
    title: Mapped[str | None] = mapped_column(String(20))
    number: Mapped[int | None]
    ratio: Mapped[float | None]
    price: Mapped[Any | None] = mapped_column(Numeric(8, 2))
    data: Mapped[Any | None] = mapped_column(JSON)
    api_key: Mapped[str | None] = mapped_column(String(20))
    version: Mapped[int] = mapped_column(default=1)
    lines: Mapped[list[Line]] = relationship(back_populates="doc")


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(20))
    doc_id: Mapped[int] = mapped_column(ForeignKey("docs.id"))
    text: Mapped[str] = mapped_column(String(20))
    secret: Mapped[str | None] = mapped_column(String(20))
    doc: Mapped[Doc] = relationship(back_populates="lines")


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    resource = ApiResource(
        model=Doc,
        prefix="/papers",
        actions=ALL_ACTIONS - {"restore"},
        tenant_field="shop",
        version_field="version",
        nested=["lines"],
        include=["lines"],
        search_fields=["title"],
        max_body_bytes=20_000,
        max_bulk_bytes=40_000,
    )
    lines: ApiResource[Any] = ApiResource(
        model=Line, prefix="/lines", tenant_field="shop", actions=ALL_ACTIONS - {"restore"}
    )
    setup_sql(app, [resource, lines], url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


VALUES = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"9" * 400,
    b"-" + b"9" * 4000,
    b"9223372036854775808",
    b"1.5",
    b"true",
    b'"\\u0000"',
    b'"a\\u0000b"',
    b'"\\ud800"',
    b'"\\udfff\\ud800"',
    b'"\xff"',
    b'"' + b"x" * 5000 + b'"',
    b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b'{"a":1,"a":2}',
    b'{"a\\u0000":1}',
    b'{"__proto__":{},"$ref":"#"}',
    b"[NaN]",
    b'["\\u0000"]',
    b"[1e400]",
    b"[" + b"9" * 400 + b"]",
    b'"; DROP TABLE docs; --"',
    b'"2026-13-45"',
    b"{}",
    b"[]",
    b"null",
    b"",
    b"}",
]


def bodies_of(field: str, value: bytes) -> dict[str, tuple[str, str, bytes]]:
    """One request per write that can carry a value of a field."""
    member = b'"%b":%b' % (field.encode(), value)
    return {
        "create": ("POST", "/papers", b"{%b}" % member),
        "each": ("POST", "/papers/bulk?atomic=false", b"[{},{%b}]" % member),
        "bulk_update": ("PATCH", "/papers/bulk", b'[{"id":1,"data":{%b}}]' % member),
        "import": ("POST", "/papers/import", b"{%b}" % member),
    }


@pytest.mark.parametrize("field", ["title", "number", "ratio", "price", "data"])
async def test_no_value_of_a_field_is_a_server_error(client: httpx.AsyncClient, field: str) -> None:
    """Of any write; what was stored can be read again as JSON."""
    await client.post("/papers", json={"title": "first"}, headers=ONE)
    for value in VALUES:
        for action, (method, path, content) in bodies_of(field, value).items():
            kind = "application/x-ndjson" if action == "import" else "application/json"
            answer = await client.request(method, path, content=content, headers={**ONE, "Content-Type": kind})
            assert answer.status_code in {200, 201, 207, 409, 413, 422}, (action, value[:40], answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
            strict(answer.content)
    page = await client.get("/papers?limit=1000", headers=ONE)
    assert page.status_code == 200, page.text
    strict(page.content)
    export = await client.get("/papers/export", headers={**ONE, "Accept": "text/csv"})
    assert export.status_code == 200


def strict(content: bytes) -> object:
    """Parse JSON as RFC 8259 has it, without NaN and Infinity."""

    def refuse(name: str) -> object:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(content, parse_constant=refuse)


WHOLE_BODIES = [
    b"",
    b"null",
    b"1",
    b'"x"',
    b"[[]]",
    b"[null]",
    b"[1]",
    b"{}{}",
    b"\xff\xfe",
    b"\x00",
    b"[{}",
    b"[" * 9000,
]


async def test_no_body_is_a_server_error(client: httpx.AsyncClient) -> None:
    """Whatever it is instead of an object or an array."""
    await client.post("/papers", json={}, headers=ONE)
    for method, path in (
        ("POST", "/papers"),
        ("PATCH", "/papers/1"),
        ("PUT", "/papers/1"),
        ("POST", "/papers/bulk"),
        ("POST", "/papers/bulk?atomic=false"),
        ("PATCH", "/papers/bulk"),
        ("POST", "/papers/bulk/delete"),
    ):
        for content in WHOLE_BODIES:
            answer = await client.request(method, path, content=content, headers={**ONE, **JSON_TYPE})
            assert answer.status_code in {422, 207}, (method, path, content[:20], answer.text)


async def test_a_compressed_body_is_refused_as_such(client: httpx.AsyncClient) -> None:
    """415 and not a mistake at column 1; `identity` says that nothing is compressed."""
    for path, kind, content in (
        ("/papers", "application/json", b"{}"),
        ("/papers/bulk", "application/json", b"[{}]"),
        ("/papers/import", "application/x-ndjson", b"{}"),
    ):
        headers = {**ONE, "Content-Type": kind}
        sent = await client.post(path, content=gzip.compress(content), headers={**headers, "Content-Encoding": "gzip"})
        assert (sent.status_code, sent.headers["accept-encoding"]) == (415, "identity"), sent.text
        plain = await client.post(path, content=content, headers={**headers, "Content-Encoding": "identity"})
        assert plain.status_code in {200, 201}, plain.text


async def test_a_mistake_names_no_class(client: httpx.AsyncClient) -> None:
    """What is no object is told so by the same words, whether items are carried out together or each by itself."""
    together = await client.post("/papers/bulk", json=[5], headers=ONE)
    apart = await client.post("/papers/bulk?atomic=false", json=[5], headers=ONE)
    [problem] = [each["problem"] for each in apart.json()["results"]]
    assert together.json()["errors"][0]["msg"] == problem["errors"][0]["msg"] == "Input should be an object"
    assert (problem["title"], together.json()["title"]) == ("Unprocessable Content", "Unprocessable Content")


IDS: list[Any] = [0, -1, 2**31, 2**63, 10**30, 1.5, "1", "x", None, True, [], {}, "\x00"]


async def test_no_id_in_a_body_is_a_server_error(client: httpx.AsyncClient) -> None:
    """A wrong type or size is 422, one that is not there 404."""
    for value in IDS:
        for method, path, item in (
            ("PATCH", "/papers/bulk", {"id": value, "data": {"title": "x"}}),
            ("POST", "/papers/bulk/delete", {"id": value}),
        ):
            answer = await client.request(method, path, json=[item], headers=ONE)
            assert answer.status_code in {404, 422}, (value, answer.text)
            each = await client.request(method, f"{path}?atomic=false", json=[item], headers=ONE)
            assert each.status_code == 207, (value, each.text)
            assert each.json()["results"][0]["status"] in {404, 422}


async def test_a_body_without_length_is_limited_too(served: ClientOf, app: FastAPI, make_tables: MakeTables) -> None:
    """A chunked body is cut off at the limit, by a real server; a large one with its length before it is read."""
    client = await served(app)
    await make_tables(app, Base)
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(500):
            sent += 10_000
            yield b" " * 10_000
            await asyncio.sleep(0)

    for method, path in (("POST", "/papers"), ("PATCH", "/papers/1"), ("PUT", "/papers/1"), ("POST", "/papers/bulk")):
        answer = await client.request(method, path, content=parts(), headers={**ONE, **JSON_TYPE})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:svc-infra:problem:content-too-large")
        refused = await client.request(method, path, content=b"x" * 50_000, headers={**ONE, **JSON_TYPE})
        assert refused.status_code == 413


async def test_other_tenants_records_are_out_of_reach_of_every_write(client: httpx.AsyncClient) -> None:
    """By their ids in bulk, nested, import and path: as if they were not there, and unchanged afterwards."""
    body = {"title": "mine", "lines": [{"text": "a"}]}
    made = (await client.post("/papers", json=body, headers=TWO)).json()
    doc, line = made["id"], made["lines"][0]["id"]
    before = (await client.get("/papers?include=lines", headers=TWO)).json()
    refused = [
        await client.patch("/papers/bulk", json=[{"id": doc, "data": {"title": "x"}}], headers=ONE),
        await client.post("/papers/bulk/delete", json=[{"id": doc}], headers=ONE),
        await client.patch("/papers/bulk", json=[{"id": doc, "if_match": '"v1"', "data": {"title": "x"}}], headers=ONE),
        await client.put(f"/papers/{doc}", json={"title": "x"}, headers=ONE),
        await client.patch(f"/papers/{doc}", json={"title": "x"}, headers={**ONE, "If-Match": '"v1"'}),
        await client.patch(f"/papers/{doc}", json={"title": "x"}, headers={**ONE, "If-None-Match": "*"}),
        await client.delete(f"/lines/{line}", headers=ONE),
    ]
    assert {answer.status_code for answer in refused} == {404}
    each = await client.post("/papers/bulk/delete?atomic=false", json=[{"id": doc}], headers=ONE)
    assert each.json()["results"][0]["status"] == 404
    taken = {"text": "b", "doc_id": doc, "shop": "two", "id": line}
    await client.post("/papers", json={"lines": [taken], "shop": "two", "id": doc}, headers=ONE)
    await client.post("/papers/bulk", json=[{"title": "x", "shop": "two", "id": doc}], headers=ONE)
    text = json.dumps({"title": "x", "shop": "two", "id": doc})
    await client.post("/papers/import", content=text, headers={**ONE, "Content-Type": "application/x-ndjson"})
    assert (await client.get("/papers?include=lines", headers=TWO)).json() == before
    assert (await client.get("/papers", headers=ONE)).json()["total"] == 3


async def test_hidden_columns_can_be_neither_asked_for_nor_guessed(client: httpx.AsyncClient) -> None:
    """By condition, order, search, select, include and in related records; the same answer as for no such column."""
    await client.post(
        "/papers", json={"title": "a", "api_key": "s3cret", "lines": [{"text": "t", "secret": "s3cret"}]}, headers=ONE
    )
    for query in (
        "api_key=s3cret",
        "api_key__starts_with=s",
        "api_key__is_null=false",
        "order_by=api_key",
        "q=s&fields=api_key",
        "select=api_key",
        "include=api_key",
        "include=lines.secret",
        "lines=1",
        "lines.secret=s",
        "version__nope=1",
    ):
        name, _, rest = query.partition("=")
        unknown = f"{name.replace('api_key', 'nothing')}={rest.replace('api_key', 'nothing')}"
        for path in ("/papers", "/papers/export"):
            answer = await client.get(f"{path}?{query}", headers=ONE)
            assert answer.status_code == 422, (query, answer.text)
            same = await client.get(f"{path}?{unknown}", headers=ONE)
            assert answer.text.replace("api_key", "nothing") == same.text
    for path in ("/papers", "/papers?include=lines", "/papers/export", "/papers/1?include=lines"):
        answer = await client.get(path, headers=ONE)
        assert answer.status_code == 200
        assert "s3cret" not in answer.text
        assert "api_key" not in answer.text
    csv = await client.get("/papers/export", headers={**ONE, "Accept": "text/csv"})
    assert "api_key" not in csv.text
    bulk = await client.patch("/papers/bulk", json=[{"id": 1, "data": {"api_key": "other"}}], headers=ONE)
    assert "api_key" not in bulk.text


async def test_pages_and_parameters_have_limits(client: httpx.AsyncClient) -> None:
    """Of rows, of conditions, of text and of values."""
    for query in (
        "limit=1001",
        "limit=0",
        "limit=9999999999999999999999",
        "offset=-1",
        "offset=99999999999",
        "q=" + "x" * 257,
        "number__in=" + ",".join(["1"] * 101),
        "cursor=" + "x" * 5000,
        "&".join(f"number={n}" for n in range(1100)),
        "title=%ff",
        "title=%00",
        "q=%00",
        "number=1e5",
        "ratio=nan",
        "title__contains=" + "x" * 300,
    ):
        answer = await client.get(f"/papers?{query}", headers=ONE)
        assert answer.status_code == 422, (query[:40], answer.status_code, answer.text[:200])
