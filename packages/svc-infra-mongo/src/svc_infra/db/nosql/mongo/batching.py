"""The part of a repository that writes many documents, each by itself, in a few round trips for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from svc_infra.db.nosql.mongo.deleting import Deleting
from svc_infra.db.nosql.mongo.errors import DocumentTooLarge, MongoError
from svc_infra.db.nosql.mongo.translate import refusals, translating
from svc_infra.db.nosql.mongo.types import Document, MongoDatabase

__all__ = ["Batching"]

T = TypeVar("T")

_MAX_BYTES = 16 * 1024 * 1024


class Batching(Deleting[T]):
    """Writes many documents of one collection: each succeeds or is refused by itself, and its result says which."""

    async def create_each(self, db: MongoDatabase, items: Sequence[Mapping[str, object]]) -> list[T | MongoError]:
        """Insert documents by one bulk write, and return for each the document or the error that kept it out.

        The errors are those of `create`. One that is not about a document, such as a lost connection, is raised;
        nobody knows then which documents were written.
        """
        from pymongo import InsertOne

        results: list[T | MongoError] = []
        documents: dict[int, Document] = {}
        operations: list[InsertOne[Any]] = []
        for place, data in enumerate(items):
            try:
                document = self._new(data)
                operations.append(InsertOne(self._encoded(db, document)))
            except MongoError as error:
                results.append(error)
                continue
            documents[place] = document
            results.append(self.form.entity(document))
        _, refused = await self._write(db, operations)
        places = list(documents)
        for index, refusal in refused.items():
            results[places[index]] = refusal
        return results

    async def update_each(
        self, db: MongoDatabase, changes: Sequence[tuple[object, Mapping[str, object]]]
    ) -> list[T | MongoError | None]:
        """Set fields of documents, each its own, by one bulk write and one read.

        Args:
            db: The database.
            changes: The id and the fields of each, as in `update`.

        Returns:
            For each the document as it is then, None when there is none, or the error that kept it as it was.
        """
        from pymongo import UpdateOne

        errors: dict[int, MongoError] = {}
        sets: dict[int, Document] = {}
        operations: list[UpdateOne] = []
        keys = [self.form.parse_id(change[0]) for change in changes]
        for place, (key, (_, data)) in enumerate(zip(keys, changes, strict=True)):
            if key is None:
                continue
            try:
                change = self._change(data)
                if change:
                    operations.append(UpdateOne(self._query("exclude", {"_id": key}), self._encoded(db, change)))
                    sets[place] = change["$set"]
            except MongoError as error:
                errors[place] = error
        matched, refused = await self._write(db, operations)
        places = list(sets)
        for index, refusal in refused.items():
            errors[places[index]] = refusal
            del sets[places[index]]
        stored = await self._stored_by_key(db, [key for key in keys if key is not None])
        written = [place for place in sets if keys[place] in stored]
        results: list[T | MongoError | None] = []
        for place, (key, (given, data)) in enumerate(zip(keys, changes, strict=True)):
            document = None if key is None else stored.get(key)
            if place in errors:
                results.append(errors[place])
            elif document is None:
                results.append(None)
            elif matched < len(written) and place in sets and not _holds(document, sets[place]):
                # It was not there for the write and is for the read: another process restored it in between.
                results.append(await self.update(db, given, data))
            else:
                results.append(self.form.entity(document))
        return results

    async def delete_each(self, db: MongoDatabase, ids: Sequence[object]) -> list[bool]:
        """Delete documents, softly where the repository does so, by one read and one write.

        Returns:
            For each whether there was one.
        """
        keys = [self.form.parse_id(each) for each in ids]
        query = self._query("exclude", {"_id": {"$in": [key for key in keys if key is not None]}})
        with translating():
            found = await self._of(db).find(query, {"_id": 1}).to_list(None)
        there = [document["_id"] for document in found]
        if there:
            await self._delete(db, self._query("exclude", {"_id": {"$in": there}}), None, many=True)
        known = set(there)
        return [key in known for key in keys]

    async def _write(self, db: MongoDatabase, operations: Sequence[Any]) -> tuple[int, Mapping[int, MongoError]]:
        """Carry out the operations in any order; return how many documents they found, and the errors by position."""
        from pymongo.errors import BulkWriteError

        if not operations:
            return 0, {}
        with translating():
            try:
                result = await self._of(db).bulk_write(operations, ordered=False)
            except BulkWriteError as error:
                return int(error.details["nMatched"]), refusals(error)
        return int(result.matched_count), {}

    async def _stored_by_key(self, db: MongoDatabase, keys: Sequence[object]) -> Mapping[object, Document]:
        if not keys:
            return {}
        with translating():
            found = await self._of(db).find(self._query("exclude", {"_id": {"$in": list(keys)}})).to_list(None)
        return {document["_id"]: document for document in found}

    def _encoded(self, db: MongoDatabase, document: Document) -> Mapping[str, Any]:
        """Return the document in its stored form, so that one that has none is refused by itself.

        Raises:
            InvalidValue: A value can't be stored.
            DocumentTooLarge: There are more bytes than a document may have.
        """
        from bson import encode
        from bson.raw_bson import RawBSONDocument

        with translating():
            content = encode(document, codec_options=self._of(db).codec_options)
        if len(content) > _MAX_BYTES:
            raise DocumentTooLarge("the document is larger than the 16 MiB that MongoDB takes")
        return RawBSONDocument(content)


def _holds(document: Document, values: Document) -> bool:
    return all(document.get(name) == value for name, value in values.items() if name != "updated_at")
