"""Cursors: the place of a row in an order, as opaque text that a client hands back.

The text is signed, so a cursor that was cut, altered, or made for another model, order or scope (tenant) is refused
instead of giving a wrong page. Give the repository a `cursor_secret` to make that hold against forgery too; without one
the key is public. Either way a cursor is only a place: it shows no row that the repository would not.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import enum
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from svc_infra.db.sql.errors import InvalidValue

__all__ = ["Cursor", "CursorCodec"]

_LONGEST = 16_384
_SIGNATURE = 16
_ENCODERS: tuple[tuple[type, str, Callable[[Any], object]], ...] = (
    (enum.Enum, "e", lambda value: value.name),
    (bool, "v", bool),
    (int, "v", int),
    (str, "v", str),
    (float, "f", float.hex),
    (Decimal, "n", str),
    (dt.datetime, "t", dt.datetime.isoformat),
    (dt.date, "d", dt.date.isoformat),
    (dt.time, "o", dt.time.isoformat),
    (dt.timedelta, "i", lambda value: [value.days, value.seconds, value.microseconds]),
    (uuid.UUID, "u", lambda value: value.hex),
    (bytes, "b", bytes.hex),
)
_DECODERS: Mapping[str, Callable[[Any], object]] = MappingProxyType(
    {
        "e": str,
        "v": lambda value: value,
        "f": float.fromhex,
        "n": Decimal,
        "t": dt.datetime.fromisoformat,
        "d": dt.date.fromisoformat,
        "o": dt.time.fromisoformat,
        "i": lambda value: dt.timedelta(*value),
        "u": uuid.UUID,
        "b": bytes.fromhex,
    }
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a row.

    Attributes:
        values: The row's values of the order's keys.
        backwards: Whether the page before it is meant, and not the one after it.
    """

    values: tuple[Any, ...]
    backwards: bool = False


class CursorCodec:
    """Turns cursors into text and back.

    Args:
        secret: Key of the signature; None for a public one.
    """

    def __init__(self, secret: str | bytes | None = None) -> None:
        key = b"svc-infra cursor" if secret is None else secret.encode() if isinstance(secret, str) else secret
        self._key = hashlib.sha256(key).digest()

    def __repr__(self) -> str:
        return "<CursorCodec>"

    def encode(self, cursor: Cursor, context: str) -> str:
        """The text of a cursor that `decode` takes with the same context only.

        Raises:
            InvalidValue: When a value is of a type that rows can't be placed by.
        """
        content = [int(cursor.backwards), *(_encoded(value) for value in cursor.values)]
        payload = _to_json(content).encode()
        return base64.urlsafe_b64encode(self._sign(payload, context) + payload).rstrip(b"=").decode()

    def decode(self, text: object, context: str, length: int) -> Cursor:
        """The cursor of a text.

        Args:
            text: What `encode` gave.
            context: What it was given.
            length: How many keys the order has.

        Raises:
            InvalidValue: When the text is no cursor, or one for another context.
        """
        refusal = InvalidValue("the cursor is damaged, or was made for another order; begin again at the first page")
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise refusal
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise refusal from None
        signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(payload, context)):
            raise refusal
        try:
            backwards, *values = json.loads(payload)
            decoded = tuple(None if value is None else _DECODERS[value[0]](value[1]) for value in values)
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError):
            raise refusal from None
        if len(decoded) != length:
            raise refusal
        return Cursor(decoded, bool(backwards))

    def _sign(self, payload: bytes, context: str) -> bytes:
        # BLAKE2 with a key is a message authentication code (RFC 7693), at a fifth of the cost of HMAC.
        message = context.encode() + b"\0" + payload
        return hashlib.blake2b(message, key=self._key, digest_size=_SIGNATURE).digest()


_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_EXACT = {kind: (tag, encode) for kind, tag, encode in _ENCODERS}


def _encoded(value: object) -> Sequence[object] | None:
    if value is None:
        return None
    exact = _EXACT.get(type(value))
    if exact is not None:
        return (exact[0], exact[1](value))
    for kind, tag, encode in _ENCODERS:
        if isinstance(value, kind):
            return (tag, encode(value))
    raise InvalidValue(f"rows can't be paged by a {type(value).__name__}; order by another field")
