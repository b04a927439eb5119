"""What a column type takes, as a function of one value; and of many values at once where that is cheaper."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Time,
    Uuid,
)
from sqlalchemy.types import TypeEngine

from svc_infra.db.sql.capabilities import Capabilities
from svc_infra.db.sql.types import ExactDecimal

__all__ = ["Check", "Unfit", "check_of", "fitted_together", "is_known"]

# SQLAlchemy stores it as a datetime counted from 1970, and MySQL's begin in the year 1000.
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (as SQLAlchemy's)
_SHORTEST, _LONGEST = dt.datetime(1000, 1, 1) - _EPOCH, dt.datetime.max - _EPOCH  # noqa: DTZ001, DTZ901

Check: TypeAlias = Callable[[Any], Any]
"""Gives the value as the column takes it, or raises `Unfit`."""


class Unfit(Exception):
    """A value does not fit; the text says what would."""


def check_of(kind: TypeEngine[Any], capabilities: Capabilities) -> Check | None:
    """The check for values of a column type; None when it is not known here."""
    for known, make in _MAKERS:
        if isinstance(kind, known):
            return make(kind, capabilities)
    return None


def is_known(kind: TypeEngine[Any]) -> bool:
    """Whether a column type is one of SQLAlchemy's own that every driver knows."""
    return any(isinstance(kind, known) for known, _ in _MAKERS)


def _text(kind: Any, capabilities: Capabilities) -> Check:
    return partial(_check_text, length=kind.length, nul=capabilities.has_nul_text)


def _check_text(value: Any, *, length: int | None, nul: bool) -> str:
    if not isinstance(value, str):
        raise Unfit("a str")
    if length is not None and len(value) > length:
        raise Unfit(f"a str of at most {length} characters")
    if not nul and "\0" in value:
        raise Unfit("a str without NUL characters (\\x00)")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("a str of Unicode characters, not of lone surrogates") from None
    # A driver may take a member of a StrEnum for something else than its text.
    return value if type(value) is str else str.__str__(value)


def _enum(kind: Any, _: Capabilities) -> Check:
    return partial(_check_enum, names=frozenset(kind.enums), members=kind.enum_class)


def _check_enum(value: Any, *, names: frozenset[str], members: type | None) -> Any:
    if (members is not None and isinstance(value, members)) or (isinstance(value, str) and value in names):
        return value
    raise Unfit(f"one of {', '.join(sorted(names))}")


def _integer(kind: Any, capabilities: Capabilities) -> Check:
    bits = 64 if isinstance(kind, BigInteger) else 16 if isinstance(kind, SmallInteger) else 32
    return partial(_check_integer, limit=2 ** (max(bits, capabilities.integer_bits) - 1) if bits > 16 else 2**15)


def _check_integer(value: Any, *, limit: int) -> int:
    if not isinstance(value, int):
        raise Unfit("an int")
    if not -limit <= value < limit:
        raise Unfit(f"an int from {-limit} to {limit - 1}")
    return int(value)


def _float(_: Any, capabilities: Capabilities) -> Check:
    return partial(_check_float, special=capabilities.has_special_floats)


def _check_float(value: Any, *, special: bool) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit("a float")
    try:
        is_finite = math.isfinite(value)
    except (OverflowError, ValueError):
        is_finite = False
    if not is_finite and not (special and isinstance(value, float)):
        raise Unfit("a finite number of the size of a float")
    return value


def _numeric(kind: Any, _: Capabilities) -> Check:
    if kind.precision is None:
        return partial(_check_numeric, whole=131_072, limit=None)
    scale = max(kind.scale or 0, 0)
    whole = kind.precision - scale
    # From here on a number is rounded to one digit more than there is place for.
    return partial(_check_numeric, whole=whole, limit=Decimal(f"{'9' * whole or '0'}.{'9' * scale}5"))


def _check_numeric(value: Any, *, whole: int, limit: Decimal | None) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit("a Decimal")
    number = Decimal(value) if not isinstance(value, float) else Decimal(repr(value))
    if not number.is_finite():
        raise Unfit("a finite Decimal")
    if number.adjusted() >= whole if limit is None else number.copy_abs() >= limit:
        raise Unfit(f"a Decimal of at most {whole} digits before the point")
    # PostgreSQL's limits (manual, "Numeric Types") are the widest.
    if number.adjusted() < -16_383:
        raise Unfit("a Decimal of at most 16383 digits after the point")
    return value if type(value) in {int, Decimal} else number


def _boolean(_: Any, __: Capabilities) -> Check:
    return partial(_check_instance, wanted=bool, name="a bool")


def _check_instance(value: Any, *, wanted: Any, name: str) -> Any:
    if not isinstance(value, wanted):
        raise Unfit(name)
    return value


def _uuid(kind: Any, _: Capabilities) -> Check:
    return partial(_check_uuid, as_text=not kind.as_uuid)


def _check_uuid(value: Any, *, as_text: bool) -> Any:
    if isinstance(value, str):
        try:
            value = uuid.UUID(value)
        except ValueError:
            raise Unfit("a UUID") from None
    if not isinstance(value, uuid.UUID):
        raise Unfit("a UUID")
    return str(value) if as_text else value


def _date(_: Any, __: Capabilities) -> Check:
    return _check_date


def _check_date(value: Any) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise Unfit("a date")
    return value


def _datetime(kind: Any, capabilities: Capabilities) -> Check:
    if not kind.timezone:
        return _check_naive
    return _check_aware if capabilities.has_time_zones else _to_utc


def _check_naive(value: Any) -> dt.datetime:
    if not isinstance(value, dt.datetime) or value.tzinfo is not None:
        raise Unfit("a datetime without time zone")
    return value


