"""Whose rows the admin page shows: those that the resource's own routes would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import ForeignKey, String, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.admin.add import EVERY_TENANT, add_sql_admin
from svc_infra.api.fastapi.db.sql.add import get_database, setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource, RouteOptions
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]
PageOf = Callable[..., Awaitable[str]]

KEY = {"X-Key": "operator"}


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    rating: Mapped[float | None]


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(100))


AUTHORS = SqlResource(model=Author, prefix="/authors")
BOOKS = SqlResource(model=Book, prefix="/v1/books")
NOTES = SqlResource(model=Note, prefix="/notes", tenant_field="tenant_id")


async def operator(x_key: str = Header(default="")) -> str:
    if x_key != "operator":
        raise HTTPException(401, "Sign in")
    return x_key


def application(url: str, **options: Any) -> FastAPI:
    app = FastAPI()
    add_sql_admin(app, **{"guard": operator, **options})
    setup_sql(app, [AUTHORS, BOOKS, NOTES], url=url, tenant=tenant_header())
    set_tenant_resolver(app, tenant_header())
    return app


async def fill(app: FastAPI) -> None:
    async with get_database(app).session() as session:
        await session.execute(insert(Author), [{"id": n, "name": f"n{n}"} for n in range(1, 13)])
        notes = [{"id": number, "tenant_id": tenant, "text": f"of {tenant}"} for number, tenant in enumerate("abb")]
        await session.execute(insert(Note), notes)


@pytest.fixture
async def client(sqlite_url: str, running: ClientOf, make_tables: MakeTables) -> httpx.AsyncClient:
    app = application(sqlite_url)
    found = await running(app)
    await make_tables(app, Base)
    await fill(app)
    found.headers.update(KEY)
    return found


async def test_rows_of_another_tenant_are_not_there(page_of: PageOf, client: httpx.AsyncClient) -> None:
    """A resource with a tenant shows the caller's rows only, and none to a caller without a tenant."""
    page = await page_of(client, "/resources/notes", headers={"X-Tenant-Id": "a"})
    assert "of a" in page
    assert "of b" not in page
    await page_of(client, "/resources/notes/record?key=1", 404, headers={"X-Tenant-Id": "a"})
    await page_of(client, "/resources/notes/record?key=1", headers={"X-Tenant-Id": "b"})
    assert "tenant" in await page_of(client, "/resources/notes", 403)


async def test_an_operator_may_be_given_every_tenant(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """Only because the application says so."""
    app = application(sqlite_url, tenant=lambda: EVERY_TENANT)
    client = await running(app)
    await make_tables(app, Base)
    await fill(app)
    page = await page_of(client, "/resources/notes", headers=KEY)
    assert "of a" in page
    assert "of b" in page


async def test_a_resource_is_seen_as_by_its_own_routes(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """As the tenant that its own resolver finds, and not without the one; no other resolver is needed."""
    app = FastAPI()
    setup_sql(app, [NOTES], url=sqlite_url, tenant=tenant_header())
    add_sql_admin(app, guard=operator)
    client = await running(app)
    await make_tables(app, Base)
    await fill(app)
    for tenant, other in ("ab", "ba"):
        headers = {**KEY, "X-Tenant-Id": tenant}
        page = await page_of(client, "/resources/notes", headers=headers)
        assert f"of {tenant}" in page
        assert f"of {other}" not in page
        shown = {key: (await client.get(f"/notes/{key}", headers=headers)).status_code for key in range(3)}
        for key, status in shown.items():
            await page_of(client, f"/resources/notes/record?key={key}", status, headers=headers)
            await page_of(client, f"/resources/notes/value?key={key}&field=text", status, headers=headers)
    await page_of(client, "/resources/notes", 403, headers=KEY)
    assert "needs a tenant" in await page_of(client, "", headers=KEY)


async def user(x_user: str = Header(default="")) -> str:
    if not x_user:
        raise HTTPException(401, "Sign in first")
    return x_user


async def ann(who: Annotated[str, Depends(user)], id: int = 0) -> None:  # noqa: A002
    if who != "ann" or id == 7:
        raise HTTPException(403, "Not yours")


@pytest.mark.parametrize("chosen", [False, True])
async def test_what_the_guards_of_a_resource_refuse_is_not_shown(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables, chosen: bool
) -> None:
    """Those of the resource, of its call of setup_sql and of the route that reads a record, with the record's id."""
    guarded: ApiResource[Any] = ApiResource(
        model=Author, prefix="/authors", dependencies=[user], routes={"get": RouteOptions(dependencies=[ann])}
    )
    app = FastAPI()

    async def open_house(x_house: str = Header(default="open")) -> None:
        if x_house != "open":
            raise HTTPException(403, "Closed")

    setup_sql(app, [guarded, BOOKS], url=sqlite_url, dependencies=[open_house])
    add_sql_admin(app, guard=operator, resources=[guarded, BOOKS] if chosen else None)
    client = await running(app)
    await make_tables(app, Base)
    await fill(app)
    as_bob, as_ann = {**KEY, "X-User": "bob"}, {**KEY, "X-User": "ann"}
    await page_of(client, "/resources/authors", 401, headers=KEY)
    assert "not allowed" in await page_of(client, "", headers=KEY)
    await page_of(client, "/resources/authors", headers=as_bob)
    for headers in (KEY, as_bob, as_ann):
        for key in (1, 7):
            status = (await client.get(f"/authors/{key}", headers=headers)).status_code
            page = await page_of(client, f"/resources/authors/record?key={key}", status, headers=headers)
            assert ("rating" in page) is (status == 200)
    closed = {**as_ann, "X-House": "closed"}
    for path in ("/resources/authors", "/resources/authors/record?key=1", "/resources/v1.books"):
        await page_of(client, path, 403, headers=closed)


async def test_the_page_alone_may_decide(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """By resource_guards=False, for operators whom the guards of the routes don't know."""
    app = FastAPI()
    guarded: ApiResource[Any] = ApiResource(model=Author, prefix="/authors", dependencies=[user])
    setup_sql(app, [guarded], url=sqlite_url)
    add_sql_admin(app, guard=operator, resource_guards=False)
    client = await running(app)
    await make_tables(app, Base)
    await page_of(client, "/resources/authors", headers=KEY)


async def test_a_service_with_reads_of_its_own_is_not_gone_past(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables
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


async def test_chosen_resources_replace_those_with_routes(
    page_of: PageOf, sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """A resource can be shown that has no routes, with the rules that it is given here."""
    app = application(sqlite_url, resources=[ApiResource(model=Author, prefix="/people", hidden_fields=["name"])])
    client = await running(app)
    await make_tables(app, Base)
    await fill(app)
    assert "javascript" not in await page_of(client, "/resources/people", headers=KEY)
    await page_of(client, "/resources/authors", 404, headers=KEY)
