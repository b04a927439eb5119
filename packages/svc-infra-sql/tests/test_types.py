"""Column types that mean the same on every database."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.types import ExactDecimal, UtcDateTime

payments = Table(
    "payments",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime),
    Column("amount", ExactDecimal(18, 4)),
)
BERLIN = dt.timezone(dt.timedelta(hours=2))


async def make(url: str) -> Database:
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(payments.metadata.create_all)
    return database


async def test_moments_are_compared_and_ordered_as_moments(database_url: str) -> None:
    """What zone a moment was written or asked in makes no difference, and microseconds are kept."""
    moments = [
        dt.datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 6, 1, 13, 30, tzinfo=BERLIN),
        dt.datetime(2026, 6, 1, 12, 0, tzinfo=dt.UTC),
    ]
    async with await make(database_url) as database:
        async with database.session() as session:
            await session.execute(insert(payments), [{"id": n, "at": at} for n, at in enumerate(moments)])
        async with database.session() as session:
            ordered = (await session.execute(select(payments.c.at).order_by(payments.c.at))).scalars().all()
            noon = dt.datetime(2026, 6, 1, 14, 0, tzinfo=BERLIN)
            found = (await session.execute(select(payments.c.id).where(payments.c.at == noon))).scalars().all()
    assert ordered == sorted(moments)
    assert all(moment.utcoffset() == dt.timedelta() for moment in ordered)
    assert found == [2]


async def test_a_naive_moment_is_refused(sqlite_url: str) -> None:
    """A date and time without a zone does not say which moment it means."""
    async with await make(sqlite_url) as database:
        with pytest.raises(InvalidValue):
            async with database.session() as session:
                await session.execute(insert(payments).values(id=1, at=dt.datetime(2026, 6, 1, 12, 0)))  # noqa: DTZ001


async def test_decimals_are_added_up_and_rounded_exactly(database_url: str) -> None:
    """Ten times a tenth is one, large amounts keep their last digit, and halves are rounded away from zero."""
    amounts = [Decimal("0.1")] * 10 + [Decimal("99999999999999.9999"), Decimal("-0.00005")]
    async with await make(database_url) as database:
        async with database.session() as session:
            await session.execute(insert(payments), [{"id": n, "amount": a} for n, a in enumerate(amounts)])
        async with database.session() as session:
            tenths = select(func.sum(payments.c.amount)).where(payments.c.id < 10)
            assert (await session.execute(tenths)).scalar_one() == Decimal("1.0000")
            largest = select(func.max(payments.c.amount))
            assert (await session.execute(largest)).scalar_one() == Decimal("99999999999999.9999")
            rounded = select(payments.c.amount).where(payments.c.amount < 0)
            assert (await session.execute(rounded)).scalar_one() == Decimal("-0.0001")


async def test_a_decimal_with_too_many_digits_is_refused(sqlite_url: str) -> None:
    """SQLite would take any number; the type does not."""
    async with await make(sqlite_url) as database:
        with pytest.raises(InvalidValue):
            async with database.session() as session:
                await session.execute(insert(payments).values(id=1, amount=Decimal(10) ** 14))
