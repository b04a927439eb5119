"""The tables of the compliance suite."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    Enum,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.db.sql.types import ExactDecimal, UtcDateTime

__all__ = ["ArrayBase", "Base", "Colour", "Sample", "SampleArray", "Shelf", "Thing"]


# The columns of `Sample` are named for capabilities and would hide these.
Bytes = bytes
Float = float


class Base(DeclarativeBase):
    """The base of all but the table with an array, which not every database can create."""


class ArrayBase(DeclarativeBase):
    """The base of the table with an array."""


class Colour(enum.Enum):
    """Two words."""

    RED = "red"
    GREEN = "green"


class Shelf(Base):
    """What things refer to."""

    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class Thing(Base):
    """A row with every kind of constraint."""

    __tablename__ = "things"
    __table_args__ = (
        UniqueConstraint("name", name="uq_things_name"),
        CheckConstraint("size > 0", name="ck_things_size"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(40), nullable=False)
    size: Mapped[int | None]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelves.id", name="fk_things_shelf"))


class Sample(Base):
    """A row with a column of every type."""

    __tablename__ = "samples"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    uuid: Mapped[UUID | None] = mapped_column(Uuid)
    decimal: Mapped[Decimal | None] = mapped_column(ExactDecimal(18, 6))
    datetime: Mapped[dt.datetime | None] = mapped_column(UtcDateTime)
    date: Mapped[dt.date | None]
    json: Mapped[Any | None] = mapped_column(JSON)
    bytes: Mapped[Bytes | None] = mapped_column(LargeBinary)
    enum: Mapped[Colour | None] = mapped_column(Enum(Colour, name="colour"))
    text: Mapped[str | None] = mapped_column(String(200))
    boolean: Mapped[bool | None]
    bigint: Mapped[int | None] = mapped_column(BigInteger)
    float: Mapped[Float | None] = mapped_column(Double)


class SampleArray(ArrayBase):
    """A row with an array."""

    __tablename__ = "sample_arrays"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    numbers: Mapped[list[int]] = mapped_column(ARRAY(Integer))
