"""Lets FastAPI write the ids of documents, where an application runs on it.

A route that returns what `find` gave is the first thing that everyone writes, and FastAPI answers 500 to it because it
doesn't know `ObjectId`. FastAPI is not imported for this, and a type that the application has registered stays.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType

__all__ = ["let_fastapi_write_ids"]


def let_fastapi_write_ids(modules: Mapping[str, ModuleType] = sys.modules) -> None:
    """Have FastAPI write an `ObjectId` as its 24 hexadecimal digits; does nothing in a process without FastAPI."""
    encoders = modules.get("fastapi.encoders")
    if encoders is not None:
        from bson import ObjectId

        encoders.ENCODERS_BY_TYPE.setdefault(ObjectId, str)
