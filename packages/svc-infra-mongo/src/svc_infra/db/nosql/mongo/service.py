"""The service: a repository with hooks around each write."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from svc_infra.db.nosql.mongo.errors import MongoUnreachable
from svc_infra.db.nosql.mongo.filters import Where
from svc_infra.db.nosql.mongo.ordering import OrderBy
from svc_infra.db.nosql.mongo.repository import Deleted, MongoRepository
from svc_infra.db.nosql.mongo.types import MongoDatabase, MongoSession

__all__ = ["MongoService", "TenantMongoService"]

T = TypeVar("T")
R = TypeVar("R")

_DELETES = ("pre_delete", "delete", "post_delete")


class MongoService(Generic[T]):
    """Business logic around a repository: override the hooks.

    An exception that a hook raises leaves the method; use a transaction (`session=`) for what must not stay then.

    Args:
        repo: The repository; a scoped one confines the service and its hooks to the scope.
    """

    def __init__(self, repo: MongoRepository[T]) -> None:
        self.repo = repo

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data to insert; `data` is a copy that may be changed."""
        return data

    async def post_create(self, db: MongoDatabase, entity: T) -> None:
        """Called with the document that was inserted."""

    async def pre_update(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the values to set; `data` is a copy that may be changed."""
        return data

    async def post_update(self, db: MongoDatabase, entity: T) -> None:
        """Called with the document that was changed."""

    async def pre_delete(self, db: MongoDatabase, id: object) -> None:  # noqa: A002
        """Called with the id before its document is deleted; raise to forbid it."""

    async def post_delete(self, db: MongoDatabase, id: object) -> None:  # noqa: A002
        """Called with the id when a document was deleted."""

    async def get(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> T | None:
        """See `MongoRepository.get`."""
        return await self.repo.get(db, id, deleted=deleted, session=session)

    async def get_one(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> T:
        """See `MongoRepository.get_one`."""
        return await self.repo.get_one(db, id, deleted=deleted, session=session)

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
        """See `MongoRepository.list`."""
        return await self.repo.list(
            db, limit=limit, offset=offset, order_by=order_by, where=where, deleted=deleted, session=session
        )

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
        """See `MongoRepository.search`."""
        return await self.repo.search(
            db,
            q=q,
            fields=fields,
            limit=limit,
            offset=offset,
            order_by=order_by,
            where=where,
            deleted=deleted,
            session=session,
        )

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
        """See `MongoRepository.count`."""
        return await self.repo.count(
            db, where=where, q=q, fields=fields, deleted=deleted, at_most=at_most, session=session
        )

    async def exists(
        self,
        db: MongoDatabase,
        id: object = None,  # noqa: A002
        *,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        session: MongoSession | None = None,
    ) -> bool:
        """See `MongoRepository.exists`."""
        return await self.repo.exists(db, id, where=where, deleted=deleted, session=session)

    async def create(self, db: MongoDatabase, data: Mapping[str, object], *, session: MongoSession | None = None) -> T:
        """Insert a document, with `pre_create` before and `post_create` after it; see `MongoRepository.create`."""
        entity = await self.repo.create(db, await self.pre_create(dict(data)), session=session)
        await self.post_create(db, entity)
        return entity

    async def update(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        data: Mapping[str, object],
        *,
        version: int | None = None,
        session: MongoSession | None = None,
    ) -> T | None:
        """Change a document, with `pre_update` before and `post_update` after it; see `MongoRepository.update`."""
        prepared = await self.pre_update(dict(data))
        entity = await self.repo.update(db, id, prepared, version=version, session=session)
        if entity is not None:
            await self.post_update(db, entity)
        return entity

    async def delete(
        self,
        db: MongoDatabase,
        id: object,  # noqa: A002
        *,
        version: int | None = None,
        session: MongoSession | None = None,
    ) -> bool:
        """Delete a document, with `pre_delete` before and `post_delete` after it; see `MongoRepository.delete`."""
        await self.pre_delete(db, id)
        deleted = await self.repo.delete(db, id, version=version, session=session)
        if deleted:
            await self.post_delete(db, id)
        return deleted

    async def create_each(
        self, db: MongoDatabase, items: Sequence[Mapping[str, object]]
    ) -> builtins.list[T | Exception]:
        """Insert documents, each by itself; return for each the document or why it is refused.

        All `pre_create` come before the write, all `post_create` after it, and what one raises takes the place of its
        item alone; a service with a `create` of its own is asked item by item. See `MongoRepository.create_each`.
        """
        if type(self).create is not MongoService.create:
            return [await _tried(self.create(db, data)) for data in items]
        prepared = [await _tried(self.pre_create(dict(data))) for data in items]
        ready = [data for data in prepared if not isinstance(data, Exception)]
        written = iter(await self.repo.create_each(db, ready))
        results = [data if isinstance(data, Exception) else next(written) for data in prepared]
        return [
            each if isinstance(each, Exception) else await _tried(self._after(self.post_create, db, each))
            for each in results
        ]

    async def update_each(
        self, db: MongoDatabase, changes: Sequence[tuple[object, Mapping[str, object]]]
    ) -> builtins.list[T | Exception | None]:
        """Change documents, each by itself, with `pre_update` and `post_update` as `create_each` has its hooks.

        See `MongoRepository.update_each`.
        """
        if type(self).update is not MongoService.update:
            return [await _tried(self.update(db, key, data)) for key, data in changes]
        prepared = [await _tried(self.pre_update(dict(data))) for _, data in changes]
        ready = [
            (key, data) for (key, _), data in zip(changes, prepared, strict=True) if not isinstance(data, Exception)
        ]
        written = iter(await self.repo.update_each(db, ready))
        results = [data if isinstance(data, Exception) else next(written) for data in prepared]
        return [
            each
            if each is None or isinstance(each, Exception)
            else await _tried(self._after(self.post_update, db, each))
            for each in results
        ]

    async def delete_each(self, db: MongoDatabase, ids: Sequence[object]) -> builtins.list[bool | Exception]:
        """Delete documents, each by itself; return for each whether there was one, or why it is refused.

        With hooks of its own the service deletes one after the other. See `MongoRepository.delete_each`.
        """
        kind = type(self)
        if any(getattr(kind, name) is not getattr(MongoService, name) for name in _DELETES):
            return [await _tried(self.delete(db, key)) for key in ids]
        return [*await self.repo.delete_each(db, ids)]

    async def _after(self, hook: Callable[[MongoDatabase, T], Awaitable[None]], db: MongoDatabase, entity: T) -> T:
        await hook(db, entity)
        return entity


async def _tried(attempt: Awaitable[R]) -> R | Exception:
    """Return what *attempt* gives or, as a value, what it raises; a lost connection is about more than that."""
    try:
        return await attempt
    except MongoUnreachable:
        raise
    except Exception as error:  # noqa: BLE001 - handed on as the result of the item
        return error


class TenantMongoService(MongoService[T]):
    """A service whose every query carries the tenant.

    A tenant in the data of a create or update is overwritten or ignored, so a document can be neither made for nor
    moved to another tenant. Documents of others are as absent.

    Args:
        repo: The repository of all tenants' documents.
        tenant_id: The tenant.
        tenant_field: The field that holds the tenant.

    Raises:
        UnknownField: The documents have no such field.
        InvalidValue: The tenant is None.
    """

    def __init__(self, repo: MongoRepository[T], *, tenant_id: object, tenant_field: str = "tenant_id") -> None:
        super().__init__(repo.scoped({tenant_field: tenant_id}))
        self.tenant_id = tenant_id
        self.tenant_field = tenant_field
