"""The JSON type of a column's values: what a body may hold, what a path or a query string may, what a response does.

Each type accepts exactly what the OpenAPI document says of it, and says there what the column can hold: the range of an
integer, the digits of a decimal, the length of a text. So what a client that keeps to the document sends is never
refused for its form, and what is refused is refused before the database sees it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from ctypes import c_float
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, LiteralString
from uuid import UUID

import orjson
import sqlalchemy as sa
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from svc_infra.api.fastapi.db.sql.postgres_types import Place, postgres_type

__all__ = ["body_type", "obvious_json", "response_type", "text_type"]

Column = sa.types.TypeEngine[Any]

# PostgreSQL and MySQL hold integers of these sizes; SQLite's are 64 bits whatever the declared type.
_INTEGER_BITS: Final[tuple[tuple[type[sa.types.TypeEngine[int]], int], ...]] = (
    (sa.SmallInteger, 16),
    (sa.BigInteger, 64),
    (sa.Integer, 32),
)
_LARGEST_SINGLE: Final = 3.4028234663852886e38
_SMALLEST_SINGLE: Final = 1.401298464324817e-45
_SINGLE_BITS: Final = 24
"""A Float of at most this precision is a single one in SQL."""

# No database of ours can hold NUL in a text.
_NO_NUL: Final = r"^[^\x00]*$"

_OFFSET: Final = r"([Zz]|[+-]\d\d:?\d\d)"
_DATE: Final = r"\d{4}-\d\d-\d\d"
_CLOCK: Final = r"\d\d:\d\d(:\d\d(\.\d+)?)?"
_AWARE: Final = re.compile(rf"{_DATE}[Tt ]{_CLOCK}{_OFFSET}")
_MAYBE_AWARE: Final = re.compile(rf"{_DATE}([Tt ]{_CLOCK}{_OFFSET}?)?")
_DAY: Final = re.compile(_DATE)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?")
_TIME_WITH_OFFSET: Final = re.compile(_TIME.pattern + _OFFSET)
_DURATION: Final = re.compile(r"[+-]?P[\dWDTHMS.]+")
_BASE64: Final = re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def body_type(kind: Column) -> object:
    """Return the annotation of a value in a request body, with the limits of its column."""
    return _annotation(kind, _BODY)


def text_type(kind: Column) -> object:
    """Return the annotation of a value in a path or a query string, with the limits of its column."""
    return _annotation(kind, _TEXT)


def response_type(kind: Column) -> object:
    """Return the annotation of a value in a response; what the database holds has no limits to check."""
    return _annotation(kind, _RESPONSE)


def obvious_json(kinds: Iterable[Column]) -> int | None:
    """Return orjson's options by which values of these columns become what `response_type` says; None when none do.

    An instant of a database without offsets is UTC, and a date and time of a column without one has none, so that
    columns of both kinds have no options in common.
    """
    others = [found for found in map(response_type, kinds) if found not in _OBVIOUS]
    if all(found == _AwareDatetime for found in others):
        return orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
    return orjson.OPT_UTC_Z if all(found == _NaiveDatetime for found in others) else None


_BODY: Final[Place] = "body"
_TEXT: Final[Place] = "text"
_RESPONSE: Final[Place] = "response"


def _annotation(kind: Column, place: Place) -> object:
    if isinstance(kind, sa.TypeDecorator) and not _says_python_type(kind):
        kind = kind.impl_instance
    if isinstance(kind, sa.Enum):
        return kind.enum_class if kind.enum_class is not None else Literal[tuple(kind.enums)]
    if isinstance(kind, sa.ARRAY):
        return _array(kind, place)
    if isinstance(kind, sa.JSON):
        return JsonValue
    if isinstance(kind, sa.Uuid):
        return UUID if kind.as_uuid else Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{32,36}$")]
    if isinstance(kind, (sa.DateTime, sa.Time)):
        return _moment(kind, place)
    found = postgres_type(kind, place, _annotation)
    if found is not None:
        return found
    try:
        python = kind.python_type
    except NotImplementedError:
        return JsonValue
    return _plain(python) if place == _RESPONSE else _limited(python, kind, place)


def _array(kind: sa.ARRAY[Any], place: Place) -> object:
    """Return the annotation of an array: of one dimension, or of as many as its type says; any item may be null."""
    found: Any = _annotation(kind.item_type, place)
    if kind.dimensions is None and isinstance(kind.item_type, sa.JSON) and place != _RESPONSE:
        # SQLAlchemy would take a list for one more dimension.
        found = dict[str, JsonValue] | str | bool | int | float
    found = found | None
    for _ in range(kind.dimensions or 1):
        found = list[found]
    return found if place == _RESPONSE or (kind.dimensions or 1) == 1 else Annotated[found, AfterValidator(_even)]


def _shape(value: object) -> tuple[int, ...]:
    """Return how long an array is in each dimension.

    Raises:
        PydanticCustomError: Its parts are not alike.
    """
    if not isinstance(value, list):
        return ()
    shapes = {_shape(part) for part in value}
    if len(shapes) > 1:
        raise PydanticCustomError("array_shape", "All parts of the array should be of one length")
    return (len(value), *(shapes.pop() if shapes else ()))


def _even(value: list[Any]) -> list[Any]:
    """Refuse an array with parts of several lengths, which PostgreSQL has none of."""
    _shape(value)
    return value


def _says_python_type(kind: sa.TypeDecorator[Any]) -> bool:
    return type(kind).python_type is not sa.types.TypeEngine.python_type


def _moment(kind: sa.DateTime | sa.Time, place: Place) -> object:
    is_response = place == _RESPONSE
    if isinstance(kind, sa.Time):
        if is_response:
            return _TimeWithOffset if kind.timezone else _TimeOfDay
        return _TimeWithOffsetInput if kind.timezone else _TimeOfDayInput
    if kind.timezone:
        return _AwareDatetime if is_response else _AwareDatetimeInput
    return _NaiveDatetime if is_response else _NaiveDatetimeInput


def _plain(python: type[object]) -> object:
    if python is bytes:
        return _Base64
    if python is Decimal:
        return _Decimal
    known = (bool, int, float, str, date, timedelta, UUID, list, dict)
    if python in known or issubclass(python, Enum):
        return python
    return JsonValue


def _limited(python: type[object], kind: Column, place: Place) -> object:
    if python is int:
        bits = next((bits for cls, bits in _INTEGER_BITS if isinstance(kind, cls)), 64)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        return Annotated[int, _Whole(low, high)] if place == _BODY else Annotated[int, Field(ge=low, le=high)]
    if python is float:
        if _is_single(kind):
            limits = Field(allow_inf_nan=False, ge=-_LARGEST_SINGLE, le=_LARGEST_SINGLE)
            return Annotated[float, limits, AfterValidator(_single)]
        return Annotated[float, Field(allow_inf_nan=False)]
    if python is str:
        length = getattr(kind, "length", None)
        return Annotated[str, Field(max_length=length, pattern=_NO_NUL)]
    if python is Decimal:
        return Annotated[Decimal, _Digits(getattr(kind, "precision", None), getattr(kind, "scale", None))]
    if python is date:
        return _DateInput
    if python is timedelta:
        return _DurationInput
    if python is bytes:
        return _Base64Input
    return _plain(python)


def _is_single(kind: Column) -> bool:
    if isinstance(kind, sa.REAL):
        return True
    return isinstance(kind, sa.Float) and (kind.precision or _SINGLE_BITS + 1) <= _SINGLE_BITS


@dataclass(frozen=True)
class _Whole:
    """Marks an integer of a JSON body: 5, and 5.0 too, which is the same number to JSON Schema."""

    low: int
    high: int

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        whole = core_schema.chain_schema(
            [core_schema.float_schema(strict=True, allow_inf_nan=False), core_schema.int_schema(strict=False)]
        )
        number = core_schema.union_schema(
            [core_schema.int_schema(strict=True), whole], mode="left_to_right", custom_error_type="int_type"
        )
        return core_schema.chain_schema([number, core_schema.int_schema(ge=self.low, le=self.high)])

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class _Digits:
    """Marks a decimal: a JSON number, or a text, which keeps every digit.

    Args:
        precision: Digits in all; None for any number.
        scale: Digits after the point; None for any number, unless there is a precision: then none.
    """

    precision: int | None
    scale: int | None

    @property
    def pattern(self) -> str:
        """What a text has to look like."""
        if self.precision is None:
            return r"^-?\d{1,1000}(\.\d{1,1000})?([Ee][+-]?\d{1,2})?$"
        scale = self.scale or 0
        before = max(self.precision - scale, 0)
        whole = rf"0*\d{{1,{before}}}" if before else "0+"
        return rf"^-?{whole}(\.\d{{1,{scale}}})?$" if scale else rf"^-?{whole}$"

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        scale = (self.scale or 0) if self.precision is not None else self.scale
        number = core_schema.decimal_schema(
            max_digits=self.precision, decimal_places=scale, allow_inf_nan=False, strict=False
        )
        pattern = re.compile(self.pattern)

        def check(value: object) -> object:
            if isinstance(value, bool) or (isinstance(value, str) and pattern.search(value) is None):
                raise PydanticCustomError("decimal_parsing", "Input should be a valid decimal")
            return value

        return core_schema.no_info_before_validator_function(check, number)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number: dict[str, Any] = {"type": "number"}
        if self.precision is not None:
            scale = self.scale or 0
            limit = 10 ** (self.precision - scale)
            number |= {"exclusiveMinimum": -limit, "exclusiveMaximum": limit}
            number["multipleOf"] = float(f"1e-{scale}") if scale else 1
        return {"anyOf": [number, {"type": "string", "pattern": self.pattern}]}


def _written_as(form: re.Pattern[str], what: LiteralString) -> BeforeValidator:
    """Refuse texts that Pydantic would understand and the document does not promise, such as a number for a time."""

    def check(value: object) -> object:
        if isinstance(value, str) and form.fullmatch(value):
            return value
        if isinstance(value, (str, int, float)):
            raise PydanticCustomError(what.split()[-1] + "_parsing", "Input should be a valid {what}", {"what": what})
        return value

    return BeforeValidator(check)


def _single(value: float) -> float:
    """Return the number that a column of single precision makes of *value*, so that it can be found by it again."""
    return c_float(value).value


def _within_utc(value: datetime) -> datetime:
    """Refuse a moment that is in no year of UTC, which neither a column nor Python can hold."""
    try:
        if value.tzinfo is not None:
            value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "Input should be a moment of the years 1 to 9999 in UTC") from None
    return value


def _naive(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


# A validator in Python gets the text as a Python value, which a strict date or time would refuse.
_LAX: Final = Strict(strict=False)

_AwareDatetimeInput = Annotated[
    AwareDatetime, _LAX, _written_as(_AWARE, "date and time with offset"), AfterValidator(_within_utc)
]
# SQLite stores no offset: what was written with one comes back as UTC without one.
_AwareDatetime = Annotated[datetime, PlainSerializer(_aware, return_type=datetime)]
_NaiveDatetimeInput = Annotated[
    datetime,
    _LAX,
    _written_as(_MAYBE_AWARE, "date and time"),
    AfterValidator(_within_utc),
    AfterValidator(_naive),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
_NaiveDatetime = Annotated[
    datetime, WithJsonSchema({"type": "string", "description": "Date and time without offset"}, mode="serialization")
]
_OBVIOUS: Final = (bool, date, float, int, str, UUID)
"""The types of values that every writer of JSON writes alike."""
_DateInput = Annotated[date, _LAX, _written_as(_DAY, "date")]
_TimeOfDayInput = Annotated[
    time,
    _LAX,
    _written_as(_TIME, "time"),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME.pattern}$", "examples": ["08:30:00"]}),
]
_TimeOfDay = Annotated[time, WithJsonSchema({"type": "string", "pattern": f"^{_TIME.pattern}$"})]
_TimeWithOffsetInput = Annotated[time, _LAX, _written_as(_TIME_WITH_OFFSET, "time with offset")]
_TimeWithOffset = time
_DurationInput = Annotated[timedelta, _LAX, _written_as(_DURATION, "duration")]
_Decimal = Annotated[Decimal, WithJsonSchema({"type": "string", "examples": ["12.50"]})]

_BASE64_SCHEMA: Final = {"type": "string", "contentEncoding": "base64"}
# The configuration of the outermost type decides how Pydantic writes bytes, so the type itself has to say it.
_Base64 = Annotated[
    bytes,
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str, when_used="json"),
    WithJsonSchema(_BASE64_SCHEMA),
]


def _decoded(value: object) -> object:
    if isinstance(value, str) and _BASE64.fullmatch(value):
        return b64decode(value)
    if isinstance(value, bytes):
        return value
    raise PydanticCustomError("base64_parsing", "Input should be valid base64")


_Base64Input = Annotated[
    bytes,
    _LAX,
    BeforeValidator(_decoded),
    WithJsonSchema({**_BASE64_SCHEMA, "pattern": f"^{_BASE64.pattern}$"}),
]
