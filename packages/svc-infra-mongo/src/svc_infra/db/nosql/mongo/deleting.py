"""The deleting part of a repository: soft and for good, and back."""

from __future__ import annotations

from typing import TypeVar

from svc_infra.db.nosql.mongo.errors import InvalidQuery, StaleVersion
from svc_infra.db.nosql.mongo.filters import Where
from svc_infra.db.nosql.mongo.translate import translating
from svc_infra.db.nosql.mongo.types import Document, MongoDatabase, MongoSession
from svc_infra.db.nosql.mongo.visibility import Deleted
from svc_infra.db.nosql.mongo.writing import Writing

__all__ = ["Deleting"]

T = TypeVar("T")


class Deleting(Writing[T]):
    """Deletes documents of one collection: marks them where the repository does so, removes them elsewhere."""

    async def delete(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        version: int | None = None,
        session: MongoSession | None = None,
    ) -> bool:
        """Delete a document, softly where the repository does so; return whether there was one.

        Raises:
            StaleVersion: The document has another version.
        """
        key = self.form.parse_id(id)
        if key is None:
            return False
        query = self._query("exclude", {"_id": key})
        if version is not None:
            query = {"$and": [query, {self._versions(): {"$eq": version}}]}
        deleted = await self._delete(db, query, session, many=False)
        if not deleted and version is not None and await self.exists(db, id, session=session):
            raise StaleVersion(f"the document {id!r} of {self.collection} is no longer at version {version}")
        return deleted > 0

    async def delete_many(self, db: MongoDatabase, *, where: Where, session: MongoSession | None = None) -> int:
        """Delete all documents that fulfil the conditions, softly where the repository does so; return how many."""
        return await self._delete(db, self._query("exclude", where=where), session, many=True)

    async def restore(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        session: MongoSession | None = None,
    ) -> T | None:
        """Make a soft-deleted document visible again and return it; None when there is none.

        Raises:
            InvalidQuery: The repository does not delete softly.
        """
        if not self.soft_delete:
            raise InvalidQuery(f"{self.collection} has no soft delete, so that nothing can be restored")
        key = self.form.parse_id(id)
        if key is None:
            return None
        query = self._query("only", {"_id": key})
        with translating():
            found = await self._of(db).find_one_and_update(
                query, self._marked({self.soft_delete_field: None}), return_document=True, session=session
            )
        return None if found is None else self.form.entity(found)

    async def purge(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "include",
        session: MongoSession | None = None,
    ) -> bool:
        """Remove a document for good, soft-deleted or not; return whether there was one."""
        key = self.form.parse_id(id)
        if key is None:
            return False
        with translating():
            result = await self._of(db).delete_one(self._query(deleted, {"_id": key}), session=session)
        return bool(result.deleted_count)

    async def _delete(self, db: MongoDatabase, query: Document, session: MongoSession | None, *, many: bool) -> int:
        collection = self._of(db)
        with translating():
            if self.soft_delete:
                mark = self._marked({self.soft_delete_field: self._clock()})
                change = collection.update_many if many else collection.update_one
                return int((await change(query, mark, session=session)).modified_count)
            remove = collection.delete_many if many else collection.delete_one
            return int((await remove(query, session=session)).deleted_count)
