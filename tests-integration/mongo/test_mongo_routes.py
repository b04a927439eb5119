"""Generated routes of MongoDB resources: records, pages, tenants, soft delete, conditional writes, the document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Annotated, Any, Literal

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from svc_infra.api.fastapi.db.nosql.mongo.add import add_mongo_db, get_mongo, setup_mongo
from svc_infra.api.fastapi.db.nosql.mongo.session import MongoDatabaseDep
from svc_infra.api.fastapi.tenancy.context import TenantNotConfigured, set_tenant_resolver, tenant_header
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.prepare import prepare_mongo
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.resource import MongoResource
from svc_infra.db.nosql.mongo.service import MongoService
from svc_infra.db.nosql.mongo.settings import MongoSettings

ONE, TWO = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}


class Address(BaseModel):
    city: str


class User(BaseModel):
    """Somebody who signs in."""

    id: str
    email: Annotated[str, Field(max_length=60, description="Where to write to.")]
    age: Annotated[int, Field(ge=0, le=200)] | None = None
    kind: Literal["guest", "member"] = "guest"
    addresses: list[Address] = []
    extra: dict[str, Any] = {}
    password_hash: str | None = None
    version: int = 1
    created_at: datetime | None = None


class Signup(User):
    pass


class Note(BaseModel):
    id: str
    tenant_id: str
    text: str
    deleted_at: datetime | None = None


class Setting(BaseModel):
    key: str
    value: int


class Hashing(MongoService[Signup]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        data["password_hash"] = f"hash of {data.pop('password')}"
        return data


USERS = MongoResource(
    model=User,
    prefix="/users",
    version_field="version",
    timestamps=True,
    search_fields=["email"],
    ordering_default="email",
    indexes=[MongoIndex("email", unique=True)],
)
SIGNUPS = MongoResource(model=Signup, prefix="/signups", collection="users", service_factory=Hashing)
NOTES = MongoResource(
    model=Note,
    prefix="/notes",
    tenant_field="tenant_id",
    soft_delete=True,
    actions=["list", "create", "get", "update", "delete", "restore"],
)
SETTINGS = MongoResource(model=Setting, prefix="/settings", id_attr="key", id_type="str")


def application(url: str, db_name: str) -> FastAPI:
    app = FastAPI()
    settings = MongoSettings(url=url, db_name=db_name, driver="pymongo")
    setup_mongo(app, [USERS, SIGNUPS, NOTES, SETTINGS], settings=settings)
    set_tenant_resolver(app, tenant_header())
    return app


@pytest.fixture
async def client(mongo_url: str, mongo_db_name: str) -> AsyncIterator[httpx.AsyncClient]:
    app = application(mongo_url, mongo_db_name)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        await prepare_mongo(get_mongo(app).database(), [USERS.repository()])
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://test"))


async def create(client: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_record_is_created_read_changed_and_deleted(client: httpx.AsyncClient) -> None:
    """Each answer shows the record, without what looks secret; Location leads to it."""
    answer = await client.post("/users", json={"email": "a@x", "age": 7, "addresses": [{"city": "Bonn"}]})
    made = answer.json()
    assert answer.status_code == 201
    assert ObjectId.is_valid(made["id"])
    assert made["addresses"] == [{"city": "Bonn"}]
    assert (made["kind"], made["version"], "password_hash" in made) == ("guest", 1, False)
    path = answer.headers["location"]
    assert path == f"/users/{made['id']}"
    assert (await client.get(path)).json() == made
    changed = await client.patch(path, json={"age": None})
    assert (changed.json()["age"], changed.json()["email"]) == (None, "a@x")
    assert (await client.delete(path)).status_code == 204
    for method, body in (("GET", None), ("PATCH", {"age": 1}), ("DELETE", None)):
        gone = await client.request(method, path, json=body)
        assert (gone.status_code, gone.json()["type"]) == (404, "urn:svc-infra:problem:not-found")


async def test_lists_are_paged_ordered_filtered_and_searched(client: httpx.AsyncClient) -> None:
    """With the query language of SQL resources."""
    for number in range(12):
        await create(client, "/users", {"email": f"user{number:02}@x", "age": number if number % 3 else None})
    page = (await client.get("/users?limit=3&offset=2")).json()
    assert (page["total"], [user["email"] for user in page["items"]]) == (12, ["user02@x", "user03@x", "user04@x"])

    async def emails(query: str) -> list[str]:
        answer = await client.get(f"/users?{query}")
        assert answer.status_code == 200, answer.text
        return [user["email"][4:6] for user in answer.json()["items"]]

    assert await emails("age__gte=8&order_by=-email") == ["11", "10", "08"]
    assert await emails("age__in=1,2&kind=guest") == ["01", "02"]
    assert await emails("age__is_null=true&limit=2") == ["00", "03"]
    assert await emails("q=R1&age__ne=10") == ["11"]
    assert await emails("email__starts_with=user0&age__lt=3") == ["01", "02"]
    assert (await client.get("/users?select=email&limit=1")).json()["items"] == [{"email": "user00@x"}]
    assert (await client.get("/users?total=none")).json()["total"] is None
    assert (await client.get("/users?total=capped&q=user0")).json()["total"] == 10
    assert (await client.get("/users?total=estimated")).json()["total"] == 12


async def test_pages_by_cursor_show_each_record_once(client: httpx.AsyncClient) -> None:
    """Forwards and back, also within a search; a damaged cursor is 422."""
    for number in range(7):
        await create(client, "/users", {"email": f"user{number}@x", "kind": "guest"})
    seen: list[str] = []
    cursor: str | None = ""
    last = None
    while cursor is not None:
        page = (
            await client.get("/users", params={"cursor": cursor, "limit": 3, "q": "user", "order_by": "-email"})
        ).json()
        seen += [user["email"] for user in page["items"]]
        cursor, last = page["next_cursor"], page
    assert seen == [f"user{number}@x" for number in range(6, -1, -1)]
    assert last is not None
    back = await client.get("/users", params={"cursor": last["previous_cursor"], "limit": 3, "order_by": "-email"})
    assert [user["email"] for user in back.json()["items"]] == ["user3@x", "user2@x", "user1@x"]
    for damaged in ("x", "n!!!", "p", "nAAAA"):
        assert (await client.get("/users", params={"cursor": damaged})).status_code == 422


MISTAKES = {
    "a field that is not there": ("POST", "/users", {"email": "a", "colour": "red"}),
    "a value outside of the limits": ("POST", "/users", {"email": "a", "age": 201}),
    "a value of another type": ("POST", "/users", {"email": {"$ne": None}}),
    "nothing where something must be": ("POST", "/users", {}),
    "an update to null": ("PATCH", f"/users/{ObjectId()}", {"email": None}),
    "an unknown parameter": ("GET", "/users?colour=red", None),
    "a condition on a hidden field": ("GET", "/users?password_hash=x", None),
    "an order by a hidden field": ("GET", "/users?order_by=password_hash", None),
    "a condition of another type": ("GET", "/users?age=old", None),
    "a condition on a document": ("GET", "/users?addresses=x", None),
    "a limit out of range": ("GET", "/users?limit=100000", None),
    "an operator for a name": ("GET", "/users?$where=1", None),
}


@pytest.mark.parametrize(("method", "path", "body"), MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_422_and_names_its_place(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """As problem details, with the place of each."""
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["loc"][0] in {"body", "query"}


async def test_a_duplicate_is_409_with_its_field(client: httpx.AsyncClient) -> None:
    """Found by the unique index."""
    await create(client, "/users", {"email": "a@x"})
    answer = await client.post("/users", json={"email": "a@x"})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (409, ["body", "email"])


async def test_what_the_server_owns_can_not_be_written(client: httpx.AsyncClient) -> None:
    """Id, version and times in a body have no effect."""
    sent = {"email": "a@x", "id": "f" * 24, "version": 99, "created_at": "2000-01-01T00:00:00Z"}
    made = await create(client, "/users", sent)
    assert made["id"] != "f" * 24
    assert made["version"] == 1
    assert made["created_at"] > "2020"
    changed = (await client.patch(f"/users/{made['id']}", json=sent)).json()
    assert (changed["id"], changed["created_at"], changed["version"]) == (made["id"], made["created_at"], 2)


async def test_conditional_requests(client: httpx.AsyncClient) -> None:
    """304 for a version that the client has, 412 for a write of an old one; of 20 writers one wins each round."""
    made = await create(client, "/users", {"email": "a@x"})
    path = f"/users/{made['id']}"
    got = await client.get(path)
    assert got.headers["etag"] == '"v1"'
    assert (await client.get(path, headers={"If-None-Match": '"v1"'})).status_code == 304
    answers = await asyncio.gather(
        *(client.patch(path, json={"age": number}, headers={"If-Match": '"v1"'}) for number in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    assert (await client.delete(path, headers={"If-Match": '"v1"'})).status_code == 412
    assert (await client.delete(path, headers={"If-Match": '"v2"'})).status_code == 204
    note = await create(client, "/notes", {"text": "a"}, **ONE)
    refused = await client.patch(f"/notes/{note['id']}", json={"text": "b"}, headers={**ONE, "If-Match": '"v1"'})
    assert refused.status_code == 422


async def test_records_of_another_tenant_are_not_there(client: httpx.AsyncClient) -> None:
    """Every route is confined to the caller's tenant, whatever the body says."""
    note = await create(client, "/notes", {"text": "mine", "tenant_id": "two"}, **ONE)
    path = f"/notes/{note['id']}"
    assert note["tenant_id"] == "one"
    assert (await client.get("/notes", headers=TWO)).json()["total"] == 0
    assert (await client.get("/notes?tenant_id=one", headers=TWO)).json()["total"] == 0
    for method, body in (("GET", None), ("PATCH", {"text": "x"}), ("DELETE", None)):
        assert (await client.request(method, path, json=body, headers=TWO)).status_code == 404
    assert (await client.post(f"{path}/restore", headers=TWO)).status_code == 404
    assert (await client.get("/notes")).json()["detail"] == "tenant_context_missing"
    moved = await client.patch(path, json={"tenant_id": "two", "text": "still mine"}, headers=ONE)
    assert (moved.json()["tenant_id"], moved.json()["text"]) == ("one", "still mine")


