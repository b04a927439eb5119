"""The reading part of a repository."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from typing import TypeVar

from svc_infra.db.nosql.mongo.errors import InvalidQuery, NotFound, UnknownField
from svc_infra.db.nosql.mongo.filters import Where, literal_pattern
from svc_infra.db.nosql.mongo.ordering import OrderBy, parse_order
from svc_infra.db.nosql.mongo.translate import translating
from svc_infra.db.nosql.mongo.types import Document, MongoDatabase, MongoSession
from svc_infra.db.nosql.mongo.visibility import Deleted, Visibility

__all__ = ["Reading"]

T = TypeVar("T")


class Reading(Visibility[T]):
    """Reads documents of one collection as results of type `T`.

    Soft-deleted documents and those outside of the scope do not exist for any method. `deleted="include"` sees
    soft-deleted ones too, `deleted="only"` nothing else.
    """

    async def get(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002 - the vocabulary of the SQL repository
        *,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> T | None:
        """Return the document with this id, or None."""
        key = self.form.parse_id(id)
        if key is None:
            return None
        return await self._find_one(db, self._query(deleted, {"_id": key}), session)

    async def get_one(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> T:
        """Return the document with this id.

        Raises:
            NotFound: There is none.
        """
        found = await self.get(db, id, deleted=deleted, session=session)
        if found is None:
            raise NotFound(f"{self.collection} has no document with the {self.id_attr} {id!r}")
        return found

    async def get_many(
        self,
        db: MongoDatabase,
        ids: Iterable[object],
        *,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> builtins.list[T]:
        """Return the documents with these ids, in their order, without those that don't exist."""
        keys = [key for key in map(self.form.parse_id, ids) if key is not None]
        if not keys:
            return []
        with translating():
            found = await self._of(db).find(self._query(deleted, {"_id": {"$in": keys}}), session=session).to_list(None)
        by_key = {document["_id"]: document for document in found}
        return [self.form.entity(by_key[key]) for key in dict.fromkeys(keys) if key in by_key]

    async def first(
        self,
        db: MongoDatabase,
        *,
        where: Where | None = None,
        order_by: OrderBy | None = None,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> T | None:
        """Return the first document in the order that fulfils the conditions, or None."""
        found = await self.list(db, limit=1, where=where, order_by=order_by, deleted=deleted, session=session)
        return found[0] if found else None

    async def list(
        self,
        db: MongoDatabase,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> builtins.list[T]:
        """Return up to `limit` documents after the first `offset`. The order is total: the id is appended.

        Raises:
            InvalidQuery: `limit` or `offset` is negative, a condition is none, or a name is no field.
        """
        query = self._query(deleted, where=where)
        return await self._list(db, query, limit, offset, order_by, session)

    async def search(
        self,
        db: MongoDatabase,
        *,
        q: str,
        fields: Sequence[str],
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> builtins.list[T]:
        """Return documents that hold `q` in one of the fields, whatever the case of its letters. Wildcards are literal.

        A blank `q` finds all.

        Raises:
            UnknownField: A name is no field, or none is given.
        """
        query = self._query(deleted, self._search(q, fields), where=where)
        return await self._list(db, query, limit, offset, order_by, session)

    async def count(
        self,
        db: MongoDatabase,
        *,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
        at_most: int | None = None,
        session: MongoSession | None = None,
    ) -> int:
        """Return how many documents fulfil the conditions and, with `q`, the search.

        Counting stops at *at_most*, which bounds the cost; None counts all.

        Raises:
            InvalidQuery: *at_most* is less than 1, or as in `list`.
        """
        if at_most is not None and not 0 < at_most < 2**31:
            raise InvalidQuery(f"at_most is {at_most}; it must be at least 1 and within the server's range")
        query = self._query(deleted, self._search(q, fields) if q is not None else None, where=where)
        with translating():
            limit = {} if at_most is None else {"limit": at_most}
            counted: int = await self._of(db).count_documents(query, session=session, **limit)
        return counted

    async def exists(
        self,
        db: MongoDatabase,
        id: object = None,  # noqa: A002
        *,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> bool:
        """Return whether there is a document with this id, and fulfilling the conditions."""
        key = self.form.parse_id(id) if id is not None else None
        if id is not None and key is None:
            return False
        query = self._query(deleted, {"_id": key} if key is not None else None, where=where)
        with translating():
            return await self._of(db).find_one(query, {"_id": 1}, session=session) is not None

    def _search(self, q: str, fields: Sequence[str]) -> Document | None:
        if not fields:
            raise UnknownField("search needs the names of the fields to look in")
        self.form.require(fields, "searched")
        if not str(q).strip():
            return None
        pattern = literal_pattern(q)
        return {"$or": [{name: {"$regex": pattern, "$options": "i"}} for name in fields]}

    async def _list(
        self,
        db: MongoDatabase,
        query: Document,
        limit: int,
        offset: int,
        order_by: OrderBy | None,
        session: MongoSession | None,
    ) -> builtins.list[T]:
        if limit < 0 or offset < 0 or offset >= 2**63 or limit >= 2**31:
            raise InvalidQuery(
                f"limit is {limit} and offset {offset}; neither can be negative or beyond the server's range"
            )
        order = parse_order(order_by, self.id_attr, self.form.fields)
        if limit == 0:
            return []  # to the server 0 means no limit
        with translating():
            found = self._of(db).find(query, session=session).sort(builtins.list(order)).skip(offset).limit(limit)
            return [self.form.entity(document) for document in await found.to_list(limit)]

    async def _find_one(self, db: MongoDatabase, query: Document, session: MongoSession | None) -> T | None:
        with translating():
            found = await self._of(db).find_one(query, session=session)
        return None if found is None else self.form.entity(found)
