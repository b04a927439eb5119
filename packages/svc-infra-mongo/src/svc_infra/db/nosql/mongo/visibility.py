"""Which documents a repository sees: not the soft-deleted ones, and only those of its scope (a tenant)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from svc_infra.db.nosql.mongo.documents import DocumentForm
from svc_infra.db.nosql.mongo.filters import Filter, Where, conditions
from svc_infra.db.nosql.mongo.types import Document, MongoDatabase

__all__ = ["Deleted", "Visibility"]

T = TypeVar("T")

Deleted: TypeAlias = Literal["exclude", "include", "only"]
"""Whether soft-deleted documents are left out (the default everywhere), seen too, or seen alone."""


class Visibility(Generic[T]):
    """Builds the query of every operation on documents that exist already.

    Attributes:
        collection: Name of the collection.
        form: How its documents look to callers.
        soft_delete: Whether deleted documents are marked instead of removed.
        soft_delete_field: Field that holds the time of the delete; null in visible documents.
    """

    collection: str
    form: DocumentForm[T]
    soft_delete: bool
    soft_delete_field: str
    _scope: Document

    @property
    def id_attr(self) -> str:
        """What callers call `_id`."""
        return self.form.id_attr

    def _of(self, db: MongoDatabase) -> Any:
        return db[self.collection]

    def _query(self, deleted: Deleted, own: Mapping[str, Any] | None = None, *, where: Where | None = None) -> Document:
        """Return the query: the scope, the visible documents, and the conditions."""
        given: list[Filter] = list(conditions(where))
        for condition in given:
            self.form.require(condition.names, "compared")
        clauses: list[Mapping[str, Any]] = [{name: {"$eq": value}} for name, value in self._scope.items()]
        if self.soft_delete and deleted != "include":
            clauses.append({self.soft_delete_field: None if deleted == "exclude" else {"$ne": None}})
        elif deleted == "only":
            clauses.append({"_id": {"$in": []}})
        if own:
            clauses.append(own)
        clauses += [self._renamed(condition.query) for condition in given]
        if not clauses:
            return {}
        return dict(clauses[0]) if len(clauses) == 1 else {"$and": clauses}

    def _renamed(self, query: Mapping[str, Any]) -> Document:
        """Return the query with `_id` for what callers call so, and ids in their stored form."""
        renamed: Document = {}
        for name, value in query.items():
            if name in ("$and", "$or", "$nor"):
                renamed[name] = [self._renamed(part) for part in value]
            elif name == self.id_attr and name != "_id" and isinstance(value, Mapping):
                renamed["_id"] = {operator: self._stored(operand) for operator, operand in value.items()}
            else:
                renamed[name] = value
        return renamed

    def _stored(self, value: object) -> object:
        if isinstance(value, list):
            return [self._stored(item) for item in value]
        parsed = self.form.parse_id(value)
        return value if parsed is None else parsed