async def test_a_deleted_record_is_gone_until_it_is_restored(client: httpx.AsyncClient) -> None:
    """Soft delete: marked, invisible, and back by restore."""
    note = await create(client, "/notes", {"text": "a"}, **ONE)
    path = f"/notes/{note['id']}"
    assert (await client.delete(path, headers=ONE)).status_code == 204
    assert (await client.get(path, headers=ONE)).status_code == 404
    assert (await client.delete(path, headers=ONE)).status_code == 404
    assert (await client.get("/notes", headers=ONE)).json()["total"] == 0
    assert (await client.post(f"{path}/restore", headers=ONE)).json() == note
    again = await client.post(f"{path}/restore", headers=ONE)
    assert (again.status_code, again.json()) == (200, note)


async def test_a_service_with_hooks_takes_what_the_model_has_not(client: httpx.AsyncClient) -> None:
    """A password in the body becomes a hash that no answer shows."""
    made = await create(client, "/signups", {"email": "a@x", "password": "secret"})
    assert "hash" not in str(made)


async def test_ids_of_the_caller(client: httpx.AsyncClient) -> None:
    """A text id comes with the body and stands in the path as it is, encoded."""
    answer = await client.post("/settings", json={"key": "a b/ü", "value": 1})
    assert answer.status_code == 201
    assert (await client.get(answer.headers["location"])).json() == answer.json()
    made = await create(client, "/settings", {"key": "plain", "value": 1})
    assert (await client.get("/settings/plain")).json() == made
    assert (await client.post("/settings", json={"key": "plain", "value": 2})).status_code == 409


