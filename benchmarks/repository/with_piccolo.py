"""Piccolo, which has no SQLAlchemy below: its objects and its dicts, as its manual shows them."""

from __future__ import annotations

from typing import Any

from piccolo.columns import Boolean, Integer, Real, Serial, Timestamptz, Varchar
from piccolo.table import Table

from benchmarks.repository.cases import contender
from benchmarks.repository.model import THOUSAND, created

NAME = "Piccolo"


class Items(Table, tablename="bench_items"):  # type: ignore[call-arg]
    """The same table; its engine is set when it is opened."""

    id: Serial
    name = Varchar(100)
    email = Varchar(100)
    city = Varchar(50)
    age = Integer()
    score = Real()
    active = Boolean()
    note = Varchar(200, null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz()
    deleted_at = Timestamptz(null=True, default=None)


def live(query: Any) -> Any:
    """Leave out what is deleted."""
    return query.where(Items.deleted_at.is_null())


def ordered(query: Any, offset: int) -> Any:
    """Make it a page."""
    found = live(query).order_by(Items.created_at, ascending=False).order_by(Items.id, ascending=False)
    return found.limit(50).offset(offset)


@contender("get", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await live(Items.objects()).where(Items.id == n).first()


@contender("get rows", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await live(Items.select()).where(Items.id == n).first()


@contender("list 50", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await ordered(Items.objects(), n % 100)


@contender("list 50 rows", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await ordered(Items.select(), n % 100)


@contender("total", NAME, "peer", ground="piccolo")
async def _(_t: object, _n: int) -> object:
    return await ordered(Items.objects(), 0), await live(Items.count())


@contender("total rows", NAME, "peer", ground="piccolo")
async def _(_t: object, _n: int) -> object:
    return await ordered(Items.select(), 0), await live(Items.count())


@contender("create", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await Items.objects().create(**created(n))


@contender("create rows", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await Items.insert(Items(**created(n))).returning(*Items.all_columns())


@contender("update", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    found = await live(Items.objects()).where(Items.id == n).first()
    found.name = "new"
    await found.save([Items.name])
    return found


@contender("update rows", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await live(Items.update({Items.name: "new"})).where(Items.id == n).returning(*Items.all_columns())


@contender("delete", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return bool(await Items.delete().where(Items.id == n).returning(Items.id))  # whether there was one, as ours tells


@contender("delete rows", NAME, "peer", ground="piccolo")
async def _(_t: object, n: int) -> object:
    return await Items.delete().where(Items.id == n).returning(Items.id)


@contender("1,000 returned", NAME, "peer", ground="piccolo")
async def _(_t: object, _n: int) -> object:
    return await Items.insert(*[Items(**row) for row in THOUSAND]).returning(*Items.all_columns())


@contender("1,000 sent", NAME, "peer", ground="piccolo")
async def _(_t: object, _n: int) -> object:
    return await Items.insert(*[Items(**row) for row in THOUSAND])
