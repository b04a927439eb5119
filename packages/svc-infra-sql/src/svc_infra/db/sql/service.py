"""The service: a repository with hooks around each write."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from svc_infra.db.sql.conditions import Where
from svc_infra.db.sql.ordering import OrderBy
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.visibility import Deleted

__all__ = ["SqlService"]

M = TypeVar("M")


class SqlService(Generic[M]):
    """Business logic around a repository: override the hooks.

    An exception that a hook raises leaves the method, so the session's owner rolls the transaction back.

    Args:
        repo: The repository; a scoped one confines the service and its hooks to the scope.
    """

    def __init__(self, repo: SqlRepository[M]) -> None:
        self.repo = repo

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data to insert; `data` is a copy that may be changed."""
        return data

    async def post_create(self, session: AsyncSession, entity: M) -> None:
        """Called with the row that was inserted."""

    async def pre_update(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the values to set; `data` is a copy that may be changed."""
        return data

    async def post_update(self, session: AsyncSession, entity: M) -> None:
        """Called with the row that was changed."""

    async def pre_delete(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        """Called with the id before its row is deleted; raise to forbid it."""

    async def post_delete(self, session: AsyncSession, id: object) -> None:  # noqa: A002
        """Called with the id when a row was deleted."""

    async def get(self, session: AsyncSession, id: object, *, deleted: Deleted = "exclude") -> M | None:  # noqa: A002
        """See `SqlRepository.get`."""
        return await self.repo.get(session, id, deleted=deleted)

    async def get_one(self, session: AsyncSession, id: object, *, deleted: Deleted = "exclude") -> M:  # noqa: A002
        """See `SqlRepository.get_one`."""
        return await self.repo.get_one(session, id, deleted=deleted)

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

    async def count(
        self,
        session: AsyncSession,
        *,
        where: Where | None = None,
        q: str | None = None,
        fields: Sequence[str] = (),
        deleted: Deleted = "exclude",
    ) -> int:
        """See `SqlRepository.count`."""
        return await self.repo.count(session, where=where, q=q, fields=fields, deleted=deleted)

    async def exists(
        self,
        session: AsyncSession,
        id: object = None,  # noqa: A002
        *,
        where: Where | None = None,
        deleted: Deleted = "exclude",
    ) -> bool:
        """See `SqlRepository.exists`."""
        return await self.repo.exists(session, id, where=where, deleted=deleted)

    async def create(self, session: AsyncSession, data: Mapping[str, object]) -> M:
        """Insert a row, with `pre_create` before and `post_create` after it; see `SqlRepository.create`."""
        entity = await self.repo.create(session, await self.pre_create(dict(data)))
        await self.post_create(session, entity)
        return entity

    async def update(self, session: AsyncSession, id: object, data: Mapping[str, object]) -> M | None:  # noqa: A002
        """Change a row, with `pre_update` before and `post_update` after it; see `SqlRepository.update`."""
        entity = await self.repo.update(session, id, await self.pre_update(dict(data)))
        if entity is not None:
            await self.post_update(session, entity)
        return entity

    async def delete(self, session: AsyncSession, id: object) -> bool:  # noqa: A002
        """Delete a row, with `pre_delete` before and `post_delete` after it; see `SqlRepository.delete`."""
        await self.pre_delete(session, id)
        deleted = await self.repo.delete(session, id)
        if deleted:
            await self.post_delete(session, id)
        return deleted
