"""Indexes as declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["MongoIndex"]


@dataclass(frozen=True, slots=True)
class MongoIndex:
    """An index that a collection should have.

    Attributes:
        keys: Field names, each with "-" before it for descending: `"email"`, `("tenant_id", "-created_at")`.
        unique: Whether no two documents may have the same values.
        sparse: Whether documents without the fields are left out.
        expire_after_seconds: Documents are removed by the server this long after the time in the field.
        where: Only documents that match this filter (MongoDB's partialFilterExpression) are in the index; e.g.
            `{"deleted_at": None}` for a value that is unique among the documents that are not soft-deleted.
        name: Its name; by default made of the keys, as MongoDB does.
    """

    keys: str | Sequence[str]
    unique: bool = False
    sparse: bool = False
    expire_after_seconds: int | None = None
    where: Mapping[str, object] | None = field(default=None, hash=False)
    name: str | None = None

    @property
    def order(self) -> tuple[tuple[str, int], ...]:
        """The fields with 1 or -1."""
        keys = (self.keys,) if isinstance(self.keys, str) else tuple(self.keys)
        return tuple((key.removeprefix("-"), -1 if key.startswith("-") else 1) for key in keys)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names."""
        return tuple(name for name, _ in self.order)

    @property
    def index_name(self) -> str:
        """The name under which it is created."""
        return self.name or "_".join(f"{name}_{direction}" for name, direction in self.order)

    def options(self) -> dict[str, object]:
        """Return what the server is told beside the keys; only what is not the default."""
        options: dict[str, object] = {}
        if self.unique:
            options["unique"] = True
        if self.sparse:
            options["sparse"] = True
        if self.expire_after_seconds is not None:
            options["expireAfterSeconds"] = self.expire_after_seconds
        if self.where is not None:
            options["partialFilterExpression"] = dict(self.where)
        return options