async def test_head_405_and_the_slash_at_the_end(client: httpx.AsyncClient) -> None:
    """As the routes of SQL resources."""
    head = await client.head("/users")
    assert (head.status_code, head.content) == (200, b"")
    assert (await client.get("/users/")).status_code == 200
    refused = await client.put("/users", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_the_document_describes_the_routes(client: httpx.AsyncClient) -> None:
    """Schemas, parameters and problems, without what a client can't see."""
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]["/users/{id}"]) == {"get", "patch", "delete"}
    schemas = document["components"]["schemas"]
    assert "password_hash" not in str(schemas["UserRead"])
    assert schemas["UserRead"]["properties"]["email"]["description"] == "Where to write to."
    assert schemas["UserCreate"]["required"] == ["email"]
    assert "required" not in schemas["UserUpdate"]
    assert {"409", "413", "415", "422", "503"} <= set(document["paths"]["/users"]["post"]["responses"])
    names = [parameter["name"] for parameter in document["paths"]["/users"]["get"]["parameters"]]
    assert {"limit", "cursor", "order_by", "q", "age"} <= set(names)


async def test_a_guard_stands_before_every_route(mongo_url: str, mongo_db_name: str) -> None:
    """Dependencies of setup_mongo may refuse."""

    async def nobody() -> None:
        raise HTTPException(401, "Sign in")

    app = FastAPI()
    settings = MongoSettings(url=mongo_url, db_name=mongo_db_name, driver="pymongo")
    setup_mongo(app, [SETTINGS], settings=settings, dependencies=[nobody])
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        assert (await client.get("/settings")).status_code == 401
        assert (await client.get("/settings/a")).status_code == 401
        assert (await client.get("/_mongo/health")).status_code == 200


async def test_a_tenant_resource_without_a_resolver_stops_the_start() -> None:
    """The error says what to do."""
    app = FastAPI()
    setup_mongo(app, [NOTES], settings=MongoSettings(url="mongodb://127.0.0.1:1", db_name="x"))
    with pytest.raises(TenantNotConfigured, match="set_tenant_resolver"):
        async with app.router.lifespan_context(app):
            pass


