"""The JSON types of the columns that PostgreSQL alone has: ranges, addresses, bits, `hstore` and what it reads as text.

A range is an object with the members `lower`, `upper` (null for none), `bounds` and `empty`, in bodies and in answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any, Final, Literal, LiteralString, TypeAlias, get_args

import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.ranges import AbstractMultiRange, AbstractSingleRange

__all__ = ["has_order", "postgres_type"]

Place: TypeAlias = Literal["body", "text", "response"]
"""Where a value stands: in a request body, in a path or a query string, in a response."""

_Kind: TypeAlias = sa.types.TypeEngine[Any]

_BOUNDS: Final[tuple[tuple[type[_Kind], type[_Kind], str, _Kind], ...]] = (
    (pg.INT4RANGE, pg.INT4MULTIRANGE, "IntegerRange", sa.Integer()),
    (pg.INT8RANGE, pg.INT8MULTIRANGE, "BigIntegerRange", sa.BigInteger()),
    (pg.NUMRANGE, pg.NUMMULTIRANGE, "NumberRange", sa.Numeric()),
    (pg.DATERANGE, pg.DATEMULTIRANGE, "DateRange", sa.Date()),
    (pg.TSRANGE, pg.TSMULTIRANGE, "LocalTimeRange", sa.DateTime()),
    (pg.TSTZRANGE, pg.TSTZMULTIRANGE, "TimeRange", sa.DateTime(timezone=True)),
)
"""Each kind of range, that of several, the name of its schema, and the type of its bounds."""

_READ_AS_TEXT: Final = (pg.MONEY, pg.TSVECTOR, pg.TSQUERY, pg.JSONPATH, pg.REGCLASS, pg.REGCONFIG)
_UNORDERED: Final = (*_READ_AS_TEXT, pg.HSTORE, AbstractSingleRange, AbstractMultiRange)
_ADDRESSES: Final = (pg.INET, pg.CIDR, pg.MACADDR, pg.MACADDR8)
_LARGEST_OID: Final = 2**32 - 1
_HARDWARE: Final = re.compile(r"[0-9A-Fa-f]{2}([:.-]?[0-9A-Fa-f]{2}){5}")
_LONG_HARDWARE: Final = re.compile(rf"{_HARDWARE.pattern}([:.-]?[0-9A-Fa-f]{{2}}){{0,2}}")

_NulFree = Annotated[str, Field(pattern=r"^[^\x00]*$")]
# Some drivers read an address as text, some as an object of `ipaddress`.
_Written = Annotated[Any, WithJsonSchema({"type": "string"})]


def has_order(kind: _Kind) -> bool:
    """Whether values of a column can be ordered, and be asked for by a query string."""
    return not isinstance(kind, _UNORDERED)


def postgres_type(kind: _Kind, place: Place, annotation: Callable[[_Kind, Place], object]) -> object | None:
    """Return the annotation of a value of PostgreSQL's own types; None for a type of another kind.

    Args:
        kind: The column's type.
        place: Where the value stands.
        annotation: Gives the annotation of any type, such as that of a range's bounds.
    """
    if isinstance(kind, pg.DOMAIN):
        return annotation(kind.data_type, place)
    if isinstance(kind, pg.OID):
        return annotation(sa.BigInteger(), place) if place == "response" else _oid(place, annotation)
    if isinstance(kind, _ADDRESSES):
        return _Written if place == "response" else _address(kind)
    if isinstance(kind, _READ_AS_TEXT):
        return str if place == "response" else _NulFree
    if isinstance(kind, pg.BIT):
        return _Written if place == "response" else _bits(kind)
    if isinstance(kind, pg.HSTORE):
        return dict[str, str | None] if place == "response" else dict[_NulFree, _NulFree | None]
    for single, multiple, name, bound in _BOUNDS:
        if isinstance(kind, (single, multiple)):
            found: Any = _range(name, bound, place, annotation)
            return found if isinstance(kind, single) else list[found]
    return None


def _oid(place: Place, annotation: Callable[[_Kind, Place], object]) -> object:
    number: Any = annotation(sa.BigInteger(), place)
    return Annotated[number, Field(ge=0, le=_LARGEST_OID)]


def _address(kind: _Kind) -> object:
    if isinstance(kind, pg.INET):
        return Annotated[_NulFree, _readable(ip_interface, "IP address")]
    if isinstance(kind, pg.CIDR):
        return Annotated[_NulFree, _readable(ip_network, "network address")]
    form = _LONG_HARDWARE if isinstance(kind, pg.MACADDR8) else _HARDWARE
    return Annotated[str, Field(pattern=f"^{form.pattern}$")]


def _readable(read: Callable[[str], object], what: LiteralString) -> AfterValidator:
    def check(value: str) -> str:
        try:
            read(value)
        except ValueError:
            raise PydanticCustomError("address_parsing", "Input should be a valid {what}", {"what": what}) from None
        return value

    return AfterValidator(check)


def _bits(kind: pg.BIT) -> object:
    if kind.varying:
        return Annotated[str, Field(pattern=rf"^[01]{{0,{kind.length}}}$" if kind.length else "^[01]*$")]
    return Annotated[str, Field(pattern=rf"^[01]{{{kind.length or 1}}}$")]


def _range(name: str, bound: _Kind, place: Place, annotation: Callable[[_Kind, Place], object]) -> object:
    if place == "response":
        return _shown(name, bound, annotation)
    found = _bodies.get(name)
    if found is None:
        kind: Any = annotation(bound, "body")
        limit = (kind | None, Field(default=None, description="Null for none."))
        fields: dict[str, Any] = {
            "lower": limit,
            "upper": limit,
            "bounds": (_Bounds, Field(default="[)", description="Which bounds belong to it: those in brackets.")),
            "empty": (bool, Field(default=False, description="Whether it holds nothing.")),
        }
        config = ConfigDict(extra="forbid", strict=True)
        found = _bodies[name] = create_model(name, __config__=config, __doc__="Values from one to another.", **fields)
    body: Any = found
    return Annotated[body, AfterValidator(_range_of)]


_Bounds = Literal["[)", "(]", "[]", "()"]
_bodies: Final[dict[str, type[BaseModel]]] = {}


def _range_of(body: Any) -> pg.Range[Any]:
    if body.empty and (body.lower is not None or body.upper is not None):
        raise PydanticCustomError("range_empty", "An empty range has no bounds")
    try:
        if body.lower is not None and body.upper is not None and body.lower > body.upper:
            raise PydanticCustomError("range_order", "The lower bound should not be above the upper one")
    except TypeError:
        pass
    return pg.Range(body.lower, body.upper, bounds=body.bounds, empty=body.empty)


def _shown(name: str, bound: _Kind, annotation: Callable[[_Kind, Place], object]) -> object:
    item: Any = annotation(bound, "response")
    limit = TypeAdapter[Any](item | None).json_schema(mode="serialization")
    members = {
        "lower": limit,
        "upper": limit,
        "bounds": {"type": "string", "enum": list(get_args(_Bounds))},
        "empty": {"type": "boolean"},
    }
    schema = {"type": "object", "title": name, "properties": members, "required": list(members)}
    return Annotated[Any, WithJsonSchema(schema)]
