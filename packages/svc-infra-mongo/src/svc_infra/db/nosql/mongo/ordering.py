"""The order of documents, always total, and cursors that continue in it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from svc_infra.db.nosql.mongo.errors import InvalidQuery, UnknownField

__all__ = ["Order", "OrderBy", "Page", "decode_cursor", "encode_cursor", "following", "parse_order", "turned"]

T = TypeVar("T")

OrderBy: TypeAlias = "str | Sequence[str]"
"""Field names, each with "-" before it for descending: `"-created_at,name"` or `["-created_at", "name"]`."""

Order: TypeAlias = tuple[tuple[str, int], ...]

_SIGNATURE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of documents.

    Attributes:
        items: The documents.
        next: Cursor of the page after it, None at the end.
        previous: Cursor of the page before it, None at the beginning.
    """

    items: list[T]
    next: str | None
    previous: str | None


def parse_order(order_by: OrderBy | None, id_attr: str, allowed: Collection[str] | None) -> Order:
    """Return the order with the id appended, so that no two documents are equal in it.

    Raises:
        UnknownField: A name is not among `allowed`, or can't be a field's name.
    """
    names = order_by.split(",") if isinstance(order_by, str) else list(order_by or ())
    order: list[tuple[str, int]] = []
    for given in names:
        if not isinstance(given, str):
            raise InvalidQuery(f"order_by holds {given!r}; give field names such as '-created_at'")
        text = given.strip()
        name, direction = (text[1:], -1) if text.startswith("-") else (text.removeprefix("+"), 1)
        if not name or name.startswith("$") or "\0" in name or (allowed is not None and name not in allowed):
            raise UnknownField(f"documents can't be ordered by {name!r}")
        name = "_id" if name == id_attr else name
        if all(name != known for known, _ in order):
            order.append((name, direction))
    if all(name != "_id" for name, _ in order):
        order.append(("_id", order[-1][1] if order else 1))
    return tuple(order)


def turned(order: Order) -> Order:
    """Return the order from its end."""
    return tuple((name, -direction) for name, direction in order)


def following(order: Order, values: Sequence[Any]) -> dict[str, Any]:
    """Return the condition that a document comes after the one with these values.

    MongoDB orders null and absent first, and compares only values of one type, so null is a case of its own.
    """
    alternatives: list[dict[str, Any]] = []
    for position, (name, direction) in enumerate(order):
        equal = [{known: {"$eq": values[index]}} for index, (known, _) in enumerate(order[:position])]
        later = _later(name, direction, values[position])
        if later is not None:
            alternatives.append({"$and": [*equal, later]})
    return {"$or": alternatives} if alternatives else {"_id": {"$in": []}}


def _later(name: str, direction: int, value: object) -> dict[str, Any] | None:
    if direction > 0:
        return {name: {"$ne": None}} if value is None else {name: {"$gt": value}}
    return None if value is None else {"$or": [{name: {"$lt": value}}, {name: {"$eq": None}}]}


def encode_cursor(order: Order, document: Mapping[str, Any], secret: bytes | None) -> str:
    """Return an opaque text for the place of a document in an order, signed if there is a secret."""
    import bson

    values = [_at(document, name) for name, _ in order]
    packed: bytes = bson.encode({"o": _spell(order), "v": values}, codec_options=_codec())
    return base64.urlsafe_b64encode(_sign(packed, secret) + packed).rstrip(b"=").decode()


def decode_cursor(cursor: str, order: Order, secret: bytes | None) -> list[Any]:
    """Return the values of a cursor.

    Raises:
        InvalidQuery: The text is no cursor of this order, or was changed.
    """
    import bson
    from bson.errors import BSONError

    try:
        data = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        packed = data[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(_sign(packed, secret), data[:_SIGNATURE_BYTES]):
            raise InvalidQuery("the cursor was changed, or comes from another service")
        found: dict[str, Any] = bson.decode(packed, codec_options=_codec())
    except (ValueError, binascii.Error, BSONError, AttributeError) as error:
        if isinstance(error, InvalidQuery):
            raise
        raise InvalidQuery("the text is no cursor") from error
    if found.get("o") != _spell(order) or len(found.get("v", ())) != len(order):
        raise InvalidQuery("the cursor belongs to another order; ask for the first page again")
    values: list[Any] = found["v"]
    return values


def _sign(packed: bytes, secret: bytes | None) -> bytes:
    return hmac.new(secret or b"public", packed, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _spell(order: Order) -> str:
    return ",".join(f"{'-' if direction < 0 else ''}{name}" for name, direction in order)


def _at(document: Mapping[str, Any], name: str) -> object:
    value: object = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _codec() -> Any:
    from bson.binary import UuidRepresentation
    from bson.codec_options import CodecOptions

    return CodecOptions(uuid_representation=UuidRepresentation.STANDARD, tz_aware=True)
