"""The page for people: guarded, read-only, escaped, confined to the tenant, without hidden columns."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import JSON, DateTime, ForeignKey, LargeBinary, String, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.admin.add import EVERY_TENANT, AdminNotGuarded, add_sql_admin
from svc_infra.api.fastapi.admin.guards import basic_auth, loopback_only
from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]

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


async def page_of(
    client: httpx.AsyncClient, path: str, status: int = 200, headers: dict[str, str] | None = None
) -> str:
    answer = await client.get(f"/_admin{path}", headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


def test_without_a_guard_the_application_does_not_start() -> None:
    """The error says what to do."""
    with pytest.raises(AdminNotGuarded, match=r"guard=.*loopback_only.*basic_auth"):
        add_sql_admin(FastAPI())


async def test_the_guard_stands_before_every_page(client: httpx.AsyncClient) -> None:
    """Nobody gets past it, whatever the page, and it is asked before the page is looked for."""
    for path in ("", "/", "/resources/authors", "/resources/authors/record?key=1", "/resources/none", "/else/where"):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, f"/_admin{path}", headers={"X-Key": "guess"})
            assert answer.status_code == 401, path


async def test_a_guard_that_returns_false_refuses(sqlite_url: str, running: ClientOf) -> None:
    """A guard written as a question is no open door."""
    app = FastAPI()
    setup_sql(app, url=sqlite_url)
    add_sql_admin(app, guard=lambda: False)
    client = await running(app)
    assert (await client.get("/_admin")).status_code == 403


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


async def test_the_overview_tells_of_databases_and_resources(any_client: httpx.AsyncClient) -> None:
    """Health, pool, revision and the number of rows of each resource."""
    page = await page_of(any_client, "", headers={"X-Tenant-Id": "b"})
    assert "Healthy" in page
    assert re.search(r"Connections in use</dt><dd>0 of \d+", page)
    assert "no Alembic table" in page
    counts = dict(re.findall(r'resources/([\w.]+)">[^<]*</a></th><td>\w+</td><td class="end">([^<]*)<', page))
    assert counts == {"authors": "12", "v1.books": "1", "notes": "2"}


async def test_pending_migrations_are_told(empty_sql_url: str, running: ClientOf) -> None:
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


async def test_no_value_of_a_row_becomes_markup(client: httpx.AsyncClient) -> None:
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


async def test_hidden_columns_are_not_shown_and_tell_nothing(client: httpx.AsyncClient) -> None:
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


async def test_rows_are_searched_and_filtered(any_client: httpx.AsyncClient) -> None:
    """Search looks into the search fields; a condition can be taken back; nothing found is said in words."""
    assert len(re.findall(r"record\?key=", await page_of(any_client, "/resources/authors?q=javascript"))) == 2
    page = await page_of(any_client, "/resources/authors?id=3")
    assert re.findall(r"record\?key=(\d+)", page) == ["3"]
    assert "Remove the condition on id" in page
    assert "No rows match" in await page_of(any_client, "/resources/authors?q=nothing+like+it")


async def test_a_row_leads_to_what_it_refers_to_and_back(any_client: httpx.AsyncClient) -> None:
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


async def test_a_long_value_is_cut_and_can_be_seen_whole(client: httpx.AsyncClient) -> None:
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
async def test_what_is_not_there_is_404(any_client: httpx.AsyncClient, path: str) -> None:
    """As a page, with a way back."""
    assert 'href="/_admin"' in await page_of(any_client, path, 404)


async def test_a_damaged_cursor_is_422(client: httpx.AsyncClient) -> None:
    """A cursor of another order is refused with words."""
    assert "first page" in await page_of(client, "/resources/authors?cursor=abc", 422)


async def test_rows_of_another_tenant_are_not_there(client: httpx.AsyncClient) -> None:
    """A resource with a tenant shows the caller's rows only, and none to a caller without a tenant."""
    page = await page_of(client, "/resources/notes", headers={"X-Tenant-Id": "a"})
    assert "of a" in page
    assert "of b" not in page
    await page_of(client, "/resources/notes/record?key=1", 404, headers={"X-Tenant-Id": "a"})
    await page_of(client, "/resources/notes/record?key=1", headers={"X-Tenant-Id": "b"})
    assert "tenant" in await page_of(client, "/resources/notes", 403)


