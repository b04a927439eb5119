"""What a MongoRepository finds: filters, search, order, pages and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from pydantic import BaseModel, Field

from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.errors import (
    InvalidQuery,
    InvalidValue,
    UnknownField,
)
from svc_infra.db.nosql.mongo.filters import field, raw
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoDatabase


class User(BaseModel):
    id: str
    email: str
    name: str = ""
    age: int | None = Field(default=None, ge=0)
    created_at: datetime | None = None


USERS = MongoRepository("users", model=User)


@pytest.fixture(params=["motor", "pymongo"])
async def db(request: pytest.FixtureRequest, mongo_url: str, mongo_db_name: str) -> AsyncIterator[MongoDatabase]:
    """A fresh database, through either driver."""
    async with Mongo(MongoSettings(url=mongo_url, db_name=mongo_db_name, driver=request.param)) as mongo:
        yield mongo.database()


async def some_users(db: MongoDatabase, repo: MongoRepository[User] = USERS, count: int = 5) -> list[User]:
    return await repo.create_many(db, [{"email": f"u{n}@example.com", "age": n} for n in range(count)])


async def test_get_many_keeps_the_order_of_the_ids(db: MongoDatabase) -> None:
    """Unknown and malformed ids are left out, doubles given once."""
    users = await some_users(db)
    ids = [users[3].id, "nonsense", users[1].id, str(ObjectId()), users[3].id]
    assert [user.id for user in await USERS.get_many(db, ids)] == [users[3].id, users[1].id]


async def test_list_is_totally_ordered_and_paged(db: MongoDatabase) -> None:
    """Equal values are ordered by id, so that pages neither overlap nor skip."""
    await USERS.create_many(db, [{"email": "same", "age": n % 3} for n in range(20)])
    everything = [user.id for user in await USERS.list(db, limit=100, order_by="-age")]
    pages = [user.id for n in range(0, 20, 3) for user in await USERS.list(db, limit=3, offset=n, order_by=["-age"])]
    assert pages == everything
    assert len(set(pages)) == 20
    assert await USERS.list(db, limit=0) == []


FILTERS: list[tuple[Any, list[int | None]]] = [
    (field("age").eq(2), [2]),
    (field("age").ne(2), [0, 1, 3]),
    (field("age").lt(2), [0, 1]),
    (field("age").le(2), [0, 1, 2]),
    (field("age").gt(2), [3]),
    (field("age").ge(2), [2, 3]),
    (field("age").between(1, 2), [1, 2]),
    (field("age").in_([1, 3, 9]), [1, 3]),
    (field("age").not_in([1, 3]), [0, 2]),
    (field("age").is_null(), [None]),
    (field("age").eq(None), [None]),
    (field("age").ne(None), [0, 1, 2, 3]),
    (field("email").contains("u1@"), [1]),
    (field("email").contains("U1"), []),
    (field("email").icontains("U1"), [1]),
    (field("email").starts_with("u2"), [2]),
    (field("email").ends_with("."), []),
    (field("email").ends_with("com"), [0, 1, 2, 3, None]),
    ((field("age").eq(1) | field("age").eq(2)) & ~field("age").eq(2), [1]),
    (raw({"age": {"$mod": [2, 1]}}), [1, 3]),
    ([field("age").gt(0), field("age").lt(2)], [1]),
]


async def test_filters_choose_documents(db: MongoDatabase) -> None:
    """With SQL's rule that null fulfils no comparison."""
    await USERS.create_many(db, [{"email": f"u{n}@example.com", "age": n} for n in range(4)])
    await USERS.create(db, {"email": "none@example.com"})
    for condition, ages in FILTERS:
        found = await USERS.list(db, limit=10, where=condition)
        assert [user.age for user in found] == ages, condition
        assert await USERS.count(db, where=condition) == len(ages), condition
        assert await USERS.exists(db, where=condition) is bool(ages), condition


async def test_a_value_in_a_filter_is_never_an_operator(db: MongoDatabase) -> None:
    """`{"$ne": null}` from a request body is compared, not run."""
    await some_users(db)
    assert await USERS.list(db, limit=10, where=field("email").eq({"$ne": None})) == []
    with pytest.raises(InvalidValue):
        field("email").in_([{"$ne": None}])


