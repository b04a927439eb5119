"""Input that no column can hold: a typed error before anything is sent, on every database."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    Enum,
    Float,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Time,
    Uuid,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.capabilities import capabilities_of
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue
from svc_infra.db.sql.filters import AnyOf, Compare, Filter, field
from svc_infra.db.sql.repository import SqlRepository


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Thing(ModelBase):
    __tablename__ = "bad_things"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    text: Mapped[str | None] = mapped_column(String(5))
    small: Mapped[int | None] = mapped_column(SmallInteger)
    number: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(BigInteger)
    ratio: Mapped[float | None] = mapped_column(Float)
    money: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    flag: Mapped[bool | None]
    day: Mapped[dt.date | None] = mapped_column(Date)
    naive: Mapped[dt.datetime | None] = mapped_column(DateTime)
    aware: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    clock: Mapped[dt.time | None] = mapped_column(Time)
    span: Mapped[dt.timedelta | None] = mapped_column(Interval)
    blob: Mapped[bytes | None] = mapped_column(LargeBinary(4))
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour, native_enum=False, length=10))
    data: Mapped[object | None] = mapped_column(JSON)


class Word(enum.StrEnum):
    YES = "yes"


TABLES = [Thing.__table__]
things = SqlRepository(Thing)
EAST, WEST = dt.timezone(dt.timedelta(hours=14)), dt.timezone(-dt.timedelta(hours=14))
NAIVE, AWARE = dt.datetime(2026, 1, 2, 3, 4, 5), dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)  # noqa: DTZ001

BAD: list[tuple[str, object]] = [
    ("text", 1), ("text", b"x"), ("text", "too long"), ("text", "\ud800"), ("text", ["a"]), ("text", {}),
    ("small", 2**15), ("small", -(2**15) - 1), ("number", "1"), ("number", 1.5), ("number", 10**20),
    ("big", 2**63), ("big", -(2**63) - 1), ("big", 12345678901234567890), ("big", Decimal(1)),
    ("ratio", "1"), ("ratio", True), ("ratio", 10**400), ("money", "1"), ("money", Decimal("NaN")),
    ("money", Decimal(10) ** 8), ("money", float("inf")), ("money", Decimal("1e999999")),
    ("flag", 1), ("flag", "true"), ("day", "2026-01-02"), ("day", NAIVE), ("naive", AWARE), ("naive", "2026-01-02"),
    ("naive", dt.date(2026, 1, 2)), ("aware", dt.date(2026, 1, 2)), ("clock", "03:04"),
    ("clock", dt.time(1, tzinfo=dt.UTC)), ("span", 5), ("blob", "text"), ("blob", b"12345"),
    ("colour", "green"), ("colour", "red "), ("colour", 1), ("id", "not-a-uuid"), ("id", 5), ("id", b"1"),
    ("data", {"a": float("nan")}), ("data", {"a": object()}), ("data", {1, 2}), ("data", ["\ud800"]),
]  # fmt: skip
GOOD: dict[str, object] = {
    "text": "äöü€\U0001f600", "small": -(2**15), "number": 2**31 - 1, "big": 2**63 - 1, "ratio": 0.1,
    "money": Decimal("12345678.90"), "flag": True, "day": dt.date(2026, 1, 2), "naive": NAIVE, "aware": AWARE,
    "clock": dt.time(3, 4, 5), "span": dt.timedelta(days=1, seconds=2), "blob": b"\x00\xff", "colour": Colour.RED,
    "data": {"a": [1, None, "\u00e4"]},
}  # fmt: skip


async def test_a_value_that_its_column_can_t_hold_is_refused_before_anything_is_sent(session, statements) -> None:
    """Creates, updates and filters refuse it; the session goes on; the message names the field, not the value."""
    row = await things.create(session, GOOD)
    statements.taken()
    for name, value in BAD:
        calls = [things.create(session, {name: value})]
        calls.append(things.get(session, value) if name == "id" else things.update(session, row.id, {name: value}))
        if name != "data":
            calls.append(things.list(session, limit=1, where=field(name).eq(value)))
            calls.append(things.count(session, where=field(name).in_([value])))
        for call in calls:
            with pytest.raises(InvalidValue) as caught:
                await call
            assert "not-a-uuid" not in str(caught.value)
    assert statements.taken() == []
    assert await things.exists(session, row.id)


async def test_a_value_at_the_edge_of_its_column_survives_the_round_trip(session: AsyncSession) -> None:
    """What is accepted comes back equal."""
    row = await things.create(session, GOOD)
    session.expunge_all()
    found = await things.get(session, str(row.id))
    assert found is not None
    for name, value in GOOD.items():
        got = getattr(found, name)
        if name == "aware" and got.tzinfo is None:
            got = got.replace(tzinfo=dt.UTC)
        assert got == value, name


async def test_an_instant_is_stored_as_utc_where_the_database_keeps_no_zone(session: AsyncSession) -> None:
    """An aware time of another zone is the same instant when it comes back."""
    eastern = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    row = await things.create(session, {"aware": eastern})
    session.expunge_all()
    got = (await things.get_one(session, row.id)).aware
    assert got is not None
    assert (got if got.tzinfo else got.replace(tzinfo=dt.UTC)) == eastern
    assert await things.count(session, where=field("aware").eq(eastern)) == 1


async def test_nul_characters_are_refused_where_text_can_t_hold_them(session: AsyncSession) -> None:
    """PostgreSQL has no NUL in text; every search refuses it."""
    with pytest.raises(InvalidValue, match="NUL"):
        await things.search(session, q="a\0b", fields=["text"], limit=1)
    with pytest.raises(InvalidValue, match="NUL"):
        await things.list(session, limit=1, where=field("text").contains("a\0"))
    if session.get_bind().dialect.name not in {"mysql", "mariadb"}:
        with pytest.raises(InvalidValue, match="NUL"):
            await things.create(session, {"text": "a\0b"})
        with pytest.raises(InvalidValue, match="NUL"):
            await things.create(session, {"data": {"k": ["\0"]}})
    assert await things.count(session) == 0


async def test_a_filter_that_means_nothing_is_refused(session: AsyncSession) -> None:
    """Unknown names and operators, lists for scalars, None in comparisons, plain values as conditions."""
    for where in (
        field("nothing").eq(1),
        field("number").any(),
        field("data.x").eq(1),
        field("number").gt(None),
        field("number").in_([None]),
        Compare("number", "in", 5),
        Compare("number", "in", "12"),
        Compare("number", "between", 5),
        Compare("number", "is_null", "yes"),
        Compare("text", "contains", 5),
        [True],
        "number > 3",
    ):
        with pytest.raises(InvalidQuery):
            await things.list(session, limit=1, where=where)
    with pytest.raises(InvalidQuery, match="operator"):
        Compare("number", "equals", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        bool(field("number").eq(1))
    deep = field("number").eq(1)
    for _ in range(200):
        deep = ~deep
    with pytest.raises(InvalidQuery, match="nested"):
        await things.list(session, limit=1, where=deep)
    assert await things.count(session) == 0


async def test_no_text_of_a_client_makes_a_search_or_filter_fail_otherwise(session, statements) -> None:
    """NUL, lone surrogates, ten million characters, other types: refused before anything is sent."""
    for q in ("\0", "\ud800", "x" * 10_000_000, 5.5, None, b"x", float("nan"), ["a"]):
        for operator in ("contains", "icontains", "starts_with", "ends_with", "like", "ilike"):
            with pytest.raises(InvalidValue):
                await things.list(session, limit=1, where=Compare("text", operator, q))
        if q is not None:
            with pytest.raises(InvalidValue):
                await things.count(session, q=q, fields=["text"])
        for wrong in (Compare("number", "between", (q, q)), Compare("number", "in", [q]), Compare("id", "eq", [q])):
            with pytest.raises(InvalidValue):
                await things.list(session, limit=1, where=wrong)
        with pytest.raises(InvalidValue):
            await things.page(session, limit=1, cursor=q if q is not None else 1)
    assert statements.taken() == []
    assert await things.count(session, q="%" * 10_000, fields=["text"]) == 0


async def test_no_name_of_a_client_reaches_the_database(session, statements) -> None:
    """Unknown, dotted, huge and of another type: for fields, orders, keys and scopes."""
    for name in ("nothing", "a.b.c", "x" * 1_000_000, "\0", "\ud800", "", "data.x", "metadata", "__class__", 5, None):
        calls = [
            lambda name=name: things.create(session, {name: 1}),
            lambda name=name: things.list(session, limit=1, where=Compare(name, "eq", 1)),
            lambda name=name: things.search(session, q="a", fields=[name], limit=1),
            lambda name=name: things.upsert(session, {"text": "a"}, on=[name]),
            lambda name=name: things.scoped({name: 1}).count(session),
            lambda name=name: things.list(session, limit=1, order_by=[name]),
        ]
        for call in calls:
            with pytest.raises(InvalidQuery) as caught:
                await call()
            assert len(str(caught.value)) < 1000
    for order_by in (5, [5], float("inf"), [b"text"], [["text"]]):
        with pytest.raises(InvalidQuery):
            await things.list(session, limit=1, order_by=order_by)
    with pytest.raises(InvalidQuery):
        await things.list(session, limit=1, where=5)
    assert statements.taken() == []


async def test_a_filter_of_any_size_is_answered_or_refused(session: AsyncSession) -> None:
    """Deep, wide and long ones: what one database or Python can't walk through, none is given."""
    number = field("number")
    deep: Filter = number.eq(1)
    for _ in range(100_000):
        deep = ~deep
    wide = AnyOf(tuple(number.eq(n) for n in range(501)))
    for where in (deep, wide, [number.ne(n) for n in range(501)], field(".".join(["a"] * 5000)).eq(1)):
        with pytest.raises(InvalidQuery):
            await things.list(session, limit=1, where=where)
    assert await things.list(session, limit=1, where=AnyOf(tuple(number.eq(n) for n in range(490)))) == []
    assert await things.get_many(session, [uuid.UUID(int=n) for n in range(10_000)]) == []
    try:
        assert await things.count(session, where=number.in_(range(70_000))) == 0
    except InvalidValue:
        assert not capabilities_of(session.get_bind().dialect.name).has_arrays
    assert await things.count(session, q="a", fields=["text"] * 2000) == 0


