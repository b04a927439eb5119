"""Repository Pattern: the repository, the service with hooks, the tenant service, on each database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from myapp.models import User
from myapp.services import UserService, verify_password
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.tenant import TenantSqlService


def make_repository() -> SqlRepository[User]:
    return SqlRepository(
        model=User,
        id_attr="id",
        soft_delete=True,
        soft_delete_field="deleted_at",
        immutable_fields={"id", "created_at"},
    )


async def add_users(session: AsyncSession) -> None:
    """Three users, the newest first by name as well."""
    now = datetime.now(UTC)
    for age, (id_, name) in enumerate([("user-123", "John Smith"), ("user-124", "Johnny_Cash"), ("user-125", "Zoe")]):
        email = f"{name.split()[0].lower()}@example.com"
        session.add(User(id=id_, name=name, email=email, created_at=now - timedelta(days=age)))
    await session.flush()


async def test_list_with_pagination(session: AsyncSession) -> None:
    """The newest first, by the model's own column expression."""
    repo = make_repository()
    await add_users(session)
    users = await repo.list(session, limit=10, offset=0, order_by=[User.created_at.desc()])
    assert [user.id for user in users] == ["user-123", "user-124", "user-125"]
    assert [user.id for user in await repo.list(session, limit=1, offset=1, order_by=[User.created_at.desc()])] == [
        "user-124"
    ]


async def test_get_by_id_respects_soft_delete(session: AsyncSession) -> None:
    """A deleted row is not found, though it is still in the table."""
    repo = make_repository()
    await add_users(session)
    user = await repo.get(session, "user-123")
    assert user is not None
    assert user.name == "John Smith"
    assert await repo.delete(session, "user-123")
    assert await repo.get(session, "user-123") is None
    kept = (await session.execute(select(User.deleted_at).where(User.id == "user-123"))).scalar_one()
    assert kept is not None


async def test_create_gives_the_row_with_its_defaults(session: AsyncSession) -> None:
    """The database's and the model's defaults are there without another query by the caller."""
    repo = make_repository()
    new_user = await repo.create(session, {"email": "test@example.com"})
    assert new_user.id
    assert new_user.created_at is not None
    assert (await repo.get(session, new_user.id)).email == "test@example.com"


async def test_update_ignores_immutable_fields(session: AsyncSession) -> None:
    """The name changes, id and created_at don't."""
    repo = make_repository()
    await add_users(session)
    before = await repo.get(session, "user-123")
    created_at = before.created_at
    updated = await repo.update(session, "user-123", {"name": "New Name"})
    assert updated.name == "New Name"
    again = await repo.update(session, "user-123", {"id": "other", "created_at": datetime.now(UTC), "name": "Third"})
    assert (again.id, again.created_at, again.name) == ("user-123", created_at, "Third")


async def test_search_looks_in_every_field_and_ignores_case(session: AsyncSession) -> None:
    """ILIKE in name and email; a wildcard in the query is a plain character."""
    repo = make_repository()
    await add_users(session)
    results = await repo.search(
        session,
        q="john",
        fields=["name", "email"],
        limit=10,
        offset=0,
    )
    assert sorted(user.id for user in results) == ["user-123", "user-124"]
    assert [user.id for user in await repo.search(session, q="y_c", fields=["name"], limit=10, offset=0)] == [
        "user-124"
    ]
    assert await repo.search(session, q="n_s", fields=["name"], limit=10, offset=0) == []


async def test_a_service_hook_changes_what_is_stored(session: AsyncSession) -> None:
    """The hash is stored, the password isn't."""
    service = UserService(make_repository())
    user = await service.create(session, {"email": "ada@example.com", "password": "correct horse"})
    assert verify_password("correct horse", user.password_hash)
    renamed = await service.update(session, user.id, {"name": "Ada"})
    assert renamed.name == "Ada"


async def test_a_tenant_service_sees_and_makes_its_own_rows_only(session: AsyncSession) -> None:
    """Listing, reading, changing and deleting stay within the tenant; creating injects it."""
    repo = make_repository()
    service = TenantSqlService(
        repo,
        tenant_id="tenant-123",
        tenant_field="tenant_id",
    )
    other = await TenantSqlService(repo, tenant_id="tenant-456", tenant_field="tenant_id").create(
        session, {"email": "other@example.com"}
    )

    # Create auto-injects tenant_id
    user = await service.create(session, {"email": "mine@example.com"})
    assert user.tenant_id == "tenant-123"

    # List only returns this tenant's records
    users = await service.list(session, limit=10, offset=0)
    assert [found.id for found in users] == [user.id]

    assert await service.get(session, other.id) is None
    assert await service.update(session, other.id, {"name": "taken"}) is None
    assert not await service.delete(session, other.id)
    forged = await service.create(session, {"email": "forged@example.com", "tenant_id": "tenant-456"})
    assert forged.tenant_id == "tenant-123"


@pytest.mark.parametrize("id_", ["nobody", ""])
async def test_what_does_not_exist_is_none_or_false(session: AsyncSession, id_: str) -> None:
    """No row is no exception, unless the caller asks for one."""
    repo = make_repository()
    assert await repo.get(session, id_) is None
    assert await repo.update(session, id_, {"name": "x"}) is None
    assert not await repo.delete(session, id_)
