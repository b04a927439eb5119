"""The page for people: guarded, read-only, escaped, confined to the tenant, without hidden columns."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from sqlalchemy import JSON, DateTime, ForeignKey, LargeBinary, String, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.admin.add import add_sql_admin
from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.resource import SqlResource

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]
PageOf = Callable[..., Awaitable[str]]

KEY = {"X-Key": "operator"}
HOSTILE = [
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</style></title><svg/onload=alert(1)>",
    "a\u202eb\u0001\u200f",
    "&lt;already&gt; ' \" ` {{7*7}} ${7*7}",
    "",
]


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(50))
    rating: Mapped[float | None]


class Book(Base):
    __tablename__ = "books"
    shelf: Mapped[str] = mapped_column(String(100), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    about: Mapped[str | None]
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    cover: Mapped[bytes | None] = mapped_column(LargeBinary)
    printed: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(100))


AUTHORS = SqlResource(
    model=Author, prefix="/authors", search_fields=["name"], allowed_order_fields=["id", "name"], ordering_default="id"
)
BOOKS = SqlResource(model=Book, prefix="/v1/books")
NOTES = SqlResource(model=Note, prefix="/notes", tenant_field="tenant_id")


async def operator(x_key: str = Header(default="")) -> str:
    if x_key != "operator":
        raise HTTPException(401, "Sign in")
    return x_key


def application(url: str, **options: Any) -> FastAPI:
    app = FastAPI(title="Library")
    add_sql_admin(app, **{"guard": operator, "page_size": 5, **options})
    setup_sql(app, [AUTHORS, BOOKS, NOTES], url=url, tenant=tenant_header())
    set_tenant_resolver(app, tenant_header())
    return app


async def fill(app: FastAPI) -> None:
    async with get_database(app).session() as session:
        authors = [
            {"id": number, "name": HOSTILE[number % len(HOSTILE)], "password_hash": f"hash-{number}", "rating": None}
            for number in range(1, 13)
        ]
        await session.execute(insert(Author), authors)
        books = [
            {
                "shelf": "a/b &=?#",
                "place": 1,
                "author_id": 1,
                "about": "long " * 2000,
                "data": {"<b>": ["</pre>", None, 1]},
                "cover": bytes(range(256)) * 8,
                "printed": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            }
        ]
        await session.execute(insert(Book), books)
        notes = [{"id": number, "tenant_id": tenant, "text": f"of {tenant}"} for number, tenant in enumerate("abb")]
        await session.execute(insert(Note), notes)


async def started(url: str, running: ClientOf, make_tables: MakeTables) -> httpx.AsyncClient:
    app = application(url)
    found = await running(app)
    await make_tables(app, Base)
    await fill(app)
    found.headers.update(KEY)
    return found


@pytest.fixture
async def client(sqlite_url: str, running: ClientOf, make_tables: MakeTables) -> httpx.AsyncClient:
    return await started(sqlite_url, running, make_tables)


@pytest.fixture
async def any_client(sql_url: str, running: ClientOf, make_tables: MakeTables) -> httpx.AsyncClient:
    """For what the database has a part in."""
    return await started(sql_url, running, make_tables)


async def test_the_guard_stands_before_every_page(client: httpx.AsyncClient) -> None:
    """Nobody gets past it, whatever the page, and it is asked before the page is looked for."""
    for path in ("", "/", "/resources/authors", "/resources/authors/record?key=1", "/resources/none", "/else/where"):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, f"/_admin{path}", headers={"X-Key": "guess"})
            assert answer.status_code == 401, path


async def test_the_page_only_reads_and_is_not_in_the_document(client: httpx.AsyncClient) -> None:
    """No method but GET and HEAD, no entry in OpenAPI."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await client.request(method, "/_admin/resources/authors")).status_code == 405
    assert "_admin" not in (await client.get("/openapi.json")).text