async def test_an_operator_may_be_given_every_tenant(
    sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """Only because the application says so."""
    app = application(sqlite_url, tenant=lambda: EVERY_TENANT)
    client = await running(app)
    await make_tables(app, Base)
    await fill(app)
    page = await page_of(client, "/resources/notes", headers=KEY)
    assert "of a" in page
    assert "of b" in page


async def test_a_tenant_resource_without_any_resolver_is_refused(
    sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """The page never falls back to all rows."""
    app = FastAPI()
    setup_sql(app, [NOTES], url=sqlite_url, tenant=tenant_header())
    add_sql_admin(app, guard=operator)
    client = await running(app)
    await make_tables(app, Base)
    await page_of(client, "/resources/notes", 403, headers=KEY)
    assert "needs a tenant" in await page_of(client, "", headers=KEY)


async def test_a_service_with_reads_of_its_own_is_not_gone_past(
    sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """Such a service may hide rows that the table has."""

    class Discreet(SqlService[Author]):
        async def list(self, *arguments: Any, **options: Any) -> Any:
            return []

    app = FastAPI()
    setup_sql(app, [SqlResource(model=Author, prefix="/authors", service_factory=Discreet)], url=sqlite_url)
    add_sql_admin(app, guard=operator)
    client = await running(app)
    await make_tables(app, Base)
    await page_of(client, "/resources/authors", 403, headers=KEY)
    assert "has reads of its own" in await page_of(client, "", headers=KEY)


async def test_the_browser_may_load_and_run_nothing(client: httpx.AsyncClient) -> None:
    """The policy allows one style sheet by its hash, and no page is cached, framed or sniffed."""
    headers = (await client.get("/_admin")).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert (headers["cache-control"], headers["x-frame-options"]) == ("no-store", "DENY")
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


async def test_a_missing_table_spoils_one_line_only(empty_sql_url: str, running: ClientOf) -> None:
    """The overview is there although a table is not; the resource's own page says 5xx without SQL."""
    client = await running(application(empty_sql_url))
    page = await page_of(client, "", headers=KEY)
    assert page.count("can&#x27;t be read") == 2
    answer = await client.get("/_admin/resources/authors", headers=KEY)
    assert answer.status_code == 500
    assert "SELECT" not in answer.text


async def test_a_slow_statement_is_ended(postgres_url: str, running: ClientOf, make_tables: MakeTables) -> None:
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


async def test_chosen_resources_replace_those_with_routes(
    sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A resource can be shown that has no routes, with the rules that it is given here."""
    app = application(sqlite_url, resources=[ApiResource(model=Author, prefix="/people", hidden_fields=["name"])])
    client = await running(app)
    await make_tables(app, Base)
    await fill(app)
    assert "javascript" not in await page_of(client, "/resources/people", headers=KEY)
    await page_of(client, "/resources/authors", 404, headers=KEY)


async def test_links_work_behind_a_path_prefix(sqlite_url: str, running: ClientOf, make_tables: MakeTables) -> None:
    """A proxy that strips a prefix says so by root_path."""
    app = application(sqlite_url)
    app.root_path = "/api"
    client = await running(app)
    await make_tables(app, Base)
    assert 'href="/api/_admin/resources/authors"' in await page_of(client, "", headers=KEY)


LOOPBACK = {
    "localhost": ("127.0.0.1", {"host": "localhost:8000"}, 200),
    "IPv6": ("::1", {"host": "[::1]:8000"}, 200),
    "another machine": ("10.0.0.5", {"host": "localhost"}, 403),
    "a proxy": ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "10.0.0.5"}, 403),
    "a rebound name": ("127.0.0.1", {"host": "evil.example"}, 403),
}


@pytest.mark.parametrize(("host", "headers", "status"), LOOPBACK.values(), ids=LOOPBACK)
async def test_the_loopback_guard_lets_nobody_else_in(host: str, headers: dict[str, str], status: int) -> None:
    """Not by way of a proxy, nor by a name of the web that points here."""
    app = FastAPI(dependencies=[Depends(loopback_only)])

    @app.get("/")
    async def root() -> str:
        return "in"

    transport = httpx.ASGITransport(app, client=(host, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/", headers=headers)).status_code == status


async def test_the_password_guard_asks_and_compares() -> None:
    """The challenge makes a browser ask; a wrong, damaged or missing answer is 401; a weak password is refused."""
    with pytest.raises(ValueError, match="12 characters"):
        basic_auth("short")
    app = FastAPI(dependencies=[Depends(basic_auth("correct horse pass"))])

    @app.get("/")
    async def root() -> str:
        return "in"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/", auth=("admin", "correct horse pass"))).status_code == 200
        for value in ("", "Basic", "Basic %%%", "Bearer x", "Basic YTpi"):
            answer = await client.get("/", headers={"Authorization": value})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
