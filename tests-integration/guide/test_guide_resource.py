"""SqlResource for CRUD Routes: the full example, with search, ordering, tenants, a service and soft deletes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from myapp.models import User
from myapp.services import UserService, verify_password
from serving import served
from sqlalchemy import select

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.resource import SqlResource


def make_app() -> FastAPI:
    app = FastAPI()
    resources = [
        SqlResource(
            model=User,
            prefix="/users",
            tags=["users"],
            id_attr="id",
            soft_delete=True,
            search_fields=["name", "email"],
            ordering_default="-created_at",
            allowed_order_fields=["created_at", "name", "email"],
            # Tenant scoping
            tenant_field="tenant_id",
            # Custom service
            service_factory=lambda repo: UserService(repo),  # noqa: PLW0108 - as the guide has it
        ),
    ]

    setup_sql(app, resources)
    # The example leaves open who the tenant is: here a gateway in front says so.
    set_tenant_resolver(app, tenant_header())
    return app


@pytest.fixture
def client(sql_url: str) -> Iterator[httpx.Client]:
    """The application on each database, called by tenant-123."""
    with served(make_app(), headers={"X-Tenant-Id": "tenant-123"}) as opened:
        yield opened


OTHER = {"X-Tenant-Id": "tenant-456"}


def create(client: httpx.Client, name: str, headers: dict[str, str] | None = None) -> dict[str, object]:
    body = {"email": f"{name.lower()}@example.com", "name": name, "password": "correct horse"}
    response = client.post("/users", json=body, headers=headers)
    assert response.status_code == 201, response.text
    created: dict[str, object] = response.json()
    return created


async def stored(**conditions: object) -> list[User]:
    async with Database() as database, database.session() as session:
        return list((await session.execute(select(User).filter_by(**conditions))).scalars())


async def test_create_runs_the_service_and_injects_the_tenant(client: httpx.Client) -> None:
    """POST /users: the hook hashes the password, which no response shows, in the caller's tenant."""
    user = create(client, "Ada")
    assert user["tenant_id"] == "tenant-123"
    assert "password" not in str(user)
    (row,) = await stored(id=user["id"])
    assert verify_password("correct horse", row.password_hash)


def test_list_pages_searches_and_orders(client: httpx.Client) -> None:
    """GET /users with limit, offset, q and order_by; the newest first when nothing is asked for."""
    ids = {name: create(client, name)["id"] for name in ("Johnny", "Ada", "John", "Zoe")}
    page = client.get("/users", params={"limit": 2, "offset": 1}).json()
    assert (page["total"], page["limit"], page["offset"]) == (4, 2, 1)
    assert [user["name"] for user in page["items"]] == ["John", "Ada"]
    found = client.get("/users", params={"q": "john", "order_by": "name"}).json()
    assert [user["name"] for user in found["items"]] == ["John", "Johnny"]
    assert found["total"] == 2
    descending = client.get("/users", params={"order_by": "-name"}).json()
    assert [user["name"] for user in descending["items"]] == ["Zoe", "Johnny", "John", "Ada"]
    by_email = client.get("/users", params={"q": "zoe@", "fields": "email"}).json()
    assert [user["id"] for user in by_email["items"]] == [ids["Zoe"]]


@pytest.mark.parametrize(
    "query",
    [{"order_by": "password_hash"}, {"limit": 0}, {"limit": 1001}, {"offset": -1}, {"fields": "tenant_id", "q": "x"}],
)
def test_what_is_not_allowed_is_refused(client: httpx.Client, query: dict[str, object]) -> None:
    """An order that allowed_order_fields doesn't name, or a page out of range, is 422 and not ignored."""
    assert client.get("/users", params=query).status_code == 422


def test_get_and_patch_by_id(client: httpx.Client) -> None:
    """GET and PATCH /users/{id}, and 404 for none."""
    user = create(client, "Ada")
    assert client.get(f"/users/{user['id']}").json() == user
    assert client.patch(f"/users/{user['id']}", json={"name": "Grace"}).json()["name"] == "Grace"
    assert client.get("/users/nobody").status_code == 404
    assert client.patch("/users/nobody", json={"name": "x"}).status_code == 404


async def test_delete_is_soft(client: httpx.Client) -> None:
    """DELETE /users/{id}: gone from every route, kept in the table."""
    user = create(client, "Ada")
    assert client.delete(f"/users/{user['id']}").status_code == 204
    assert client.get(f"/users/{user['id']}").status_code == 404
    assert client.delete(f"/users/{user['id']}").status_code == 404
    assert client.get("/users").json()["total"] == 0
    (row,) = await stored(id=user["id"])
    assert row.deleted_at is not None


async def test_another_tenant_sees_and_changes_nothing(client: httpx.Client) -> None:
    """Every route is confined to the caller's tenant, whatever the body says."""
    user = create(client, "Ada")
    path = f"/users/{user['id']}"
    assert client.get("/users", headers=OTHER).json()["total"] == 0
    assert client.get(path, headers=OTHER).status_code == 404
    assert client.patch(path, json={"name": "taken"}, headers=OTHER).status_code == 404
    assert client.delete(path, headers=OTHER).status_code == 404
    client.patch(path, json={"name": "Ada", "tenant_id": "tenant-456"})
    (row,) = await stored(id=user["id"])
    assert (row.name, row.tenant_id, row.deleted_at) == ("Ada", "tenant-123", None)


def test_a_request_without_a_tenant_is_refused(sql_url: str) -> None:
    """No tenant is not every tenant."""
    with served(make_app()) as client:
        assert client.get("/users").status_code == 400


def test_a_duplicate_is_a_conflict(client: httpx.Client) -> None:
    """409 as problem+json, and the transaction of the next request is not affected."""
    create(client, "Ada")
    response = client.post("/users", json={"email": "ada@example.com", "password": "x"})
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    create(client, "Grace")


def test_the_documentation_names_the_routes_and_schemas(client: httpx.Client) -> None:
    """OpenAPI has the five operations under the tag, and the generated schemas by their names."""
    document = client.get("/openapi.json").json()
    assert set(document["paths"]["/users"]) >= {"get", "post"}
    (item,) = [path for path in document["paths"] if path.startswith("/users/{")]
    assert set(document["paths"][item]) >= {"get", "patch", "delete"}
    assert document["paths"]["/users"]["get"]["tags"] == ["users"]
    assert {"UserRead", "UserCreate", "UserUpdate"} <= set(document["components"]["schemas"])
