"""The repository: the documents of one collection, with the vocabulary of the SQL repository.

Longer than other modules because it is one class with one method per operation.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from svc_infra.db.nosql.mongo.documents import DocumentForm
from svc_infra.db.nosql.mongo.errors import (
    InvalidQuery,
    InvalidValue,
    NotFound,
    StaleVersion,
    UniqueViolation,
    UnknownField,
)
from svc_infra.db.nosql.mongo.filters import Filter, Where, conditions, literal_pattern
from svc_infra.db.nosql.mongo.identifiers import IdType
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.ordering import (
    OrderBy,
    Page,
    decode_cursor,
    encode_cursor,
    following,
    parse_order,
    turned,
)
from svc_infra.db.nosql.mongo.translate import translating
from svc_infra.db.nosql.mongo.types import Document, MongoDatabase, MongoSession

__all__ = ["Deleted", "MongoRepository"]

T = TypeVar("T")

Deleted: TypeAlias = Literal["exclude", "include", "only"]
"""Whether soft-deleted documents are left out (the default everywhere), seen too, or seen alone."""

_UPSERT_ATTEMPTS = 3
_DEFAULT_IMMUTABLE = ("id", "created_at", "updated_at")


def _utc_now() -> datetime:
    # MongoDB keeps milliseconds; a time that is returned must be the time that is stored.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class MongoRepository(Generic[T]):
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
        # Fields that only the repository sets; data that hold them are not believed.
        self._owned = frozenset(own)
        for index in self.indexes:
            self.form.require(index.names, "indexed")

    @property
    def id_attr(self) -> str:
        """What callers call `_id`."""
        return self.form.id_attr

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

    async def count(
        self,
        db: MongoDatabase,
        *,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> int:
        """Return how many documents fulfil the conditions and, with `q`, the search."""
        query = self._query(deleted, self._search(q, fields) if q is not None else None, where=where)
        with translating():
            counted: int = await self._of(db).count_documents(query, session=session)
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
    ) -> builtins.list[T]:
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

    def _of(self, db: MongoDatabase) -> Any:
        return db[self.collection]

    def _query(self, deleted: Deleted, own: Mapping[str, Any] | None = None, *, where: Where | None = None) -> Document:
        """Return the query: the scope, the visible documents, and the conditions."""
        given: builtins.list[Filter] = builtins.list(conditions(where))
        for condition in given:
            self.form.require(condition.names, "compared")
        clauses: builtins.list[Mapping[str, Any]] = [{name: {"$eq": value}} for name, value in self._scope.items()]
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
        if isinstance(value, builtins.list):
            return [self._stored(item) for item in value]
        parsed = self.form.parse_id(value)
        return value if parsed is None else parsed

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

    async def _delete(self, db: MongoDatabase, query: Document, session: MongoSession | None, *, many: bool) -> int:
        collection = self._of(db)
        with translating():
            if self.soft_delete:
                mark = self._marked({self.soft_delete_field: self._clock()})
                change = collection.update_many if many else collection.update_one
                return int((await change(query, mark, session=session)).modified_count)
            remove = collection.delete_many if many else collection.delete_one
            return int((await remove(query, session=session)).deleted_count)

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
