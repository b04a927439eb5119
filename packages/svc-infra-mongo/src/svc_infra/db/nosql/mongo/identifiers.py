"""The ids of documents: stored in their own type, shown as plain values, parsed from text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Literal, TypeAlias
from uuid import UUID

from svc_infra.db.nosql.mongo.errors import InvalidValue

__all__ = ["IdType", "new_id", "parse_id", "show_id"]

IdType: TypeAlias = Literal["objectid", "uuid", "str", "int"]
"""How ids are stored. ObjectIds are shown as text, the others as they are."""


def parse_id(value: object, id_type: IdType) -> object:
    """Return the stored form of an id; None when no document can have it.

    An id usually comes from a path or a body. It is never passed to the server as it is: a dict there would be an
    operator.
    """
    from bson import ObjectId

    if id_type == "objectid":
        if isinstance(value, ObjectId):
            return value
        return ObjectId(value) if isinstance(value, str) and ObjectId.is_valid(value) else None
    if id_type == "uuid":
        if isinstance(value, UUID):
            return value
        try:
            return UUID(value) if isinstance(value, str) else None
        except ValueError:
            return None
    if id_type == "int":
        if isinstance(value, str):
            try:
                value = int(value)
            except ValueError:
                return None
        fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        return value if fits else None
    return value if isinstance(value, str) else None


def show_id(value: object) -> object:
    """Return the id as callers see it."""
    from bson import ObjectId

    return str(value) if isinstance(value, ObjectId) else value


def new_id(id_type: IdType, clock: Callable[[], float] = time.time) -> object:
    """Return a new id that sorts by time of creation.

    Raises:
        InvalidValue: Ids of this type are the caller's to give.
    """
    if id_type == "objectid":
        from bson import ObjectId

        return ObjectId()
    if id_type == "uuid":
        # UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, version, 12 random bits, variant, 62 random bits.
        random = int.from_bytes(os.urandom(10), "big")
        value = (int(clock() * 1000) & (1 << 48) - 1) << 80 | random
        value = value & ~(0xF << 76) | 7 << 76
        return UUID(int=value & ~(0b11 << 62) | 0b10 << 62)
    raise InvalidValue(f"documents with ids of type {id_type} need an id in their data")
