"""A create that brings related records along."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

ONE, TWO = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}
everywhere = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql", "duckdb"], indirect=True)
undoing = pytest.mark.parametrize("sql_url", ["sqlite", "postgres", "mysql"], indirect=True)
"""On every database that can undo a part of a transaction; DuckDB has no savepoints."""


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(20))
    customer: Mapped[str] = mapped_column(String(20))
    items: Mapped[list[Item]] = relationship(back_populates="order", cascade="all, delete-orphan")
    invoice: Mapped[Invoice | None] = relationship(back_populates="order", uselist=False)


class Item(Base):
    __tablename__ = "items"
    __table_args__ = (
        UniqueConstraint("order_id", "sku", name="uq_items_sku"),
        CheckConstraint("count > 0", name="ck_items_count"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str] = mapped_column(String(20))
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    sku: Mapped[str] = mapped_column(String(20))
    count: Mapped[int] = mapped_column(default=1)
    password_hash: Mapped[str | None] = mapped_column(String(20))
    created_at: Mapped[datetime | None]
    order: Mapped[Order] = relationship(back_populates="items")


class Invoice(Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), unique=True)
    text: Mapped[str] = mapped_column(String(20))
    order: Mapped[Order] = relationship(back_populates="invoice")


class Doubling(SqlService[Item]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["sku"] == "bad":
            raise HTTPException(409, "no bad items")
        return {**data, "count": data.get("count", 1) * 2}


class Greeting(SqlService[Order]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "customer": f"Dear {data['customer']}"}


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    item = SqlResource(model=Item, prefix="/items", tenant_field="shop", service_factory=Doubling, read_name="HookItem")
    resources: list[SqlResource[Any]] = [
        ApiResource(
            model=Order, prefix="/orders", tenant_field="shop", nested=["items", "invoice"], max_nested_items=50,
            include=["items"],
        ),
        ApiResource(
            model=Order, prefix="/hooked", tenant_field="shop", nested={"items": item}, service_factory=Greeting,
            read_name="HookedRead", create_name="HookedCreate",
        ),
        SqlResource(model=Item, prefix="/items", tenant_field="shop", allowed_filter_fields=["order_id", "sku"]),
    ]  # fmt: skip
    setup_sql(app, resources, url=sql_url)
    set_tenant_resolver(app, tenant_header())
    return app


@everywhere
async def test_related_records_are_created_with_theirs(client: httpx.AsyncClient) -> None:
    """And shown in the answer; a read that includes them shows the same."""
    body = {"customer": "Ann", "items": [{"sku": "b"}, {"sku": "a", "count": 3}], "invoice": {"text": "t"}}
    answer = await client.post("/orders", json=body, headers=ONE)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert [(item["sku"], item["count"], item["order_id"], item["shop"]) for item in made["items"]] == [
        ("b", 1, made["id"], "one"),
        ("a", 3, made["id"], "one"),
    ]
    assert (made["invoice"]["text"], made["invoice"]["order_id"]) == ("t", made["id"])
    assert "password_hash" not in answer.text
    read = await client.get(answer.headers["location"], headers=ONE)
    assert read.headers["etag"] == answer.headers["etag"]
    included = await client.get(f"{answer.headers['location']}?include=items", headers=ONE)
    assert sorted(item["id"] for item in included.json()["items"]) == sorted(item["id"] for item in made["items"])


async def test_related_records_may_be_left_out(client: httpx.AsyncClient) -> None:
    """Then there are none."""
    made = (await client.post("/orders", json={"customer": "Ann"}, headers=ONE)).json()
    assert (made["items"], made["invoice"]) == ([], None)


@everywhere
async def test_what_the_server_owns_of_a_related_record_is_ignored(client: httpx.AsyncClient) -> None:
    """The foreign key, the tenant, the id and the times: another tenant's order gets nothing."""
    other = (await client.post("/orders", json={"customer": "Bob"}, headers=TWO)).json()
    evil = {"sku": "x", "order_id": other["id"], "shop": "two", "id": 999, "created_at": "2020-01-01T00:00:00"}
    made = (await client.post("/orders", json={"customer": "Ann", "items": [evil]}, headers=ONE)).json()
    [item] = made["items"]
    assert (item["order_id"], item["shop"], item["created_at"]) == (made["id"], "one", None)
    assert item["id"] != 999
    assert (await client.get("/items", headers=TWO)).json()["total"] == 0


@undoing
async def test_an_error_in_a_related_record_undoes_all(client: httpx.AsyncClient) -> None:
    """And says where it stands."""
    cases: list[tuple[object, list[object], int]] = [
        ([{"sku": "a"}, {"sku": 5}], ["body", "items", 1, "sku"], 422),
        ([{"sku": "a"}, {}], ["body", "items", 1, "sku"], 422),
        ([{"sku": "a", "skuu": 1}], ["body", "items", 0, "skuu"], 422),
        ([{"sku": "a"}, {"sku": "b"}, {"sku": "a"}], ["body", "items", 2], 409),
        ([{"sku": "a"}, {"sku": "b", "count": 0}], ["body", "items", 1], 422),
        ([{"sku": str(number)} for number in range(51)], ["body", "items"], 422),
        ({"sku": "a"}, ["body", "items"], 422),
        (None, ["body", "items"], 422),
    ]
    for items, loc, status in cases:
        answer = await client.post("/orders", json={"customer": "Ann", "items": items}, headers=ONE)
        assert answer.status_code == status, answer.text
        assert answer.json()["errors"][0]["loc"][: len(loc)] == loc
    assert (await client.get("/orders", headers=ONE)).json()["total"] == 0
    assert (await client.get("/items", headers=ONE)).json()["total"] == 0


@everywhere
async def test_hooks_of_both_take_part(client: httpx.AsyncClient) -> None:
    """Those of the record, and those of the resource that describes the related ones."""
    body = {"customer": "Ann", "items": [{"sku": "a", "count": 2}]}
    made = (await client.post("/hooked", json=body, headers=ONE)).json()
    assert (made["customer"], made["items"][0]["count"]) == ("Dear Ann", 4)
    refused = await client.post("/hooked", json={"customer": "B", "items": [{"sku": "a"}, {"sku": "bad"}]}, headers=ONE)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (409, ["body", "items", 1])
    assert (await client.get("/orders", headers=ONE)).json()["total"] == 1


def test_the_document_shows_nested_bodies(app: FastAPI) -> None:
    """With the limit, and without what the server owns."""
    schemas = app.openapi()["components"]["schemas"]
    nested = schemas["OrderCreateNested"]
    assert nested["properties"]["items"]["maxItems"] == 50
    child = schemas[nested["properties"]["items"]["items"]["$ref"].rpartition("/")[2]]
    assert set(child["properties"]) == {"sku", "count", "password_hash"}
    assert {"items", "invoice"} <= set(schemas["OrderReadNested"]["required"])


@pytest.mark.parametrize(
    ("model", "nested", "reason"), [(Order, ["itms"], "no relationship"), (Item, ["order"], "one-to-many")]
)
def test_mistakes_show_at_once(model: type[Any], nested: list[str], reason: str) -> None:
    """A name that is none, and a relationship that leads to one record that may be shared."""
    with pytest.raises(ValueError, match=reason):
        setup_sql(FastAPI(), [ApiResource(model=model, prefix="/x", nested=nested)], url="sqlite://")