def _check_aware(value: Any) -> dt.datetime:
    if not isinstance(value, dt.datetime) or value.utcoffset() is None:
        raise Unfit("a datetime with time zone")
    if not 1 < value.year < 9999:
        _in_utc(value)
    return value


def _in_utc(value: dt.datetime) -> dt.datetime:
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:
        raise Unfit("a datetime that in UTC lies in the years 1 to 9999") from None


def _to_utc(value: Any) -> dt.datetime:
    # The database keeps no zone: what is read from it is naive and means UTC, and may be written again.
    if not isinstance(value, dt.datetime):
        raise Unfit("a datetime with time zone")
    if value.tzinfo is None:
        return value
    return _in_utc(value).replace(tzinfo=None)


def _time(kind: Any, _: Capabilities) -> Check:
    return partial(_check_time, aware=bool(kind.timezone))


def _check_time(value: Any, *, aware: bool) -> dt.time:
    if not isinstance(value, dt.time) or (value.tzinfo is not None) is not aware:
        raise Unfit(f"a time {'with' if aware else 'without'} time zone")
    return value


def _interval(_: Any, capabilities: Capabilities) -> Check:
    return partial(_check_interval, native=capabilities.has_intervals)


def _check_interval(value: Any, *, native: bool) -> dt.timedelta:
    if not isinstance(value, dt.timedelta):
        raise Unfit("a timedelta")
    if not native and not _SHORTEST <= value <= _LONGEST:
        raise Unfit("a timedelta of at most 969 years back and 8029 ahead, which is stored as a time since 1970")
    return value


def _binary(kind: Any, _: Capabilities) -> Check:
    return partial(_check_binary, length=kind.length)


def _check_binary(value: Any, *, length: int | None) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise Unfit("bytes")
    found = bytes(value)
    if length is not None and len(found) > length:
        raise Unfit(f"at most {length} bytes")
    return found


def _json(_: Any, capabilities: Capabilities) -> Check:
    return partial(_check_json, nul=capabilities.has_nul_text)


def _check_json(value: Any, *, nul: bool) -> Any:
    # Other types are the serializer's to refuse, which may be the engine's own.
    pending, seen = [value], set[int]()
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping | list | tuple):
            # What holds itself is the serializer's to refuse, and has no end here.
            if id(part) in seen:
                continue
            seen.add(id(part))
        if isinstance(part, str):
            if not nul and "\0" in part:
                raise Unfit("JSON without NUL characters (\\u0000)")
            if not part.isascii() and any("\ud800" <= letter <= "\udfff" for letter in part):
                raise Unfit("JSON of Unicode characters, not of lone surrogates")
        elif isinstance(part, Mapping):
            pending.extend(part)
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)
        elif isinstance(part, float) and not math.isfinite(part):
            raise Unfit("JSON, which has neither NaN nor infinities")
    return value


def _array(kind: Any, capabilities: Capabilities) -> Check:
    return partial(_check_array, check=check_of(kind.item_type, capabilities))


def _check_array(value: Any, *, check: Check | None) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise Unfit("a list")
    if check is None:
        return list(value)
    return [
        part if part is None else _check_array(part, check=check) if isinstance(part, list | tuple) else check(part)
        for part in value
    ]


# The first that fits: a subclass stands before its base (Enum is a String, Float a Numeric).
_MAKERS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any, Capabilities], Check]], ...] = (
    (Enum, _enum),
    (String, _text),
    (Integer, _integer),
    (Float, _float),
    (Numeric, _numeric),
    (ExactDecimal, _numeric),
    (Boolean, _boolean),
    (Uuid, _uuid),
    (DateTime, _datetime),
    (Date, _date),
    (Time, _time),
    (Interval, _interval),
    (LargeBinary, _binary),
    (ARRAY, _array),
    (JSON, _json),
)


def fitted_together(check: Check, kind: type, values: Sequence[Any], *, has_none: bool) -> Sequence[Any] | None:
    """Values of one Python type, and None if `has_none`, as a check gives them, when it takes all; None says nothing.

    A hundred values cost about what one does in the check itself.
    """
    if kind is dt.datetime:
        return _instants_together(check, values)
    present = [value for value in values if value is not None] if has_none else values
    return values if isinstance(check, partial) and _fit_together(check, kind, present) else None


def _instants_together(check: Check, values: Sequence[Any]) -> Sequence[Any] | None:
    zones = {None if value is None else value.tzinfo for value in values}
    if check is _check_naive:
        return values if zones == {None} else None
    has_none = None in zones
    zones.discard(None)
    # Of any other kind of zone an instant may have no offset, which is to be asked one by one.
    if not all(isinstance(zone, dt.timezone | ZoneInfo) for zone in zones):
        return None
    if has_none and any(value is not None and value.tzinfo is None for value in values):
        return None
    if check is _check_aware:
        return values
    if check is _to_utc and zones == {dt.UTC}:
        return [None if value is None else value.replace(tzinfo=None) for value in values]
    return None


def _fit_together(check: partial[Any], kind: type, present: Sequence[Any]) -> bool:
    given = check.keywords
    if kind not in {str, int, float}:
        return check.func is _check_instance and bool(kind is given["wanted"])
    if check.func is _check_text and kind is str:
        joined = "".join(present)
        long = given["length"] is not None and max(map(len, present)) > given["length"]
        return not long and joined.isascii() and (given["nul"] or "\0" not in joined)
    if check.func is _check_integer and kind is int:
        limit: int = given["limit"]
        return bool(min(present) >= -limit and max(present) < limit)
    return check.func is _check_float and kind is float and all(map(math.isfinite, present))
