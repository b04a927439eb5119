"""Reading more than a list: pages by cursor, and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from svc_infra.db.nosql.mongo.errors import InvalidQuery
from svc_infra.db.nosql.mongo.filters import Where
from svc_infra.db.nosql.mongo.ordering import (
    OrderBy,
    Page,
    decode_cursor,
    encode_cursor,
    following,
    parse_order,
    turned,
)
from svc_infra.db.nosql.mongo.reading import Reading
from svc_infra.db.nosql.mongo.translate import translating
from svc_infra.db.nosql.mongo.types import MongoDatabase, MongoSession
from svc_infra.db.nosql.mongo.visibility import Deleted

__all__ = ["Paging"]

T = TypeVar("T")


class Paging(Reading[T]):
    """Reads documents page by page from a place, and all of them in constant memory."""

    _cursor_secret: bytes | None

    async def page(
        self,
        db: MongoDatabase,
        *,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> Page[T]:
        """Return a page that begins after, or ends before, a cursor of an earlier page.

        It costs the same at any depth, and documents that are created meanwhile shift nothing.

        Raises:
            InvalidQuery: The cursor is none of this order, or both are given, or `limit` is less than 1.
        """
        if after is not None and before is not None:
            raise InvalidQuery("give after or before, not both")
        if limit < 1:
            raise InvalidQuery(f"limit is {limit}; it must be at least 1")
        order = parse_order(order_by, self.id_attr, self.form.fields)
        backwards = before is not None
        direction = turned(order) if backwards else order
        query = self._query(deleted, where=where)
        cursor = before if backwards else after
        if cursor is not None:
            query = {"$and": [query, following(direction, decode_cursor(cursor, order, self._cursor_secret))]}
        with translating():
            found = self._of(db).find(query, session=session).sort(list(direction)).limit(limit + 1)
            documents = await found.to_list(limit + 1)
        more = len(documents) > limit
        documents = documents[:limit]
        if backwards:
            documents.reverse()
        has_next, has_previous = (True, more) if backwards else (more, after is not None)
        ends = [encode_cursor(order, document, self._cursor_secret) for document in (documents[:1] + documents[-1:])]
        return Page(
            [self.form.entity(document) for document in documents],
            ends[-1] if documents and has_next else None,
            ends[0] if documents and has_previous else None,
        )

    async def stream(
        self,
        db: MongoDatabase,
        *,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        batch_size: int = 1000,
        session: MongoSession | None = None,
    ) -> AsyncIterator[T]:
        """Give all documents one after the other, `batch_size` of them in memory."""
        order = parse_order(order_by, self.id_attr, self.form.fields)
        query = self._query(deleted, where=where)
        cursor = self._of(db).find(query, session=session, batch_size=batch_size).sort(list(order))
        try:
            with translating():
                async for document in cursor:
                    yield self.form.entity(document)
        finally:
            await cursor.close()
