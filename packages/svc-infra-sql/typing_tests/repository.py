# ruff: noqa: INP001
"""Only type-checked: the model's type goes through repository, service, tenant, rows and resource."""

from __future__ import annotations

from typing import Any, assert_type

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.filters import Compare, field
from svc_infra.db.sql.paging import KeysetPage
from svc_infra.db.sql.repository import RowRepository, SqlRepository
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService
from svc_infra.db.sql.tenant import TenantSqlService


class User(ModelBase):
    """A model."""

    __tablename__ = "typing_users"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    age: Mapped[int]


class UserService(SqlService[User]):
    """A service with the guide's hooks."""

    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        """Hash something."""
        return data

    async def post_create(self, session: AsyncSession, entity: User) -> None:  # noqa: ARG002
        """See the model."""
        assert_type(entity.name, str)


class PlainService(SqlService[User]):
    """The guide's hooks as they stand there, without parameters of dict."""

    async def pre_update(self, data: dict) -> dict:  # type: ignore[type-arg]
        """Audit something."""
        return data


async def the_repository_gives_the_model(session: AsyncSession, connection: AsyncConnection) -> None:
    """Objects of the model, never Any."""
    repo = SqlRepository(model=User, id_attr="id", immutable_fields={"id", "created_at"})
    assert_type(repo, SqlRepository[User])
    assert_type(await repo.get(session, "a"), User | None)
    assert_type(await repo.get_one(session, "a"), User)
    assert_type(await repo.first(session, where=User.age > 3), User | None)
    assert_type(await repo.list(session, limit=10, offset=0, order_by=[User.name.desc()]), list[User])
    assert_type(await repo.list(session, limit=10, order_by="-name", where=field("age").gt(3)), list[User])
    assert_type(
        await repo.list(session, limit=10, order_by=User.name, where=[User.age > 3, field("id").eq(1)]), list[User]
    )
    assert_type(await repo.search(session, q="x", fields=["name"], limit=10, offset=0), list[User])
    assert_type(await repo.list_and_count(session, limit=1), tuple[list[User], int])
    assert_type(await repo.page(session, limit=1), KeysetPage[User])
    assert_type(await repo.create(session, {"name": "x"}), User)
    assert_type(await repo.create_many(session, [{"name": "x"}]), list[User])
    assert_type(await repo.create_many(session, [{"name": "x"}], returning=False), int)
    assert_type(await repo.update(session, "a", {"name": "x"}), User | None)
    assert_type(await repo.upsert(session, {"name": "x"}, on="name"), User)
    assert_type(await repo.delete(session, "a"), bool)
    assert_type(await repo.delete_many(session, where=field("age").is_null()), int)
    assert_type(repo.scoped({"name": "x"}), SqlRepository[User])
    assert_type(repo.loading("posts"), SqlRepository[User])
    assert_type(repo.rows, RowRepository[User])
    async for user in repo.stream(session):
        assert_type(user, User)
    await repo.rows.get(connection, "a")
    await repo.rows.get(session, "a")
    await repo.get(connection, "a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def services_give_the_model(session: AsyncSession) -> None:
    """With hooks, and of one tenant."""
    repo = SqlRepository(User)
    service = UserService(repo)
    assert_type(await service.create(session, {"name": "x"}), User)
    assert_type(await service.list(session, limit=10, offset=0), list[User])
    tenant = TenantSqlService(repo, tenant_id="tenant-123", tenant_field="tenant_id")
    assert_type(tenant, TenantSqlService[User])
    assert_type(await tenant.get(session, "a"), User | None)
    UserService(SqlRepository(ModelBase))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def resources_and_filters_are_typed() -> None:
    """The guide's resource, and the operators of a filter."""
    resource = SqlResource(
        model=User,
        prefix="/users",
        tags=["users"],
        search_fields=["name", "email"],
        ordering_default="-created_at",
        service_factory=lambda repo: UserService(repo),  # noqa: PLW0108 (as in the guide)
    )
    assert_type(resource, SqlResource[User])
    assert_type(resource.repository(), SqlRepository[User])
    assert_type(field("age").ge(3), Compare)
    Compare("age", "bigger", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
