"""The repository: the documents of one collection, with the vocabulary of the SQL repository.

Here is what a repository is made of; its methods come from `batching`, `deleting`, `writing`, `paging` and
`reading`, each a class over the next.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, overload

from svc_infra.db.nosql.mongo.batching import Batching
from svc_infra.db.nosql.mongo.documents import DocumentForm
from svc_infra.db.nosql.mongo.errors import InvalidValue
from svc_infra.db.nosql.mongo.identifiers import IdType
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.types import Document
from svc_infra.db.nosql.mongo.visibility import Deleted

__all__ = ["Deleted", "MongoRepository"]

T = TypeVar("T")

_DEFAULT_IMMUTABLE = ("id", "created_at", "updated_at")


def _utc_now() -> datetime:
    # MongoDB keeps milliseconds; a time that is returned must be the time that is stored.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class MongoRepository(Batching[T], Generic[T]):
    """Typed access to the documents of one collection.

        users = MongoRepository("users", model=User, soft_delete=True, indexes=[MongoIndex("email", unique=True)])
        user = await users.create(db, {"email": "ann@example.com"})

    Each method takes the database first (`await acquire_db()`), and `session=` for a transaction.

    Args:
        collection: Name of the collection.
        model: A Pydantic model: what methods return, and what data are checked against. None: plain dicts.
        id_attr: What callers call `_id`.
        id_type: How ids are stored. "objectid" and "uuid" are made by `create`; the others come with the data.
        fields: Names of the fields, for plain dicts; None: any name.
        soft_delete: Whether `delete` marks documents instead of removing them. Marked ones are invisible to every
            method.
        soft_delete_field: Field that takes the time of the delete.
        immutable_fields: Fields that `update` ignores. Default: the id, `created_at` and `updated_at`.
        timestamps: Whether to set `created_at` and `updated_at`.
        version_field: Integer field that counts updates, for optimistic locking.
        indexes: Indexes that `prepare_mongo` creates.
        validator: The collection's `$jsonSchema` or other validator, which `prepare_mongo` sets.
        cursor_secret: Key that signs the cursors of pages, the same in every process; None for unsigned ones.
        clock: Gives the time for soft deletes and timestamps, aware.

    Raises:
        TypeError: `model` is no Pydantic model.
        UnknownField: A named field is no field of the model.
    """

    @overload
    def __init__(
        self: MongoRepository[Document],
        collection: str,
        *,
        model: None = None,
        id_attr: str = "id",
        id_type: IdType = "objectid",
        fields: Collection[str] | None = None,
        soft_delete: bool = False,
        soft_delete_field: str = "deleted_at",
        immutable_fields: Collection[str] | None = None,
        timestamps: bool = False,
        version_field: str | None = None,
        indexes: Sequence[MongoIndex] = (),
        validator: Mapping[str, object] | None = None,
        cursor_secret: bytes | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None: ...

    @overload
    def __init__(
        self,
        collection: str,
        *,
        model: type[T],
        id_attr: str = "id",
        id_type: IdType = "objectid",
        fields: Collection[str] | None = None,
        soft_delete: bool = False,
        soft_delete_field: str = "deleted_at",
        immutable_fields: Collection[str] | None = None,
        timestamps: bool = False,
        version_field: str | None = None,
        indexes: Sequence[MongoIndex] = (),
        validator: Mapping[str, object] | None = None,
        cursor_secret: bytes | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None: ...

    def __init__(
        self,
        collection: str,
        *,
        model: type[Any] | None = None,
        id_attr: str = "id",
        id_type: IdType = "objectid",
        fields: Collection[str] | None = None,
        soft_delete: bool = False,
        soft_delete_field: str = "deleted_at",
        immutable_fields: Collection[str] | None = None,
        timestamps: bool = False,
        version_field: str | None = None,
        indexes: Sequence[MongoIndex] = (),
        validator: Mapping[str, object] | None = None,
        cursor_secret: bytes | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        own = {soft_delete_field} if soft_delete else set[str]()
        own |= {"created_at", "updated_at"} if timestamps else set()
        own |= {version_field} if version_field else set()
        if fields is None and model is not None:
            fields = {*getattr(model, "model_fields", ()), *own}
        elif fields is not None:
            fields = {*fields, *own}
        self.collection = collection
        self.indexes: tuple[MongoIndex, ...] = tuple(indexes)
        self.validator = validator
        self.soft_delete = soft_delete
        self.soft_delete_field = soft_delete_field
        self.form: DocumentForm[T] = DocumentForm(model, fields, id_attr, id_type)
        self._immutable = frozenset(_DEFAULT_IMMUTABLE if immutable_fields is None else immutable_fields) | {id_attr}
        self._timestamps = timestamps
        self._version_field = version_field
        self._cursor_secret = cursor_secret
        self._clock = clock
        self._scope: Document = {}
        self._owned = frozenset(own)
        for index in self.indexes:
            self.form.require(index.names, "indexed")

    def scoped(self, values: Mapping[str, object]) -> MongoRepository[T]:
        """Return the repository of the documents that have these values, such as a tenant's.

        Every method is confined to them: reads, counts, writes. What it creates gets the values, whatever the data say,
        and no update can change them.

        Raises:
            UnknownField: A name is no field.
            InvalidValue: A value is None, which would mean everybody's.
        """
        self.form.require(tuple(values), "a scope")
        for name, value in values.items():
            if value is None:
                raise InvalidValue(f"the scope's {name} is None")
        scoped = copy.copy(self)
        scoped._confine(values)  # noqa: SLF001 - a copy of this object
        return scoped

    def _confine(self, values: Mapping[str, object]) -> None:
        self._scope = {**self._scope, **values}
        self._owned = self._owned | frozenset(values)