async def test_head_answers_the_headers_of_get(client: httpx.AsyncClient) -> None:
    """Same status and length, no body."""
    got = await client.get("/_admin/resources/authors")
    head = await client.head("/_admin/resources/authors")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_the_overview_tells_of_databases_and_resources(page_of: PageOf, any_client: httpx.AsyncClient) -> None:
    """Health, pool, revision and the number of rows of each resource."""
    page = await page_of(any_client, "", headers={"X-Tenant-Id": "b"})
    assert "Healthy" in page
    assert re.search(r"Connections in use</dt><dd>0 of \d+", page)
    assert "no Alembic table" in page
    counts = dict(re.findall(r'resources/([\w.]+)">[^<]*</a></th><td>\w+</td><td class="end">([^<]*)<', page))
    assert counts == {"authors": "12", "v1.books": "1", "notes": "2"}


async def test_pending_migrations_are_told(page_of: PageOf, empty_sql_url: str, running: ClientOf) -> None:
    """The database's revision is read from Alembic's table, the code's is asked of the application."""
    heads = ["aaa"]
    app = FastAPI()
    setup_sql(app, url=empty_sql_url)
    add_sql_admin(app, guard=operator, expected_revisions=lambda: heads)
    client = await running(app)
    async with get_database(app).session() as session:
        await session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        await session.execute(text("INSERT INTO alembic_version VALUES ('aaa')"))
    assert "up to date" in await page_of(client, "", headers=KEY)
    heads[0] = "bbb"
    page = await page_of(client, "", headers=KEY)
    assert "pending" in page
    assert "bbb" in page


async def test_no_value_of_a_row_becomes_markup(page_of: PageOf, client: httpx.AsyncClient) -> None:
    """Hostile text is shown as text, on the list, on the row's page, in links, in the search box and in errors."""
    paths = ["/resources/authors", "/resources/authors?q=%3Cscript%3Ealert(1)%3C/script%3E"]
    paths += [f"/resources/authors/record?key={number}" for number in range(1, 8)]
    paths += ["/resources/v1.books", "/resources/authors?name=%22%3E%3Cscript%3E"]
    for path in paths:
        page = await page_of(client, path)
        assert not re.search(r"<(script|img|svg|b)\b", page), path
        assert not re.search(r"\son\w+=", re.sub(r"&\w+;[^<]*", "", page)), path
        assert "\u202e" not in page
    for path in ("/resources/authors?order_by=<script>", "/resources/authors?<script>=1"):
        assert "<script>" not in await page_of(client, path, 422)
    assert "<script>" not in await page_of(client, "/resources/<script>", 404)


async def test_hidden_columns_are_not_shown_and_tell_nothing(page_of: PageOf, client: httpx.AsyncClient) -> None:
    """Neither listed nor on the row's page, nor may the list be ordered or filtered by them."""
    for path in ("/resources/authors", "/resources/authors/record?key=1"):
        page = await page_of(client, path)
        assert "hash" not in page
    for query in ("order_by=password_hash", "password_hash=hash-1", "password_hash__gte=a"):
        await page_of(client, f"/resources/authors?{query}", 422)
    await page_of(client, "/resources/authors/value?key=1&field=password_hash", 404)


async def test_every_row_is_on_exactly_one_page(any_client: httpx.AsyncClient) -> None:
    """Pages by key lead forwards and back."""
    seen: list[str] = []
    path: str | None = "/_admin/resources/authors?order_by=-name"
    back = None
    while path is not None:
        page = (await any_client.get(path)).text
        seen += re.findall(r"record\?key=(\d+)", page)
        links = dict(re.findall(r'href="([^"]*)" rel="(\w+)"', page))
        ways = {rel: href.replace("&amp;", "&") for href, rel in links.items()}
        path, back = ways.get("next"), ways.get("prev", back)
    assert sorted(seen, key=int) == [str(number) for number in range(1, 13)]
    assert back is not None
    assert (await any_client.get(back)).status_code == 200


async def test_rows_are_searched_and_filtered(page_of: PageOf, any_client: httpx.AsyncClient) -> None:
    """Search looks into the search fields; a condition can be taken back; nothing found is said in words."""
    assert len(re.findall(r"record\?key=", await page_of(any_client, "/resources/authors?q=javascript"))) == 2
    page = await page_of(any_client, "/resources/authors?id=3")
    assert re.findall(r"record\?key=(\d+)", page) == ["3"]
    assert "Remove the condition on id" in page
    assert "No rows match" in await page_of(any_client, "/resources/authors?q=nothing+like+it")