async def test_json_is_neither_compared_nor_ordered_by(session, statements) -> None:
    """PostgreSQL has no equality of JSON, so none is offered anywhere; NULL and text can be asked for."""
    for where in (field("data").eq({}), field("data").in_([1]), field("data").gt("a"), field("data").between(1, 2)):
        with pytest.raises(InvalidQuery, match="JSON"):
            await things.list(session, limit=1, where=where)
    with pytest.raises(InvalidQuery, match="JSON"):
        await things.list(session, limit=1, order_by="-data")
    assert statements.taken() == []
    assert await things.count(session, where=[field("data").is_null(), ~field("data").contains("a")]) == 0


async def test_times_at_the_end_of_the_calendar_are_stored_or_refused(session: AsyncSession) -> None:
    """An instant beyond the year 9999 in UTC and the longest timedelta are no overflow inside of a driver."""
    for name, value in [
        ("aware", dt.datetime.max.replace(tzinfo=WEST)),
        ("aware", dt.datetime.min.replace(tzinfo=EAST)),
        ("span", dt.timedelta.max),
        ("span", dt.timedelta.min),
    ]:
        try:
            await things.create(session, {name: value})
        except InvalidValue:
            continue
        assert await things.count(session, where=field(name).eq(value)) == 1
    await session.rollback()
    assert await things.count(session) == 0


