"""Generated routes of a resource with a tenant: who the tenant is, the application says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header
from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.tenancy.context import (
    OptionalTenantId,
    TenantId,
    TenantNotConfigured,
    set_tenant_resolver,
    tenant_header,
)
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]
MakeTables = Callable[[FastAPI, type[DeclarativeBase]], Awaitable[None]]

ONE, TWO = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    email: Mapped[str] = mapped_column(String(50))
    password_hash: Mapped[str | None] = mapped_column(String(100))


class Label(Base):
    __tablename__ = "labels"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(50))
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[int]


async def current_user(authorization: Annotated[str, Header()]) -> str:
    return authorization.removeprefix("Bearer ")


async def current_tenant(user: Annotated[str, Depends(current_user)]) -> str:
    return user.split("@")[1]


class UserService(SqlService[User]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        data["password_hash"] = f"hashed {data.pop('password')}"
        return data


def service(repo: SqlRepository[User]) -> UserService:
    return UserService(repo)


@pytest.fixture(scope="module", params=["with hooks", "without hooks"])
def app(request: pytest.FixtureRequest, sql_url: str) -> FastAPI:
    app = FastAPI()
    factory = service if request.param == "with hooks" else None
    resource = SqlResource(model=User, prefix="/users", tenant_field="tenant_id", service_factory=factory)
    labels = ApiResource(model=Label, prefix="/labels", tenant_field="tenant_id", actions={"create", "bulk_create"})
    setup_sql(app, [resource, labels, SqlResource(model=Order, prefix="/orders", tenant_field="shop")], url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


async def create(client: httpx.AsyncClient, headers: dict[str, str], **more: object) -> dict[str, Any]:
    answer = await client.post("/users", json={"email": "a@x", "password": "pw", **more}, headers=headers)
    if answer.status_code == 422:
        answer = await client.post("/users", json={"email": "a@x", **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def test_rows_of_another_tenant_are_not_there(client: httpx.AsyncClient) -> None:
    """Every route is confined to the caller's tenant, with a custom service and without one."""
    row = await create(client, ONE)
    path = f"/users/{row['id']}"
    assert row["tenant_id"] == "one"
    assert (await client.get("/users", headers=TWO)).json()["total"] == 0
    for answer in (
        await client.get(path, headers=TWO),
        await client.patch(path, json={"email": "x"}, headers=TWO),
        await client.delete(path, headers=TWO),
    ):
        assert answer.status_code == 404
    assert (await client.get(path, headers=ONE)).json() == row


async def test_a_body_can_neither_choose_nor_change_the_tenant(client: httpx.AsyncClient) -> None:
    """A tenant in the body has no effect."""
    row = await create(client, ONE, tenant_id="two")
    assert row["tenant_id"] == "one"
    moved = await client.patch(f"/users/{row['id']}", json={"tenant_id": "two"}, headers=ONE)
    assert moved.json()["tenant_id"] == "one"


async def test_a_duplicate_within_a_tenant_names_the_fields_that_a_client_can_change(client: httpx.AsyncClient) -> None:
    """The unique key holds the tenant, which no body does, so only the others are at fault; in bulk requests too."""
    body = {"name": "red"}
    assert (await client.post("/labels", json=body, headers=ONE)).status_code == 201
    assert (await client.post("/labels", json=body, headers=TWO)).status_code == 201
    single = await client.post("/labels", json=body, headers=ONE)
    many = await client.post("/labels/bulk", json=[body], headers=ONE)
    each = await client.post("/labels/bulk?atomic=false", json=[body], headers=ONE)
    assert (single.status_code, many.status_code, each.status_code) == (409, 409, 207)
    assert [error["loc"] for error in single.json()["errors"]] == [["body", "name"]]
    assert [error["loc"] for error in many.json()["errors"]] == [["body", 0, "name"]]
    assert [error["loc"] for error in each.json()["results"][0]["problem"]["errors"]] == [["body", "name"]]


async def test_a_request_without_tenant_is_refused(client: httpx.AsyncClient) -> None:
    """400 with the text that clients know."""
    answer = await client.get("/users")
    assert (answer.status_code, answer.json()["detail"]) == (400, "tenant_context_missing")
    answer = await client.post("/users", json={"email": "a@x"})
    assert answer.status_code == 400


async def test_the_tenant_has_the_type_of_its_column(client: httpx.AsyncClient) -> None:
    """A header is text; an integer tenant is read from it, and what is no integer is refused."""
    assert (await client.post("/orders", json={}, headers={"X-Tenant-Id": "7"})).json()["shop"] == 7
    assert (await client.get("/orders", headers={"X-Tenant-Id": "seven"})).status_code == 400
    twice = await client.get("/orders", headers=[("X-Tenant-Id", "7"), ("X-Tenant-Id", "8")])
    assert (twice.status_code, twice.json()["detail"]) == (400, "tenant_context_invalid")


async def test_a_tenant_resource_without_a_resolver_stops_the_start(sqlite_url: str) -> None:
    """The error says what to do."""
    app = FastAPI()
    setup_sql(app, [SqlResource(model=User, prefix="/users", tenant_field="tenant_id")], url=sqlite_url)
    with pytest.raises(TenantNotConfigured, match="set_tenant_resolver"):
        async with app.router.lifespan_context(app):
            pass


async def test_the_tenant_may_come_from_any_dependency(
    sqlite_url: str, running: ClientOf, make_tables: MakeTables
) -> None:
    """An application's authentication is a dependency with parameters of its own."""
    app = FastAPI()
    resource = SqlResource(model=User, prefix="/users", tenant_field="tenant_id")
    setup_sql(app, [resource], url=sqlite_url, tenant=current_tenant)
    client = await running(app)
    await make_tables(app, Base)
    made = await client.post("/users", json={"email": "a"}, headers={"Authorization": "Bearer ann@acme"})
    assert made.json()["tenant_id"] == "acme"
    assert (await client.get("/users")).status_code == 422
    parameters = app.openapi()["paths"]["/users"]["get"]["parameters"]
    assert "authorization" in [parameter["name"] for parameter in parameters]


async def test_tenant_parameters_of_own_routes(running: ClientOf) -> None:
    """TenantId insists on a tenant, OptionalTenantId does not."""
    app = FastAPI()
    set_tenant_resolver(app, tenant_header("X-Shop"))

    @app.get("/must")
    async def must(tenant: TenantId) -> str:
        return str(tenant)

    @app.get("/may")
    async def may(tenant: OptionalTenantId) -> str | None:
        return None if tenant is None else str(tenant)

    client = await running(app)
    assert (await client.get("/must", headers={"X-Shop": "7"})).json() == "7"
    assert (await client.get("/must")).status_code == 400
    assert (await client.get("/may")).json() is None
