"""Actions of a resource that differ: schemas, hooks, names, guards."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource, RouteOptions
from svc_infra.db.sql.service import SqlService


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(50), unique=True)
    name: Mapped[str | None] = mapped_column(String(50))
    password_hash: Mapped[str | None] = mapped_column(String(50))


class Summary(BaseModel):
    """A user in a list."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    shown_as: str = Field(validation_alias="email", serialization_alias="label")


class Created(BaseModel):
    """What a sign-up answers."""

    model_config = ConfigDict(from_attributes=True)
    id: int


class SignUp(BaseModel):
    """A sign-up."""

    email: str
    password: str = Field(min_length=3)


class Rename(BaseModel):
    """The one change that is allowed."""

    model_config = ConfigDict(extra="forbid")
    name: str


class SignsUp(SqlService[User]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        data["password_hash"] = f"hashed {data.pop('password')}"
        return data


class KeepsOne(SqlService[User]):
    async def pre_delete(self, session: Any, id: object) -> None:  # noqa: A002
        if id == 1:
            raise HTTPException(403, "the first user stays")


@pytest.fixture(scope="module")
def app(sql_url: str) -> FastAPI:
    app = FastAPI()
    resource = ApiResource(
        model=User,
        prefix="/users",
        actions=ALL_ACTIONS - {"restore"} | {"bulk_upsert"},
        upsert_on=["email"],
        routes={
            "list": RouteOptions(read_schema=Summary, description="Everyone, in short."),
            "create": RouteOptions(body_schema=SignUp, read_schema=Created, service_factory=SignsUp),
            "bulk_create": RouteOptions(body_schema=SignUp, read_schema=Created, service_factory=SignsUp),
            "import": RouteOptions(body_schema=SignUp, service_factory=SignsUp),
            "update": RouteOptions(body_schema=Rename),
            "replace": RouteOptions(body_schema=Rename, path="/{id}/whole"),
            "delete": RouteOptions(service_factory=KeepsOne, include_in_schema=False),
            "bulk_delete": RouteOptions(path="/gone", operation_id="forget_users"),
        },
    )
    setup_sql(app, [resource], url=sql_url)
    return app


async def test_each_action_has_its_schemas_and_hooks(client: httpx.AsyncClient) -> None:
    """Create, list, update, replace, bulk create, import and delete; the others are as the resource says."""
    made = await client.post("/users", json={"email": "a", "password": "secret"})
    assert (made.status_code, made.json()) == (201, {"id": 1}), made.text
    assert (await client.post("/users", json={"email": "b", "password": "x"})).status_code == 422
    assert (await client.get("/users")).json()["items"] == [{"id": 1, "label": "a"}]
    full = {"id": 1, "email": "a", "name": None}
    assert (await client.get("/users/1")).json() == full
    assert (await client.patch("/users/1", json={"email": "z"})).status_code == 422
    assert (await client.patch("/users/1", json={"name": "Ann"})).json() == {**full, "name": "Ann"}
    assert (await client.put("/users/1/whole", json={"name": "Bo"})).json() == {**full, "name": "Bo"}
    bulk = await client.post("/users/bulk", json=[{"email": "c", "password": "secret"}])
    assert bulk.json()["results"][0]["item"] == {"id": 2}, bulk.text
    imported = await client.post(
        "/users/import", content='{"email":"d","password":"secret"}', headers={"Content-Type": "application/x-ndjson"}
    )
    assert imported.json() == {"written": 1}, imported.text
    assert (await client.delete("/users/1")).status_code == 403
    gone = await client.post("/users/gone", json=[{"id": 1}])
    assert gone.status_code == 200, gone.text


async def test_actions_that_show_a_record_differently_agree_on_its_etag(client: httpx.AsyncClient) -> None:
    """What create answers may be given to update, and what get answers too."""
    made = await client.post("/users", json={"email": "a", "password": "secret"})
    read = await client.get("/users/1")
    assert read.headers["etag"] == made.headers["etag"]
    changed = await client.patch("/users/1", json={"name": "Ann"}, headers={"If-Match": made.headers["etag"]})
    assert changed.status_code == 200, changed.text
    assert changed.headers["etag"] == (await client.get("/users/1")).headers["etag"] != read.headers["etag"]
    assert (await client.patch("/users/1", json={"name": "B"}, headers={"If-Match": '"x"'})).status_code == 412
    stale = await client.get("/users/1", headers={"If-None-Match": changed.headers["etag"]})
    assert stale.status_code == 304


def test_the_document_shows_what_each_action_takes_and_answers(app: FastAPI) -> None:
    """Schemas, descriptions, names, hidden routes."""
    paths = app.openapi()["paths"]

    def schema_of(content: dict[str, Any]) -> str:
        schema = content["content"]["application/json"]["schema"]
        return str(schema.get("$ref") or schema["items"]["$ref"]).rpartition("/")[2]

    create = paths["/users"]["post"]
    assert schema_of(create["requestBody"]) == "SignUp"
    assert schema_of(create["responses"]["201"]) == "Created"
    assert paths["/users"]["get"]["description"] == "Everyone, in short."
    assert schema_of(paths["/users"]["get"]["responses"]["200"]) == "Page_Summary_"
    assert "UserRead" in str(paths["/users/{id}"]["get"]["responses"]["200"])
    assert schema_of(paths["/users/{id}"]["patch"]["requestBody"]) == "Rename"
    assert schema_of(paths["/users/bulk"]["post"]["requestBody"]) == "SignUp"
    assert "delete" not in paths["/users/{id}"]
    assert paths["/users/gone"]["post"]["operationId"] == "forget_users"


def test_an_action_without_a_body_has_no_body_schema() -> None:
    """Shown at once."""
    with pytest.raises(ValueError, match="get takes no record"):
        ApiResource(model=User, prefix="/users", routes={"get": RouteOptions(body_schema=Rename)})