async def test_ids_in_filters_are_given_as_callers_see_them(db: MongoDatabase) -> None:
    """Also inside other conditions."""
    users = await some_users(db)
    chosen = field("id").in_([users[1].id, users[2].id]) & ~field("id").eq(users[2].id)
    assert [user.id for user in await USERS.list(db, limit=10, where=chosen)] == [users[1].id]


async def test_names_that_are_no_fields_are_refused_everywhere(db: MongoDatabase) -> None:
    """Typos and operators alike, before anything is sent."""
    for name in ("nosuchfield", "$where", "email.$ne", "", "a\0"):
        await assert_refused(db, name)


async def assert_refused(db: MongoDatabase, name: str) -> None:
    with pytest.raises(UnknownField):
        await USERS.create(db, {"email": "x", name: 1})
    user = await USERS.create(db, {"email": "x"})
    with pytest.raises(UnknownField):
        await USERS.update(db, user.id, {name: 1})
    with pytest.raises(UnknownField):
        await USERS.list(db, limit=1, where=field(name).eq(1))
    with pytest.raises(UnknownField):
        await USERS.search(db, q="x", fields=[name], limit=1)
    if name:
        with pytest.raises(UnknownField):
            await USERS.list(db, limit=1, order_by=[name])


async def test_search_takes_wildcards_literally(db: MongoDatabase) -> None:
    """And does not heed the case of letters; a blank text finds all."""
    texts = ["50%_", ".*", "a(b", "\\", "$", "^x", "[z]", "a b", "é#-~"]
    await USERS.create_many(db, [{"email": f"pre{text}post"} for text in texts])
    for text in texts:
        found = await USERS.search(db, q=text.upper(), fields=["name", "email"], limit=10)
        assert [user.email for user in found] == [f"pre{text}post"], text
        assert await USERS.count(db, q=text, fields=["email"]) == 1, text
    assert await USERS.count(db, q="  ", fields=["email"]) == len(texts)
    with pytest.raises(UnknownField):
        await USERS.search(db, q="x", fields=[], limit=10)
    with pytest.raises(InvalidValue):
        await USERS.search(db, q="a\0b", fields=["email"], limit=10)


async def test_pages_continue_after_and_before_a_cursor(db: MongoDatabase) -> None:
    """Over nulls, equal values and both directions, and stable while documents are created."""
    ages = [None, 1, 1, 2, None, 3, 2, None, 1, 5]
    await USERS.create_many(db, [{"email": f"u{n}", "age": age} for n, age in enumerate(ages)])
    for order in ("age", "-age", "-age,email", None):
        expected = [user.id for user in await USERS.list(db, limit=100, order_by=order)]
        seen: list[str] = []
        cursors: list[str | None] = []
        cursor: str | None = None
        while True:
            page = await USERS.page(db, limit=3, after=cursor, order_by=order)
            seen += [user.id for user in page.items]
            cursors.append(page.previous)
            if page.next is None:
                break
            cursor = page.next
        assert seen == expected, order
        back: list[str] = []
        cursor = page.previous
        while cursor is not None:
            page = await USERS.page(db, limit=3, before=cursor, order_by=order)
            back = [user.id for user in page.items] + back
            cursor = page.previous
        assert back == expected[: len(back)], order
        assert len(back) == 9, order


async def test_a_cursor_that_was_changed_or_is_of_another_order_is_refused(db: MongoDatabase) -> None:
    """With a secret nobody can make one."""
    signed = MongoRepository("users", model=User, cursor_secret=b"k")
    await some_users(db)
    cursor = (await signed.page(db, limit=2, order_by="age")).next
    assert cursor is not None
    assert len((await signed.page(db, limit=2, after=cursor, order_by="age")).items) == 2
    for wrong in (cursor[:-3] + "abc", "", "é", "a" * 50):
        with pytest.raises(InvalidQuery):
            await signed.page(db, limit=2, after=wrong, order_by="age")
    with pytest.raises(InvalidQuery, match="another order"):
        await signed.page(db, limit=2, after=cursor, order_by="-age")
    with pytest.raises(InvalidQuery):
        await MongoRepository("users", model=User, cursor_secret=b"other").page(
            db, limit=2, after=cursor, order_by="age"
        )


async def test_streaming_gives_every_document_once(db: MongoDatabase) -> None:
    """In batches, in order."""
    await some_users(db, count=25)
    ages = [user.age async for user in USERS.stream(db, order_by="-age", batch_size=10)]
    assert ages == list(range(24, -1, -1))
