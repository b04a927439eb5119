"""The guide's examples of the repository, the service and tenancy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Column, DateTime, String, func
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.errors import UnknownField
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.service import SqlService
from svc_infra.db.sql.tenant import TenantSqlService


class User(ModelBase):
    __tablename__ = "guide_users"
    id = Column(String(40), primary_key=True)
    email = Column(String(100), unique=True)
    name = Column(String(100))
    tenant_id = Column(String(40))
    password_hash = Column(String(100))
    created_at = Column(DateTime, server_default=func.now())
    deleted_at = Column(DateTime)


repo = SqlRepository(
    model=User,
    id_attr="id",
    soft_delete=True,
    soft_delete_field="deleted_at",
    immutable_fields={"id", "created_at"},
)


@pytest.fixture
async def session() -> AsyncIterator[AsyncSession]:
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(User.__table__.create)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session
    await engine.dispose()


async def test_the_guides_repository_examples_work_as_written(session: AsyncSession) -> None:
    """List, get, create, update, delete and search do what the guide says."""
    new_user = await repo.create(session, {"id": "user-123", "email": "test@example.com", "name": "John 50%_"})
    assert new_user.created_at is not None
    assert await repo.get(session, "user-123") is new_user
    assert await repo.list(session, limit=10, offset=0, order_by=[User.created_at.desc()]) == [new_user]
    updated = await repo.update(session, "user-123", {"name": "New John", "id": "other", "created_at": None})
    assert updated is new_user
    assert (new_user.id, new_user.name) == ("user-123", "New John")
    assert await repo.search(session, q="john", fields=["name", "email"], limit=10, offset=0) == [new_user]
    assert await repo.search(session, q="%", fields=["name", "email"], limit=10, offset=0) == []
    assert await repo.delete(session, "user-123") is True
    assert await repo.delete(session, "user-123") is False
    assert await repo.get(session, "user-123") is None


async def test_the_guides_service_hooks_change_the_data(session: AsyncSession) -> None:
    """pre_create and pre_update see the data and what they return is written."""

    class UserService(SqlService):  # type: ignore[type-arg]
        async def pre_create(self, data: dict) -> dict:  # type: ignore[type-arg]
            data["password_hash"] = "hashed " + data.pop("password")
            return data

    user = await UserService(repo).create(session, {"id": "a", "email": "a@b", "password": "secret"})
    assert user.password_hash == "hashed secret"


async def test_the_guides_tenant_service_sees_one_tenant(session: AsyncSession) -> None:
    """A tenant's service lists its own rows and injects the tenant, whatever the data says."""
    service = TenantSqlService(repo, tenant_id="tenant-123", tenant_field="tenant_id")
    await repo.create(session, {"id": "x", "tenant_id": "other"})
    assert await service.list(session, limit=10, offset=0) == []
    user = await service.create(session, {"id": "y", "email": "y@b", "tenant_id": "other"})
    assert user.tenant_id == "tenant-123"
    assert await service.update(session, "x", {"name": "stolen"}) is None
    with pytest.raises(UnknownField):
        TenantSqlService(repo, tenant_id="tenant-123", tenant_field="tenant")
