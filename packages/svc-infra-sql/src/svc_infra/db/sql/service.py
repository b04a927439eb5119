"""The service: a repository with hooks around each write.

Its length is that of the repository's signatures, which it repeats one by one so that calls stay typed.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar, overload

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import await_only

from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.conditions import Where
from svc_infra.db.sql.creating import AwaitedRows
from svc_infra.db.sql.errors import InvalidQuery
from svc_infra.db.sql.ordering import OrderBy
from svc_infra.db.sql.paging import KeysetPage
from svc_infra.db.sql.reading import ANY_ID
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.statements import RowLock
from svc_infra.db.sql.visibility import Deleted

__all__ = ["SqlService"]

M = TypeVar("M")


class SqlService(Generic[M]):
    """Business logic around a repository: override the hooks.

    Hooks run for single writes and for writes of many rows. A write of many calls the hooks of each row, for which
    it goes row by row where it must (`post_update`, `pre_delete`, `post_delete`, ...); a hook that is not overridden
    costs nothing. An exception that a hook raises leaves the method, so the session's owner rolls the transaction back;
    whoever catches it within the session finds what was written before it, unless it came from within a batch of
    `create_many`. A hook may write in the same session, in bulk too, but leaves it to its owner to commit.

    Args:
        repo: The repository; a scoped one confines the service and its hooks to the scope.
    """

    def __init__(self, repo: SqlRepository[M]) -> None:
        self.repo = repo

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data to insert; `data` is a copy that may be changed."""
        return data

    async def post_create(self, session: AsyncSession, entity: M) -> None:
        """Called with each row that was inserted."""

    async def pre_update(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the values to set; `data` is a copy that may be changed."""
        return data

    async def post_update(self, session: AsyncSession, entity: M) -> None:
        """Called with each row that was changed."""

    async def pre_upsert(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data to insert or set; by default what `pre_create` makes of them."""
        return await self.pre_create(data)

    async def post_upsert(self, session: AsyncSession, entity: M) -> None:
        """Called with each row that was inserted or changed by an upsert."""

    async def pre_delete(self, session: AsyncSession, id: object) -> None:  # noqa: A002 (the guide's word)
        """Called with the id before its row is deleted; raise to forbid it."""

    async def post_delete(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        """Called with the id of each row that was deleted."""

    async def pre_restore(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        """Called with the id before its row is restored; raise to forbid it."""

    async def post_restore(self, session: AsyncSession, entity: M) -> None:
        """Called with each row that was restored."""

    def has_hook(self, name: str) -> bool:
        """Whether this service does something in a hook.

        >>> class Audited(SqlService):
        ...     async def post_create(self, session, entity): ...
        >>> Audited(None).has_hook("post_create"), Audited(None).has_hook("pre_update")
        (True, False)
        """
        own: object = getattr(type(self), name)
        return own is not getattr(SqlService, name)

    async def get(
        self,
        session: AsyncSession,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> M | None:
        """See `SqlRepository.get`."""
        return await self.repo.get(session, id, deleted=deleted, lock=lock)

    async def get_one(
        self,
        session: AsyncSession,
        id: object,  # noqa: A002
        *,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> M:
        """See `SqlRepository.get_one`."""
        return await self.repo.get_one(session, id, deleted=deleted, lock=lock)

    async def get_many(
        self, session: AsyncSession, ids: Iterable[object], *, deleted: Deleted = "exclude"
    ) -> builtins.list[M]:
        """See `SqlRepository.get_many`."""
        return await self.repo.get_many(session, ids, deleted=deleted)

    async def first(
        self,
        session: AsyncSession,
        *,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        lock: RowLock | None = None,
    ) -> M | None:
        """See `SqlRepository.first`."""
        return await self.repo.first(session, order_by=order_by, where=where, deleted=deleted, lock=lock)

    async def list(
        self,
        session: AsyncSession,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> builtins.list[M]:
        """See `SqlRepository.list`."""
        return await self.repo.list(
            session, limit=limit, offset=offset, order_by=order_by, where=where, deleted=deleted
        )

    async def search(
        self,
        session: AsyncSession,
        *,
        q: str,
        fields: Sequence[str],
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> builtins.list[M]:
        """See `SqlRepository.search`."""
        return await self.repo.search(
            session, q=q, fields=fields, limit=limit, offset=offset, order_by=order_by, where=where, deleted=deleted
        )

    async def list_and_count(
        self,
        session: AsyncSession,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
    ) -> tuple[builtins.list[M], int]:
        """See `SqlRepository.list_and_count`."""
        return await self.repo.list_and_count(
            session, limit=limit, offset=offset, order_by=order_by, where=where, q=q, fields=fields, deleted=deleted
        )

    async def page(
        self,
        session: AsyncSession,
        *,
        limit: int,
        cursor: str | None = None,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
    ) -> KeysetPage[M]:
        """See `SqlRepository.page`."""
        return await self.repo.page(
            session, limit=limit, cursor=cursor, order_by=order_by, where=where, q=q, fields=fields, deleted=deleted
        )

    def stream(
        self,
        session: AsyncSession,
        *,
        order_by: OrderBy | None = None,
        where: Where | None = None,
        deleted: Deleted = "exclude",
        batch_size: int = 500,
    ) -> AsyncIterator[M]:
        """See `SqlRepository.stream`."""
        return self.repo.stream(session, order_by=order_by, where=where, deleted=deleted, batch_size=batch_size)

    async def count(
        self,
        session: AsyncSession,
        *,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
        at_most: int | None = None,
    ) -> int:
        """See `SqlRepository.count`."""
        return await self.repo.count(session, where=where, q=q, fields=fields, deleted=deleted, at_most=at_most)

    async def exists(
        self,
        session: AsyncSession,
        id: object = ANY_ID,  # noqa: A002
        *,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> bool:
        """See `SqlRepository.exists`."""
        return await self.repo.exists(session, id, where=where, deleted=deleted)

    async def create(self, session: AsyncSession, data: Mapping[str, object]) -> M:
        """`SqlRepository.create` between `pre_create` and `post_create`."""
        entity = await self.repo.create(session, await self.pre_create(_copied(data)))
        await self.post_create(session, entity)
        return entity

    async def update(
        self,
        session: AsyncSession,
        id: object,  # noqa: A002
        data: Mapping[str, object],
        *,
        version: int | None = None,
    ) -> M | None:
        """`SqlRepository.update` between `pre_update` and, when there was a row, `post_update`."""
        entity = await self.repo.update(session, id, await self.pre_update(_copied(data)), version=version)
        if entity is not None:
            await self.post_update(session, entity)
        return entity

    async def upsert(
        self,
        session: AsyncSession,
        data: Mapping[str, object],
        *,
        on: str | Sequence[str] | None = None,
        update: Sequence[str] | None = None,
    ) -> M:
        """`SqlRepository.upsert` between `pre_upsert` and `post_upsert`."""
        entity = await self.repo.upsert(session, await self.pre_upsert(_copied(data)), on=on, update=update)
        await self.post_upsert(session, entity)
        return entity

    async def delete(self, session: AsyncSession, id: object, *, version: int | None = None) -> bool:  # noqa: A002
        """`SqlRepository.delete` between `pre_delete` and, when there was a row, `post_delete`."""
        await self.pre_delete(session, id)
        deleted = await self.repo.delete(session, id, version=version)
        if deleted:
            await self.post_delete(session, id)
        return deleted

    async def restore(self, session: AsyncSession, id: object) -> M | None:  # noqa: A002
        """`SqlRepository.restore` between `pre_restore` and, when there was a row, `post_restore`."""
        await self.pre_restore(session, id)
        entity = await self.repo.restore(session, id)
        if entity is not None:
            await self.post_restore(session, entity)
        return entity

    async def purge(self, session: AsyncSession, id: object, *, deleted: Deleted = "include") -> bool:  # noqa: A002
        """`SqlRepository.purge` between `pre_delete` and, when there was a row, `post_delete`."""
        await self.pre_delete(session, id)
        purged = await self.repo.purge(session, id, deleted=deleted)
        if purged:
            await self.post_delete(session, id)
        return purged

    @overload
    async def create_many(
        self,
        session: AsyncSession,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: Literal[True] = True,
        batch_size: int = ...,
        progress: Callable[[int], object] | None = ...,
    ) -> builtins.list[M]: ...

    @overload
    async def create_many(
        self,
        session: AsyncSession,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: Literal[False],
        batch_size: int = ...,
        progress: Callable[[int], object] | None = ...,
    ) -> int: ...

    async def create_many(
        self,
        session: AsyncSession,
        rows: Iterable[Mapping[str, object]],
        *,
        returning: bool = True,
        batch_size: int = 5000,
        progress: Callable[[int], object] | None = None,
    ) -> builtins.list[M] | int:
        """`SqlRepository.create_many` with `pre_create` and `post_create` of each row.

        The hooks run as the rows go by: `pre_create` of the rows of a batch, the insert, and, when the rows are not
        returned, `post_create` of the batch; so an iterator needs no more memory than a batch here too. When they are
        returned, `post_create` runs after the last batch. The first exception undoes all of them.
        """
        if self.has_hook("pre_create"):
            rows = AwaitedRows(rows, lambda row: self.pre_create(_copied(row)))
        if returning:
            entities = await self.repo.create_many(session, rows, batch_size=batch_size, progress=progress)
            if self.has_hook("post_create"):
                for entity in entities:
                    await self.post_create(session, entity)
            return entities
        if not self.has_hook("post_create"):
            return await self.repo.create_many(session, rows, returning=False, batch_size=batch_size, progress=progress)

        def tell(created: builtins.list[M]) -> None:
            for entity in created:
                await_only(self.post_create(session, entity))

        return await self.repo.create_many(session, rows, batch_size=batch_size, progress=progress, each=tell)

    async def upsert_many(
        self,
        session: AsyncSession,
        rows: Iterable[Mapping[str, object]],
        *,
        on: str | Sequence[str] | None = None,
        update: Sequence[str] | None = None,
    ) -> builtins.list[M]:
        """`SqlRepository.upsert_many` with `pre_upsert` and `post_upsert` of each row."""
        given = [await self.pre_upsert(_copied(row)) for row in rows]
        entities = await self.repo.upsert_many(session, given, on=on, update=update)
        for entity in entities:
            await self.post_upsert(session, entity)
        return entities

    async def update_many(
        self,
        session: AsyncSession,
        data: Mapping[str, object],
        *,
        where: Where | None = None,
        ids: Iterable[object] | None = None,
    ) -> int:
        """`SqlRepository.update_many` after one `pre_update`, with `post_update` of each row."""
        values = await self.pre_update(_copied(data))
        if not self.has_hook("post_update"):
            return await self.repo.update_many(session, values, where=where, ids=ids)
        chosen = await self.repo.ids_of(session, where=where, ids=ids)
        number = 0
        for id in chosen:  # noqa: A001
            entity = await self.repo.update(session, id, values)
            if entity is not None:
                number += 1
                await self.post_update(session, entity)
        return number

    async def update_each(self, session: AsyncSession, changes: Iterable[Change]) -> builtins.list[M | None]:
        """`SqlRepository.update_each` with `pre_update` of each change and, where there was a row, `post_update`."""
        given = [replace(change, data=await self.pre_update(dict(change.data))) for change in changes]
        entities = await self.repo.update_each(session, given)
        for entity in entities:
            if entity is not None:
                await self.post_update(session, entity)
        return entities

    async def delete_many(
        self, session: AsyncSession, *, where: Where | None = None, ids: Iterable[object] | None = None
    ) -> int:
        """`SqlRepository.delete_many` with `pre_delete` and `post_delete` of each row."""
        if not self.has_hook("pre_delete") and not self.has_hook("post_delete"):
            return await self.repo.delete_many(session, where=where, ids=ids)
        chosen = await self.repo.ids_of(session, where=where, ids=ids)
        return sum([await self.delete(session, id) for id in chosen])  # noqa: A001

    async def restore_many(
        self, session: AsyncSession, *, where: Where | None = None, ids: Iterable[object] | None = None
    ) -> int:
        """`SqlRepository.restore_many` with `pre_restore` and `post_restore` of each row."""
        if not self.has_hook("pre_restore") and not self.has_hook("post_restore"):
            return await self.repo.restore_many(session, where=where, ids=ids)
        chosen = await self.repo.ids_of(session, where=where, ids=ids, deleted="only")
        return sum([await self.restore(session, id) is not None for id in chosen])  # noqa: A001

    async def purge_many(
        self,
        session: AsyncSession,
        *,
        where: Where | None = None,
        ids: Iterable[object] | None = None,
        deleted: Deleted = "only",
    ) -> int:
        """`SqlRepository.purge_many` with `pre_delete` and `post_delete` of each row."""
        if not self.has_hook("pre_delete") and not self.has_hook("post_delete"):
            return await self.repo.purge_many(session, where=where, ids=ids, deleted=deleted)
        chosen = await self.repo.ids_of(session, where=where, ids=ids, deleted=deleted)
        return sum([await self.purge(session, id, deleted=deleted) for id in chosen])  # noqa: A001


def _copied(data: Mapping[str, object]) -> dict[str, Any]:
    """A copy that a hook may change.

    Raises:
        InvalidQuery: When it is no mapping; of an empty list, say, there would be no telling any more.
    """
    if not isinstance(data, Mapping):
        raise InvalidQuery(f"a service takes values by field, got {type(data).__name__}")
    return dict(data)