def test_a_contradiction_is_found_at_set_up() -> None:
    """Unknown fields, an id that the model lacks, restore without soft delete, a prefix twice."""
    mistakes: tuple[dict[str, Any], ...] = (
        {"search_fields": ["colour"]},
        {"id_attr": "key"},
        {"version_field": "revision"},
        {"actions": ["restore"]},
        {"actions": ["burn"]},
        {"prefix": "notes"},
        {"limit_default": 0},
    )
    for options in mistakes:
        given: dict[str, Any] = {"model": Note, "prefix": "/notes", **options}
        with pytest.raises((ValueError, LookupError)):
            MongoResource(**given)
    with pytest.raises(ValueError, match="/settings"):
        setup_mongo(FastAPI(), [SETTINGS, SETTINGS])


HOSTILE_BODIES = {
    "an operator as a value": {"email": "a@x", "extra": {"a": {"$ne": None}}},
    "an operator as a name": {"email": "a@x", "extra": {"$where": "sleep(1000)"}},
    "a dot in a name": {"email": "a@x", "extra": {"a.b": 1}},
    "NUL in a name": {"email": "a@x", "extra": {"a\0b": 1}},
    "an empty name": {"email": "a@x", "extra": {"": 1}},
    "a number that BSON can't hold": {"email": "a@x", "extra": {"n": 2**70}},
    "a document in a document, very deep": {"email": "a@x", "extra": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}},
    "NUL in a text": {"email": "a\0b"},
}


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
async def test_hostile_data_are_stored_as_they_are_or_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Never run, never a 5xx: 201 and the same data back, or 4xx; so is the same in an update."""
    made = await client.post("/users", json=body)
    assert made.status_code in {201, 422}, made.text
    if made.status_code == 201:
        assert {name: made.json()[name] for name in body} == body
        assert (await client.get(made.headers["location"])).json() == made.json()
    plain = await create(client, "/users", {"email": "plain@x"})
    changed = await client.patch(f"/users/{plain['id']}", json={"extra": body.get("extra", {})})
    assert changed.status_code in {200, 422}


async def test_names_at_the_top_can_not_be_operators(client: httpx.AsyncClient) -> None:
    """`$set`, a dotted name and `_id` are no fields."""
    plain = await create(client, "/users", {"email": "a@x"})
    for name in ("$set", "$where", "extra.admin", "_id", "a\0b", ""):
        for method, path in (("POST", "/users"), ("PATCH", f"/users/{plain['id']}")):
            answer = await client.request(method, path, json={"email": "b@x", name: {"admin": True}})
            assert answer.status_code == 422, name
    hooked = await client.post("/signups", json={"email": "c@x", "password": "p", "$where": "1"})
    assert hooked.status_code == 422


async def test_strange_ids_are_404(client: httpx.AsyncClient) -> None:
    """Nothing that stands in a path reaches the server as anything but an id."""
    for key in ("x", "1", "f" * 23, "f" * 25, "%00", "$ne", "{%22$ne%22:null}", "%F0%9F%92%A9", "[object]", "f" * 5000):
        for method in ("GET", "DELETE"):
            assert (await client.request(method, f"/users/{key}")).status_code == 404, key


async def test_a_document_that_is_too_large_is_413(mongo_url: str, mongo_db_name: str) -> None:
    """By the resource's own limit, and by MongoDB's where the resource allows more."""
    limited = MongoResource(model=User, prefix="/limited", collection="users", max_body_bytes=1000)
    generous = MongoResource(model=User, prefix="/generous", collection="users", max_body_bytes=64 << 20)
    app = FastAPI()
    setup_mongo(
        app, [limited, generous], settings=MongoSettings(url=mongo_url, db_name=mongo_db_name, driver="pymongo")
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=30) as client,
    ):
        for prefix, size in (("/limited", 2000), ("/generous", 17 << 20)):
            answer = await client.post(prefix, json={"email": "a", "extra": {"text": "x" * size}})
            assert (answer.status_code, answer.json()["type"]) == (413, "urn:svc-infra:problem:content-too-large")
        assert (await client.get("/generous")).json()["total"] == 0


async def test_a_server_that_is_gone_is_503() -> None:
    """In routes that were generated and in the application's own, without an address in the body."""
    app = FastAPI()
    settings = MongoSettings(
        url="mongodb://127.0.0.1:1", db_name="x", driver="motor", server_selection_timeout_seconds=0.3
    )
    add_mongo_db(app, settings, require_server=False)
    setup_mongo(app, [SETTINGS])

    @app.get("/own")
    async def own(db: MongoDatabaseDep) -> int:
        found: int = await db.users.count_documents({})
        return found

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        for path in ("/settings", "/settings/a", "/own"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "127.0.0.1" not in answer.text


def test_the_repository_of_a_resource_can_be_prepared() -> None:
    """Indexes are the resource's."""
    repo: MongoRepository[User] = USERS.repository()
    assert (repo.collection, [index.names for index in repo.indexes]) == ("users", [("email",)])
