"""Import and export: NDJSON and CSV, streamed, all or nothing, with the line at fault."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, DateTime, LargeBinary, Numeric, String, event, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import Action, ApiResource
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]

ACTIONS: set[Action] = {"list", "create", "get", "export", "import", "bulk_upsert"}
NDJSON = {"Content-Type": "application/x-ndjson"}
CSV = {"Content-Type": "text/csv; charset=utf-8"}
everywhere = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql", "duckdb"], indirect=True)
undoing = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql"], indirect=True)
"""On every database that can undo a part of a transaction; DuckDB has no savepoints."""


class Base(DeclarativeBase):
    pass


class Kind(Enum):
    SMALL = "small"
    LARGE = "large"


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    note: Mapped[str | None] = mapped_column(String(100))
    count: Mapped[int] = mapped_column(default=1)
    ratio: Mapped[float | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    is_on: Mapped[bool] = mapped_column(default=True)
    day: Mapped[date | None]
    at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    kind: Mapped[Kind | None]
    blob: Mapped[bytes | None] = mapped_column(LargeBinary)
    data: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    secret: Mapped[str | None] = mapped_column(String(20))


class Owned(Base):
    __tablename__ = "owned"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(20))


class ThingIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    word: str = "none"


class Wordy(SqlService[Thing]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        word = data.pop("word", "none")
        return {**data, "note": f"word {word}"}


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    resources: list[ApiResource[Any]] = [
        ApiResource(
            model=Thing,
            prefix="/things",
            actions=ACTIONS,
            upsert_on=["name"],
            max_body_bytes=5000,
            max_import_bytes=300_000,
            import_timeout_seconds=3,
        ),
        ApiResource(
            model=Thing,
            prefix="/wordy",
            actions={"import"},
            create_schema=ThingIn,
            service_factory=Wordy,
            read_name="WordyRead",
        ),
        ApiResource(model=Thing, prefix="/one-import", actions={"import"}, max_imports=1, read_name="OneRead"),
        ApiResource(model=Owned, prefix="/owned", actions=ACTIONS - {"bulk_upsert"}, tenant_field="shop"),
    ]
    setup_sql(app, resources, url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


THINGS: list[dict[str, Any]] = [
    {"name": "plain"},
    {"name": "empty text", "note": ""},
    {"name": 'quotes "and", commas\r\nand lines\n', "note": " spaces "},
    {"name": "=1+1", "note": "@cmd", "count": -5},
    {"name": "'=kept", "note": "'tis"},
    {"name": "unicode \u2028 \u00e9 \U0001f600", "note": "null"},
    {
        "name": "all",
        "count": 2**31 - 1,
        "ratio": 0.1,
        "price": "12.50",
        "is_on": False,
        "day": "2026-01-31",
        "at": "2026-01-31T10:00:00.123456Z",
        "kind": "large",
        "blob": "AP8=",
        "data": {"a": [1, "x", None], "b": "3"},
    },
    {"name": "json text", "data": "3"},
    {"name": "json list", "data": [True, {"deep": {}}]},
]


async def rows_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/things?order_by=id&limit=100")).json()["items"]
    return [{name: value for name, value in row.items() if name != "id"} for row in found]


@everywhere
@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/csv"])
async def test_what_is_exported_can_be_imported(client: httpx.AsyncClient, app: FastAPI, accept: str) -> None:
    """Every type, null and the empty text, quotes, line breaks and what looks like a formula."""
    for thing in THINGS:
        made = await client.post("/things", json=thing)
        assert made.status_code == 201, made.text
    before = await rows_of(client)
    export = await client.get("/things/export?order_by=id", headers={"Accept": accept})
    async with get_database(app).session() as session:
        await session.execute(Thing.__table__.delete())  # type: ignore[attr-defined]
    imported = await client.post("/things/import", content=export.content, headers={"Content-Type": accept})
    assert (imported.status_code, imported.json()) == (200, {"written": len(THINGS)}), imported.text
    assert await rows_of(client) == before
    again = await client.post("/things/import?mode=upsert", content=export.content, headers={"Content-Type": accept})
    assert again.json() == {"written": len(THINGS)}
    assert await rows_of(client) == before


async def test_the_headers_of_an_export_cost_no_query(client: httpx.AsyncClient, app: FastAPI) -> None:
    """HEAD answers what GET does without reading a row, and without a length that nobody knows."""
    engine, sent = get_database(app).engine.sync_engine, list[str]()

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    for accept in ("application/x-ndjson", "text/csv"):
        head = await client.head("/things/export", headers={"Accept": accept})
        assert (head.status_code, head.content, "content-length" in head.headers) == (200, b"", False)
        assert sent == []
        whole = await client.get("/things/export", headers={"Accept": accept})
        assert dict(head.headers) == dict(whole.headers)
        sent.clear()
    event.remove(engine, "before_cursor_execute", record)
    assert (await client.head("/things/export?nope=1")).status_code == 422


async def test_an_export_runs_no_formula(client: httpx.AsyncClient) -> None:
    """A spreadsheet sees text; numbers stay numbers."""
    await client.post("/things", json={"name": "=HYPERLINK(1)", "note": "\t+1", "count": -5})
    text = (await client.get("/things/export", headers={"Accept": "text/csv"})).text
    [row] = csv.DictReader(io.StringIO(text))
    assert (row["name"], row["note"], row["count"]) == ("'=HYPERLINK(1)", "'\t+1", "-5")
    assert "secret" not in row


FAULTS: dict[str, tuple[dict[str, str], str, list[object], int]] = {
    "not JSON": (NDJSON, '{"name":"a"}\n{"name":\n', ["body", 2], 422),
    "no object": (NDJSON, '{"name":"a"}\n\n[]\n', ["body", 3], 422),
    "a wrong type": (NDJSON, '{"name":"a"}\n{"name":"b","count":"x"}', ["body", 2, "count"], 422),
    "an unknown field": (NDJSON, '{"name":"a"}\n{"name":"b","nam":1}\n', ["body", 2, "nam"], 422),
    "a duplicate": (NDJSON, '{"name":"a"}\n{"name":"b"}\n\n{"name":"a"}\n', ["body", 4, "name"], 409),
    "a wrong cell": (CSV, "name,count\na,1\nb,many\n", ["body", 3, "count"], 422),
    "a missing cell": (CSV, 'name,note\n"a\nb",x\nc\n', ["body", 4], 422),
    "a missing value": (CSV, "name,note\n,x\n", ["body", 2, "name"], 422),
    "an unknown column": (CSV, "name,nope\na,x\n", ["body", 1, "nope"], 422),
    "a column twice": (CSV, "name,name\na,b\n", ["body", 1], 422),
    "an unnamed column": (CSV, "name,\na,b\n", ["body", 1], 422),
    "an open quote": (CSV, 'name\na\n"b\nc\n', ["body", 3], 422),
    "a stray quote": (CSV, 'name,note\na,b"c"\n', ["body", 2], 422),
    "not UTF-8": (CSV, "name\na\n\udcff\n", ["body", 3], 422),
    "NUL": (CSV, "name\na\n\x00\n", ["body", 3, "name"], 422),
}


@undoing
async def test_a_bad_line_is_named_and_nothing_is_written(client: httpx.AsyncClient) -> None:
    """By the number of its line, from 1, and its field."""
    for fault, (headers, content, loc, status) in FAULTS.items():
        answer = await client.post("/things/import", content=content.encode(errors="surrogateescape"), headers=headers)
        assert answer.status_code == status, (fault, answer.text)
        found = answer.json()["errors"][0]["loc"]
        # Not every database tells the columns of a duplicate.
        assert found[: len(loc)] == loc or (status == 409 and found == loc[:2]), fault
        assert answer.json()["detail"].startswith(f"line {loc[1]}: "), fault
    assert await rows_of(client) == []


@undoing
async def test_a_bad_line_behind_many_good_ones_undoes_them(client: httpx.AsyncClient) -> None:
    """Also those of earlier batches."""
    lines = [json.dumps({"name": f"n{number}"}) for number in range(4000)]
    text = "\n".join([*lines, '{"name":"n7"}'])
    answer = await client.post("/things/import", content=text, headers=NDJSON)
    assert (answer.status_code, answer.json()["errors"][0]["loc"][:2]) == (409, ["body", 4001])
    assert (await client.get("/things")).json()["total"] == 0
    good = await client.post("/things/import", content="\n".join(lines), headers=NDJSON)
    assert good.json() == {"written": 4000}


async def test_another_media_type_is_415(client: httpx.AsyncClient) -> None:
    """And another character set."""
    for kind in ("application/json", "text/plain", "", "text/csv; charset=utf-16"):
        assert (await client.post("/things/import", content=b"x", headers={"Content-Type": kind})).status_code == 415


async def test_an_import_has_limits(client: httpx.AsyncClient) -> None:
    """Of the body, with and without Content-Length, of a line and of the time."""
    line = json.dumps({"name": "a", "note": "x" * 80}).encode() + b"\n"

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4000):
            yield line

    assert (await client.post("/things/import", content=line * 4000, headers=NDJSON)).status_code == 413
    assert (await client.post("/things/import", content=parts(), headers=NDJSON)).status_code in {413, 409}
    long = b'{"name":"' + b"x" * 70_000
    assert (await client.post("/things/import", content=long, headers=NDJSON)).status_code == 413
    quoted = await client.post("/things/import", content=b'name\n"' + b"\n" * 9000, headers=CSV)
    assert (quoted.status_code, quoted.json()["errors"][0]["loc"]) == (422, ["body", 2])

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"name":"slow"}\n' * 1
        await asyncio.sleep(60)
        yield b""

    assert (await client.post("/things/import", content=slow(), headers=NDJSON)).status_code == 408
    assert (await client.get("/things")).json()["total"] == 0


async def test_slow_imports_leave_connections_to_others(client: httpx.AsyncClient) -> None:
    """As many as `max_imports` run at a time; one more is 503 at once and may come again."""
    more, waits = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"".join(b'{"name":"slow%d"}\n' % number for number in range(2000))
        yield b'{"name":"last"}'
        waits.set()
        await more.wait()
        yield b"\n"

    first = asyncio.create_task(client.post("/one-import/import", content=slow(), headers=NDJSON))
    async with asyncio.timeout(10):
        await waits.wait()
    second = await client.post("/one-import/import", content=b'{"name":"before"}', headers=NDJSON)
    assert (second.status_code, second.json()["type"]) == (503, "urn:svc-infra:problem:too-many-imports")
    assert second.headers["retry-after"] == "10"
    more.set()
    assert (await first).json() == {"written": 2001}
    assert (await client.post("/one-import/import", content=b"", headers=NDJSON)).json() == {"written": 0}


async def test_an_empty_import_writes_nothing(client: httpx.AsyncClient) -> None:
    """Nothing, blank lines, a first line alone, a byte order mark."""
    for headers, content in ((NDJSON, b""), (NDJSON, b"\n\n"), (CSV, b""), (CSV, b"name,note\r\n"), (CSV, b"\r\n")):
        answer = await client.post("/things/import", content=content, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"written": 0})
    marked = await client.post("/things/import", content=b"\xef\xbb\xbfname,is_on\r\na,FALSE\r\n", headers=CSV)
    assert marked.json() == {"written": 1}, marked.text
    assert (await rows_of(client))[0]["is_on"] is False


@everywhere
async def test_hooks_and_given_schemas_take_part(client: httpx.AsyncClient) -> None:
    """A schema that forbids what it does not know still takes an export; hooks see each record."""
    export = '{"id":5,"name":"a","secret":"s","count":3}\n{"name":"b","word":"w"}\n'
    answer = await client.post("/wordy/import", content=export, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    assert [(row["name"], row["note"], row["count"]) for row in await rows_of(client)] == [
        ("a", "word none", 1),
        ("b", "word w", 1),
    ]
    assert (await client.post("/wordy/import?mode=upsert", content="", headers=NDJSON)).status_code == 422


@everywhere
async def test_an_import_belongs_to_the_tenant_of_the_request(client: httpx.AsyncClient) -> None:
    """Whatever the file says."""
    text = 'shop,text,id\n"two",a,7\n'
    answer = await client.post("/owned/import", content=text, headers={**CSV, "X-Tenant-Id": "one"})
    assert answer.json() == {"written": 1}, answer.text
    assert (await client.get("/owned", headers={"X-Tenant-Id": "one"})).json()["total"] == 1
    assert (await client.get("/owned/export", headers={"X-Tenant-Id": "two"})).text == ""


def test_the_document_shows_the_media_types(app: FastAPI) -> None:
    """Of the import's body and the export's answer."""
    paths = app.openapi()["paths"]
    assert set(paths["/things/import"]["post"]["requestBody"]["content"]) == {"application/x-ndjson", "text/csv"}
    assert {"408", "413", "415", "422"} <= set(paths["/things/import"]["post"]["responses"])
    assert {"application/x-ndjson", "text/csv"} <= set(paths["/things/export"]["get"]["responses"]["200"]["content"])


def resident_bytes() -> int:
    """The memory that the process has now (Linux's proc_pid_statm(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc to see the memory in use")
@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/csv"])
async def test_a_million_records_need_no_more_memory(
    postgres_url: str, served: ClientOf, make_tables: MakeTables, kind: str
) -> None:
    """Exported and imported at the same time, as a stream, in one process, which grows by 64 MB at most."""
    app = FastAPI()
    setup_sql(app, [ApiResource(model=Owned, prefix="/owned", actions={"export", "import"})], url=postgres_url)
    client = await served(app)
    await make_tables(app, Base)
    count = 1_000_000
    async with get_database(app).session() as session:
        rows = "SELECT 'shop ' || n % 7, 'text ' || n FROM generate_series(1, :count) AS n"
        await session.execute(text(f"INSERT INTO owned (shop, text) {rows}"), {"count": count})
    start = peak = resident_bytes()

    async def sent() -> AsyncIterator[bytes]:
        nonlocal peak
        async for part in export.aiter_bytes():
            peak = max(peak, resident_bytes())
            yield part

    async with client.stream("GET", "/owned/export", headers={"Accept": kind}, timeout=600) as export:
        answer = await client.post("/owned/import", content=sent(), headers={"Content-Type": kind}, timeout=600)
    assert answer.json() == {"written": count}, answer.text
    assert peak - start < 64_000_000
    async with get_database(app).session() as session:
        assert await session.scalar(select(func.count()).select_from(Owned)) == 2 * count
        distinct = select(func.count(Owned.text.distinct())).select_from(Owned)
        assert await session.scalar(distinct) == count
