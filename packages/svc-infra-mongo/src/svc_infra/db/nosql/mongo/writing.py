"""The writing part of a repository: create, update and upsert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from svc_infra.db.nosql.mongo.errors import InvalidQuery, StaleVersion, UniqueViolation, UnknownField
from svc_infra.db.nosql.mongo.filters import Where
from svc_infra.db.nosql.mongo.paging import Paging
from svc_infra.db.nosql.mongo.translate import translating
from svc_infra.db.nosql.mongo.types import Document, MongoDatabase, MongoSession

__all__ = ["Writing"]

T = TypeVar("T")

_UPSERT_ATTEMPTS = 3


class Writing(Paging[T]):
    """Creates and changes documents of one collection.

    The fields that the repository sets itself (times, version, scope, delete mark) are never taken from the data.
    """

    _immutable: frozenset[str]
    # Fields that only the repository sets; data that hold them are not believed.
    _owned: frozenset[str]
    _timestamps: bool
    _version_field: str | None
    _clock: Callable[[], datetime]

    async def create(self, db: MongoDatabase, data: Mapping[str, object], *, session: MongoSession | None = None) -> T:
        """Insert a document and return it.

        Raises:
            UnknownField: A name is no field.
            InvalidValue: A value is not what the model wants, or can't be stored.
            UniqueViolation: Another document has the same values in a unique index.
            DocumentRejected: The collection's validator refused it.
        """
        document = self._new(data)
        with translating():
            await self._of(db).insert_one(document, session=session)
        return self.form.entity(document)

    async def create_many(
        self, db: MongoDatabase, items: Iterable[Mapping[str, object]], *, session: MongoSession | None = None
    ) -> list[T]:
        """Insert documents in one batch and return them.

        Without a transaction those before a failing one stay.

        Raises:
            UniqueViolation: With the failing document's position in `index`. And as `create`.
        """
        documents = [self._new(data) for data in items]
        if documents:
            with translating():
                await self._of(db).insert_many(documents, ordered=True, session=session)
        return [self.form.entity(document) for document in documents]

    async def update(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        data: Mapping[str, object],
        *,
        version: int | None = None,
        session: MongoSession | None = None,
    ) -> T | None:
        """Set fields of a document and return it as it is then; None when there is none.

        Immutable fields and those that the repository owns are ignored.

        Args:
            db: The database.
            id: The document's id.
            data: The fields to set, each with its whole value.
            version: The version that the caller read.
            session: For a transaction.

        Raises:
            StaleVersion: The document has another version. And as `create`.
        """
        key = self.form.parse_id(id)
        if key is None:
            return None
        query = self._query("exclude", {"_id": key})
        if version is not None:
            query = {"$and": [query, {self._versions(): {"$eq": version}}]}
        change = self._change(data)
        if not change:
            updated = await self._find_one(db, query, session)
        else:
            with translating():
                found = await self._of(db).find_one_and_update(query, change, return_document=True, session=session)
            updated = None if found is None else self.form.entity(found)
        if updated is None and version is not None and await self.exists(db, id, session=session):
            raise StaleVersion(f"the document {id!r} of {self.collection} is no longer at version {version}")
        return updated

    async def update_many(
        self, db: MongoDatabase, data: Mapping[str, object], *, where: Where, session: MongoSession | None = None
    ) -> int:
        """Set fields of all documents that fulfil the conditions, and return how many there were."""
        change = self._change(data)
        query = self._query("exclude", where=where)
        if not change:
            return await self.count(db, where=where, session=session)
        with translating():
            result = await self._of(db).update_many(query, change, session=session)
        return int(result.matched_count)

    async def upsert(
        self,
        db: MongoDatabase,
        data: Mapping[str, object],
        *,
        by: Sequence[str],
        session: MongoSession | None = None,
    ) -> T:
        """Update the document that has the data's values in the fields `by`, or insert one; in one operation.

        Two at once can both insert unless a unique index is on `by`; with one, the loser updates.

        Raises:
            UnknownField: A name of `by` is not in the data. And as `create`.
        """
        missing = [name for name in by if data.get(name) is None]
        if missing or not by:
            raise UnknownField(
                f"upsert by {', '.join(missing) or 'nothing'}: the data must have a value for each field"
            )
        inserted = self._new(data)
        change = self._change(data)
        at_insert = {name: value for name, value in inserted.items() if name not in change.get("$set", {})}
        for name in change.get("$inc", {}):
            at_insert.pop(name, None)
        keys = [{"_id" if name == self.id_attr else name: {"$eq": inserted.get(name)}} for name in by]
        if self.id_attr in by:
            keys[list(by).index(self.id_attr)] = {"_id": inserted["_id"]}
            at_insert.pop("_id")
        query = {"$and": [self._query("exclude"), *keys]}
        update: Document = {**change, "$setOnInsert": at_insert}
        for attempt in range(_UPSERT_ATTEMPTS):
            try:
                with translating():
                    found = await self._of(db).find_one_and_update(
                        query, update, upsert=True, return_document=True, session=session
                    )
            except UniqueViolation:
                # Another one inserted it between this one's look and insert; or it conflicts elsewhere, and will again.
                if attempt + 1 == _UPSERT_ATTEMPTS or session is not None:
                    raise
            else:
                if found is not None:
                    return self.form.entity(found)
        raise StaleVersion(f"upsert into {self.collection} lost against others {_UPSERT_ATTEMPTS} times")

    def _new(self, data: Mapping[str, object]) -> Document:
        defaults: Document = dict(self._scope)
        if self.soft_delete:
            # Stored though null, so that a partial unique index can tell live documents.
            defaults[self.soft_delete_field] = None
        if self._timestamps:
            defaults["created_at"] = defaults["updated_at"] = self._clock()
        if self._version_field is not None:
            defaults[self._version_field] = 1
        return self.form.new_document(self._believed(data), defaults)

    def _believed(self, data: Mapping[str, object]) -> Document:
        return {name: value for name, value in data.items() if name not in self._owned}

    def _change(self, data: Mapping[str, object]) -> Document:
        believed = self.form.changes(self._believed(data))
        values = {name: value for name, value in believed.items() if name not in self._immutable}
        return self._marked(values) if values else {}

    def _marked(self, values: Document) -> Document:
        """Return the update that sets the values, the time of the change and the next version."""
        if self._timestamps:
            values = {**values, "updated_at": self._clock()}
        change: Document = {"$set": values}
        if self._version_field is not None:
            change["$inc"] = {self._version_field: 1}
        return change

    def _versions(self) -> str:
        if self._version_field is None:
            raise InvalidQuery(f"{self.collection} has no version_field, so that versions can't be compared")
        return self._version_field