async def test_a_row_leads_to_what_it_refers_to_and_back(page_of: PageOf, any_client: httpx.AsyncClient) -> None:
    """Foreign keys are links; rows that refer to a row are one list away; composite keys of any text work."""
    page = await page_of(any_client, "/resources/v1.books")
    path = re.search(r'href="/_admin(/resources/v1.books/record\?[^"]*)"', page)
    assert path is not None
    page = await page_of(any_client, path.group(1).replace("&amp;", "&"))
    assert 'href="/_admin/resources/authors/record?key=1"' in page
    assert "2026-01-02 03:04:05" in page
    assert "2,048 bytes: 00 01 02" in page
    back = re.search(
        r'href="/_admin(/resources/v1.books\?author_id=1)"',
        await page_of(any_client, "/resources/authors/record?key=1"),
    )
    assert back is not None
    assert "a/b &amp;=?#" in await page_of(any_client, back.group(1))


async def test_a_long_value_is_cut_and_can_be_seen_whole(page_of: PageOf, client: httpx.AsyncClient) -> None:
    """The list shows its beginning, the row more, a page of its own everything."""
    assert "long " * 40 not in await page_of(client, "/resources/v1.books")
    key = "key=a%2Fb+%26%3D%3F%23&key=1"
    page = await page_of(client, f"/resources/v1.books/record?{key}")
    assert "Show all 10,000 characters of about" in page
    assert "long " * 1999 not in page
    assert "long " * 1999 in await page_of(client, f"/resources/v1.books/value?{key}&field=about")


@pytest.mark.parametrize(
    "path",
    [
        "/resources/none",
        "/resources/authors/record?key=99999",
        "/resources/authors/record?key=x",
        "/resources/authors/record?key=99999999999999999999999",
        "/resources/authors/record",
        "/resources/v1.books/record?key=a",
        "/elsewhere",
    ],
)
async def test_what_is_not_there_is_404(page_of: PageOf, any_client: httpx.AsyncClient, path: str) -> None:
    """As a page, with a way back."""
    assert 'href="/_admin"' in await page_of(any_client, path, 404)


async def test_a_damaged_cursor_is_422(page_of: PageOf, client: httpx.AsyncClient) -> None:
    """A cursor of another order is refused with words."""
    assert "first page" in await page_of(client, "/resources/authors?cursor=abc", 422)


async def test_the_browser_may_load_and_run_nothing(client: httpx.AsyncClient) -> None:
    """The policy allows one style sheet by its hash, and no page is cached, framed or sniffed."""
    headers = (await client.get("/_admin")).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert (headers["cache-control"], headers["x-frame-options"]) == ("no-store", "DENY")
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


async def test_a_missing_table_spoils_one_line_only(page_of: PageOf, empty_sql_url: str, running: ClientOf) -> None:
    """The overview is there although a table is not; the resource's own page says 5xx without SQL."""
    client = await running(application(empty_sql_url))
    page = await page_of(client, "", headers=KEY)
    assert page.count("can&#x27;t be read") == 2
    answer = await client.get("/_admin/resources/authors", headers=KEY)
    assert answer.status_code == 500
    assert "SELECT" not in answer.text


async def test_a_slow_statement_is_ended(
    page_of: PageOf, postgres_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A search that takes too long is 503, and the page stays usable."""
    app = FastAPI()
    add_sql_admin(app, guard=operator, statement_timeout_ms=50)
    setup_sql(app, [AUTHORS], url=postgres_url)
    client = await running(app)
    await make_tables(app, Base)
    async with get_database(app).session() as session:
        await session.execute(text("ALTER TABLE authors RENAME TO slow"))
        await session.execute(
            text(
                "CREATE VIEW authors AS SELECT 1 AS id, 'a' AS name, 'b' AS password_hash, 1 AS rating FROM pg_sleep(2)"
            )
        )
    answer = await client.get("/_admin/resources/authors", headers=KEY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not counted" in await page_of(client, "", headers=KEY)


async def test_links_work_behind_a_path_prefix(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A proxy that strips a prefix says so by root_path."""
    app = application(sqlite_url)
    app.root_path = "/api"
    client = await running(app)
    await make_tables(app, Base)
    assert 'href="/api/_admin/resources/authors"' in await page_of(client, "", headers=KEY)
