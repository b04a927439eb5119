"""The table of the benchmark: eleven columns, as a service might have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, Index, String, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of this benchmark."""


class Instant(DateTime):
    """An instant. SQLite's column has the name by which Piccolo knows to turn text into a datetime, as others do."""


@compiles(Instant, "sqlite")
def _named(_type: Instant, _compiler: Any, **_options: object) -> str:
    return "TIMESTAMPTZ"


class Item(Base):
    """A row of eleven columns."""

    __tablename__ = "bench_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(100))
    city: Mapped[str] = mapped_column(String(50))
    age: Mapped[int]
    score: Mapped[float]
    active: Mapped[bool]
    note: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(Instant(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(Instant(timezone=True), server_default=func.now())
    deleted_at: Mapped[datetime | None] = mapped_column(Instant(timezone=True))
    __table_args__ = (Index("ix_bench_items_created_at_id", "created_at", "id"),)


T = Item.__table__
COLUMNS = ", ".join(column.name for column in T.columns)
START = datetime(2020, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sample(number: int) -> dict[str, Any]:
    """The values of a row of the table.

    `created_at` has another order than the rows in the table, as any column has that is changed or not counted up; in
    the order of the table, which the database reads from one end to the other, OFFSET costs half.
    """
    return _row(number, START + timedelta(seconds=number * 7919 % 1_000_003))


def created(number: int) -> dict[str, Any]:
    """The values of a row that is created while those of the table are there: newer than they, as such a row is."""
    return _row(number, NOW + timedelta(seconds=number))


def _row(number: int, created_at: datetime) -> dict[str, Any]:
    return {
        "name": f"name {number}",
        "email": f"user{number}@example.com",
        "city": f"city {number % 97}",
        "age": number % 90,
        "score": number / 7,
        "active": number % 2 == 0,
        "note": None,
        "created_at": created_at,
    }


WRITTEN = tuple(sample(0))
THOUSAND = [created(number) for number in range(1000)]
"""The rows that are created at once, as a service has them; nobody's time is that of making them up."""
