"""Rows become the JSON that the read schema promises, whoever writes it."""

from __future__ import annotations

import enum
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.columns import api_columns
from svc_infra.api.fastapi.db.sql.encode import RowEncoder


class Base(DeclarativeBase):
    """The tables of these tests."""


class Colour(enum.Enum):
    """Values of a column."""

    RED = "red"


class Reading(Base):
    """A column of each type that is written directly, one of which an instant."""

    __tablename__ = "readings"
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    name: Mapped[str]
    level: Mapped[float]
    is_valid: Mapped[bool]
    day: Mapped[date]
    key: Mapped[UUID]
    taken_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))


class Local(Base):
    """A date and time without offset."""

    __tablename__ = "locals"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(sa.DateTime())


class Both(Local):
    """An instant beside it."""

    instant: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


class Priced(Base):
    """Types that only Pydantic writes."""

    __tablename__ = "priced"
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal]
    colour: Mapped[Colour]
    image: Mapped[bytes]
    wait: Mapped[timedelta]


def encoder(model: type[object]) -> RowEncoder:
    """Return the encoder of all columns."""
    columns = api_columns(model)
    return RowEncoder(columns, tuple(columns))


MOMENT = datetime(2020, 1, 2, 3, 4)  # noqa: DTZ001 (as databases without offsets give it)
ROWS = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.text(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.uuids(),
    st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))])),
)


@given(st.lists(ROWS, max_size=5))
def test_both_writers_write_the_same_bytes(rows: list[tuple[Any, ...]]) -> None:
    """A row's ETag is a hash of its bytes, so no value may look otherwise because another column needs Pydantic."""
    fast, slow = encoder(Reading), encoder(Reading)
    assert fast._write is not None
    slow._write = None
    assert fast.many(rows) == slow.many(rows)
    assert [fast.one(row) for row in rows] == [slow.one(row) for row in rows]


def test_an_instant_without_offset_is_utc() -> None:
    """SQLite and MariaDB give instants without their offset."""
    row = (1, "a", 0.5, True, date(2020, 1, 2), UUID(int=7), MOMENT.replace(microsecond=600))
    assert json.loads(encoder(Reading).one(row))["taken_at"] == "2020-01-02T03:04:00.000600Z"


def test_a_time_without_offset_stays_without() -> None:
    """A column without a time zone promises none."""
    assert encoder(Local).one((1, MOMENT)) == b'{"id":1,"at":"2020-01-02T03:04:00"}'


def test_both_kinds_of_moments_keep_theirs() -> None:
    """One has an offset and the other has none, in the same row."""
    found = json.loads(encoder(Both).one((1, MOMENT, MOMENT)))
    assert found == {"id": 1, "at": "2020-01-02T03:04:00", "instant": "2020-01-02T03:04:00Z"}


def test_other_types_go_through_pydantic() -> None:
    """Decimals are texts, bytes are base64, durations ISO 8601, and enums their values."""
    found = json.loads(encoder(Priced).one((1, Decimal("1.50"), Colour.RED, b"\xff", timedelta(hours=1))))
    assert found == {"id": 1, "price": "1.50", "colour": "red", "image": "/w==", "wait": "PT1H"}


@pytest.mark.parametrize("stored", [b"raw", Decimal("1.5"), 2**70])
def test_a_value_of_another_type_is_still_answered(stored: object) -> None:
    """SQLite keeps what other programs store, whatever the column's type."""
    row = (1, stored, 0.5, True, date(2020, 1, 2), UUID(int=7), None)
    assert json.loads(encoder(Reading).one(row))["name"] is not None
    assert len(json.loads(encoder(Reading).many([row, row]))) == 2
