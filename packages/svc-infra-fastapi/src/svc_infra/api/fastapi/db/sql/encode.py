"""Rows to JSON bytes.

What the database returns has been checked when it was written, so a row in the generated read schema's form is
serialised as it is, without building or validating a model. Where every column is of a type that JSON has one obvious
form for, orjson writes the bytes that Pydantic would in a third of the time; Pydantic writes all others. A read schema
that the application gave is honoured in full, validators and computed fields included.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Protocol, cast

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from svc_infra.api.fastapi.db.sql.columns import ApiColumn
from svc_infra.api.fastapi.db.sql.value_types import obvious_json

__all__ = ["Encoder", "ModelEncoder", "RowEncoder"]


class Encoder(Protocol):
    """Turns what a repository returned into JSON."""

    def one(self, record: Any) -> bytes:
        """Return one record as a JSON object."""
        ...

    def many(self, records: Sequence[Any]) -> bytes:
        """Return records as a JSON array."""
        ...

    def member(self, record: Any, name: str) -> object:
        """Return one field of a record as it came from the database."""
        ...


class RowEncoder:
    """Serialises rows (tuples in the order of *names*) of the database.

    Args:
        columns: The columns by name.
        names: The fields of a row, in order.
        shown: How many of them, from the left, are shown; None for all.
    """

    def __init__(self, columns: Mapping[str, ApiColumn], names: Sequence[str], shown: int | None = None) -> None:
        self.names: tuple[str, ...] = tuple(names)[:shown]
        make_type: Any = TypedDict  # its fields are known only at run time
        row: Any = make_type("row", {name: columns[name].read_type for name in self.names})
        row.__pydantic_config__ = ConfigDict(ser_json_bytes="base64", ser_json_inf_nan="null")
        self._one = TypeAdapter[Any](row).serializer.to_json
        self._many = TypeAdapter[Any](cast("Any", list)[row]).serializer.to_json
        options = obvious_json(columns[name].column.type for name in self.names)
        self._write: Callable[[Any], bytes] | None = None if options is None else partial(orjson.dumps, option=options)
        self._position = {name: position for position, name in enumerate(names)}

    def one(self, record: Any) -> bytes:
        """Return one row as a JSON object."""
        members = dict(zip(self.names, record, strict=False))
        if self._write is not None:
            try:
                return self._write(members)
            except orjson.JSONEncodeError:
                pass  # SQLite gives what was stored, of whatever type
        return self._one(members, warnings=False)

    def many(self, records: Sequence[Any]) -> bytes:
        """Return rows as a JSON array."""
        rows = list(map(dict, map(zip, repeat(self.names), records)))
        if self._write is not None:
            try:
                return self._write(rows)
            except orjson.JSONEncodeError:
                pass
        return self._many(rows, warnings=False)

    def member(self, record: Any, name: str) -> object:
        """Return one field of a row."""
        return record[self._position[name]]


class ModelEncoder:
    """Serialises rows or objects through a Pydantic model.

    Args:
        schema: The read schema.
        only: Show these fields alone; None for all.
    """

    def __init__(self, schema: type[BaseModel], *, only: Sequence[str] | None = None) -> None:
        self.only: set[str] | None = None if only is None else set(only)
        self._one = TypeAdapter(schema)
        self._many = TypeAdapter(list[schema])  # type: ignore[valid-type]

    def showing(self, names: Sequence[str]) -> ModelEncoder:
        """Return an encoder of the same schema that shows these fields alone."""
        chosen = copy.copy(self)
        chosen.only = set(names)
        return chosen

    def one(self, record: Any) -> bytes:
        """Return one record as a JSON object."""
        found = self._one.validate_python(record, from_attributes=True)
        return self._one.dump_json(found, by_alias=True, include=self.only)

    def many(self, records: Sequence[Any]) -> bytes:
        """Return records as a JSON array."""
        found = self._many.validate_python(list(records), from_attributes=True)
        include = None if self.only is None else {"__all__": self.only}
        return self._many.dump_json(found, by_alias=True, include=include)

    def member(self, record: Any, name: str) -> object:
        """Return one field of a record."""
        return getattr(record, name)


def page_bytes(items: bytes, total: int | None, limit: int, offset: int) -> bytes:
    """Return the page envelope `{"total", "items", "limit", "offset"}` around the JSON array *items*."""
    number = "null" if total is None else str(total)
    return b'{"total":%b,"items":%b,"limit":%d,"offset":%d}' % (number.encode(), items, limit, offset)
