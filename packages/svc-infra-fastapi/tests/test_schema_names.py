"""The names of the schemas in the OpenAPI document, after which generated clients name their classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, create_model
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from svc_infra.api.fastapi.db.nosql.mongo.add import setup_mongo
from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource, RouteOptions
from svc_infra.api.fastapi.problems import add_problem_details
from svc_infra.db.nosql.mongo.resource import MongoResource
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

ACTIONS = ALL_ACTIONS - {"restore"}


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "named_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(String(9))
    items: Mapped[list[Item]] = relationship()


class Item(Base):
    __tablename__ = "named_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(9))
    order_id: Mapped[int | None] = mapped_column(ForeignKey("named_orders.id"))


class Short(BaseModel):
    """The id alone."""

    model_config = ConfigDict(from_attributes=True)

    id: int


class Hooked(SqlService[Order]):
    """Changes nothing, but an action that has it is bound by itself."""


ORDERS = ApiResource(
    model=Order,
    prefix="/orders",
    actions=ACTIONS,
    include=["items"],
    nested=["items"],
    routes={"list": RouteOptions(service_factory=Hooked), "bulk_create": RouteOptions(read_schema=Short)},
)
ADMIN_ORDERS = ApiResource(
    model=Order,
    prefix="/admin/orders",
    actions=ACTIONS,
    read_exclude=["note"],
    include=["items"],
    nested={"items": SqlResource(model=Item, prefix="/none", create_exclude=["sku"])},
)
ITEMS = ApiResource(model=Item, prefix="/items", actions=ACTIONS, tags=["items"])
SHORT_ITEMS = ApiResource(model=Item, prefix="/short-items", actions=ACTIONS, read_schema=Short)
SHORT_ITEMS_TOO = ApiResource(model=Item, prefix="/short/items", actions=ACTIONS, read_schema=Short)


def names_of(resources: Sequence[SqlResource[Any]]) -> set[str]:
    """Return the names of the schemas and operations in the document of an application with *resources*."""
    app = FastAPI()
    setup_sql(app, resources, url="sqlite://")
    document = app.openapi()
    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(operations)) == len(operations)
    return {*document["components"]["schemas"], *operations}


def test_every_name_is_made_of_words() -> None:
    """Resources on one model, nested and included records, own schemas and hooks: no name has a module or number."""
    names = names_of([ORDERS, ADMIN_ORDERS, ITEMS, SHORT_ITEMS])
    schemas = [name for name in names if not re.fullmatch("[a-z_]+", name)]
    assert [name for name in schemas if not re.fullmatch("(Page_)?([A-Z][a-z]+)+_?", name)] == []
    assert {"OrderRead", "OrderItemsCreate", "AdminOrdersRead", "AdminOrdersItemsCreate", "ItemRead"} <= names
    assert {"OrderBulkResult", "OrderShortBulkResult", "AdminOrdersBulkResult", "ShortItemsCreate"} <= names


def test_another_resource_renames_nothing() -> None:
    """A client's classes keep their names when a resource of the same model, or with the same words, comes later."""
    few = names_of([ORDERS, ITEMS, SHORT_ITEMS])
    assert few < names_of([ORDERS, ITEMS, SHORT_ITEMS, SHORT_ITEMS_TOO, ADMIN_ORDERS])


def test_a_model_of_the_same_name_in_mongodb_has_a_name_of_its_own() -> None:
    """One application with an SQL and a MongoDB resource of models called Item has both documented."""

    class Item(BaseModel):
        """Another item."""

        id: str
        title: str

    app = FastAPI()
    setup_sql(app, [ITEMS], url="sqlite://")
    setup_mongo(app, [MongoResource(model=Item, prefix="/documents")])
    schemas = app.openapi()["components"]["schemas"]
    assert "sku" in schemas["ItemRead"]["properties"]
    assert "title" in schemas["DocumentsRead"]["properties"]


@pytest.mark.parametrize("name", ["read_name", "create_name", "update_name"])
def test_a_given_name_is_kept(name: str) -> None:
    """`read_name`, `create_name` and `update_name` say more than the rule does."""
    given = {name: "Purchase"}
    assert "Purchase" in names_of([SqlResource(model=Order, prefix="/orders", **given)])  # type: ignore[arg-type]


def own_model(name: str) -> type[BaseModel]:
    """A model of the application's own."""
    made: type[BaseModel] = create_model(name, mine=(int, ...))
    return made


@pytest.mark.parametrize("name", ["ProblemDetails", "ProblemField"])
@pytest.mark.parametrize("generated", [True, False])
def test_an_application_may_call_a_model_as_the_problem_s_are(name: str, generated: bool) -> None:
    """Both are in the document, each described by itself, and every reference leads somewhere."""
    app, model = FastAPI(), own_model(name)

    def own(body: Any) -> Any:
        return body

    own.__annotations__.update({"body": model, "return": model})
    app.post("/own")(own)
    if generated:
        setup_sql(app, [SqlResource(model=Item, prefix="/items")], url="sqlite://")
    add_problem_details(app)
    document = app.openapi()
    schemas = document["components"]["schemas"]
    assert set(re.findall(r'#/components/schemas/([^"\']+)', str(document))) <= set(schemas)
    answers = document["paths"]["/own"]["post"]["responses"]

    def described(answer: dict[str, Any]) -> dict[str, Any]:
        (content,) = answer["content"].values()
        found: dict[str, Any] = schemas[content["schema"]["$ref"].rpartition("/")[2]]["properties"]
        return found

    assert set(described(answers["200"])) == {"mine"}
    assert set(described(answers["422"])) == {"type", "title", "status", "detail", "errors"}
    inner = described(answers["422"])["errors"]["items"]["$ref"].rpartition("/")[2]
    assert set(schemas[inner]["properties"]) == {"loc", "msg", "type"}