async def test_a_number_that_rounding_makes_too_large_is_refused(session, statements) -> None:
    """Numeric(10, 2) has eight digits before the point, also after the third one behind it is rounded away."""
    signalling, tiny = Decimal("sNaN"), Decimal("1e-20000")
    for value in (Decimal("99999999.995"), Decimal("-99999999.999"), 99999999.999, 10**8, signalling, tiny):
        with pytest.raises(InvalidValue, match="money"):
            await things.create(session, {"money": value})
        with pytest.raises(InvalidValue, match="money"):
            await things.create_many(session, [{"money": value}, {"money": Decimal(1)}])
    for value in (dt.datetime.max.replace(tzinfo=WEST), dt.datetime.min.replace(tzinfo=EAST)):
        with pytest.raises(InvalidValue, match="aware"):
            await things.create(session, {"aware": value})
    assert [each for each in statements.taken() if "SAVEPOINT" not in each] == []
    row = await things.create(session, {"money": Decimal("99999999.994"), "text": Word.YES})
    session.expunge_all()
    found = await things.get_one(session, row.id)
    assert (found.money, found.text, type(found.text)) == (Decimal("99999999.99"), "yes", str)


async def test_json_that_can_t_be_written_is_refused(session: AsyncSession) -> None:
    """What holds itself, is nested beyond any stack, or is of another type, one row or many."""
    circle: list[object] = []
    circle.append(circle)
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep, {"a": object()}, {(1, 2): 3}):
        for returning in (True, False):
            async with AsyncSession(session.bind) as own:
                with pytest.raises(InvalidValue):
                    await things.create_many(own, [{"data": value} for _ in range(60)], returning=returning)
        with pytest.raises(InvalidValue):
            await things.create(session, {"data": value})
    assert await things.count(session) == 0
