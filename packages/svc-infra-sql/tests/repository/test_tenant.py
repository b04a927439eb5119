"""One tenant's service sees and touches its own rows only, by every method; PostgreSQL itself is the second wall."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from sqlalchemy import DateTime, ForeignKey, String, Uuid, create_engine, literal_column, text, true
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column, relationship

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import InvalidQuery, InvalidValue, UniqueViolation, UnknownField
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.rls import bind_tenant, drop_tenant_policy, tenant_policy
from svc_infra.db.sql.tenant import TenantSqlService


class Project(ModelBase):
    __tablename__ = "tenant_projects"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(20))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    tasks: Mapped[list[Task]] = relationship(back_populates="project")


class Task(ModelBase):
    __tablename__ = "tenant_tasks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("tenant_projects.id"))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    project: Mapped[Project | None] = relationship(back_populates="tasks")


class Badge(ModelBase):
    __tablename__ = "tenant_badges"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    org: Mapped[int]
    owner: Mapped[uuid.UUID] = mapped_column(Uuid)


TABLES = [Project.__table__, Task.__table__, Badge.__table__]
projects = SqlRepository(Project, soft_delete=True)
tasks = SqlRepository(Task, soft_delete=True)
badges = SqlRepository(Badge)


async def test_every_method_is_confined_to_the_tenant(session: AsyncSession) -> None:
    """What another tenant has is absent for reads and out of reach for writes."""
    ours, theirs = TenantSqlService(projects, tenant_id="a"), TenantSqlService(projects, tenant_id="b")
    await theirs.create_many(session, [{"id": "x", "name": "x"}, {"id": "y", "name": "y"}, {"id": "z", "name": "z"}])
    await theirs.delete(session, "z")
    assert await ours.get(session, "x") is None
    assert await ours.get_many(session, ["x", "y"]) == []
    assert await ours.first(session) is None
    assert await ours.list(session, limit=9, deleted="include") == []
    assert await ours.search(session, q="x", fields=["name"], limit=9) == []
    assert await ours.list_and_count(session, limit=9) == ([], 0)
    assert (await ours.page(session, limit=9)).items == []
    assert [item async for item in ours.stream(session)] == []
    assert (await ours.count(session), await ours.count(session, at_most=5)) == (0, 0)
    assert not await ours.exists(session, "x")
    assert not await ours.exists(session, where=field("name").eq("x"))
    assert await ours.update(session, "x", {"name": "stolen"}) is None
    assert await ours.update_many(session, {"name": "stolen"}, where=[]) == 0
    assert await ours.update_many(session, {"name": "stolen"}, ids=["x", "y"]) == 0
    assert await ours.delete(session, "x") is False
    assert await ours.delete_many(session, where=[]) == 0
    assert await ours.restore(session, "z") is None
    assert await ours.restore_many(session, ids=["z"]) == 0
    assert await ours.purge(session, "x") is False
    assert await ours.purge_many(session, where=[], deleted="include") == 0
    assert [row.name for row in await theirs.list(session, limit=9)] == ["x", "y"]
    assert await theirs.count(session, deleted="only") == 1


async def test_the_tenant_in_the_data_does_not_count(session: AsyncSession) -> None:
    """Created rows are the tenant's own; no update, upsert or bulk write moves one."""
    ours, theirs = TenantSqlService(projects, tenant_id="a"), TenantSqlService(projects, tenant_id="b")
    made = await ours.create(session, {"id": "1", "tenant_id": "b"})
    assert made.tenant_id == "a"
    assert [p.tenant_id for p in await ours.create_many(session, [{"id": "2", "tenant_id": "b"}])] == ["a"]
    assert await ours.create_many(session, [{"id": "3", "tenant_id": "b"}], returning=False) == 1
    assert (await ours.upsert(session, {"id": "4", "tenant_id": "b"})).tenant_id == "a"
    assert (await ours.upsert(session, {"id": "4", "tenant_id": "b", "name": "n"})).tenant_id == "a"
    assert (await ours.update(session, "1", {"tenant_id": "b", "name": "n"})).tenant_id == "a"
    assert await ours.update_many(session, {"tenant_id": "b"}, where=[]) == 0
    assert await theirs.count(session) == 0
    assert await ours.count(session) == 4


async def test_an_or_in_a_condition_does_not_reach_beyond_the_tenant(session: AsyncSession) -> None:
    """Whether it is text, a literal, an expression or a filter, for reads and for writes of many."""
    ours, theirs = projects.scoped({"tenant_id": "a"}), projects.scoped({"tenant_id": "b"})
    await theirs.create(session, {"id": "x", "name": "x"})
    for where in (
        text("1 = 1 OR 1 = 1"),
        [Project.name == "x", text("1 = 0 OR 1 = 1")],
        literal_column("1 = 1 OR 1 = 1"),
        (Project.name == "x") | (Project.id == "x"),
        (Project.name == "x").op("OR")(true()),
        field("name").eq("x") | field("id").eq("x"),
    ):
        assert await ours.list(session, limit=9, where=where) == []
        assert await ours.count(session, where=where) == 0
        assert not await ours.exists(session, where=where)
        assert (await ours.page(session, limit=9, where=where)).items == []
        assert await ours.update_many(session, {"name": "stolen"}, where=where) == 0
        assert await ours.delete_many(session, where=where) == 0
        assert await ours.purge_many(session, where=where, deleted="include") == 0
    assert (await theirs.get_one(session, "x")).name == "x"


async def test_an_upsert_can_t_take_over_a_row_of_another_tenant(database: Database) -> None:
    """The key is taken, which is all that is told."""
    async with database.session() as session:
        await projects.create(session, {"id": "x", "tenant_id": "b", "name": "theirs"})
        with pytest.raises(UniqueViolation):
            await TenantSqlService(projects, tenant_id="a").upsert(session, {"id": "x", "name": "stolen"})
        assert (await projects.get_one(session, "x")).name == "theirs"
        await session.rollback()


async def test_relationships_show_only_rows_of_the_tenant(session: AsyncSession) -> None:
    """Loading and filters over relationships, even when a foreign key points across."""
    await projects.create(session, {"id": "p", "tenant_id": "a"})
    for key, tenant in [("1", "a"), ("2", "b"), ("3", "a")]:
        await tasks.create(session, {"id": key, "tenant_id": tenant, "project_id": "p"})
    await tasks.delete(session, "3")
    session.expunge_all()
    repo = projects.scoped({"tenant_id": "a"})
    (project,) = await repo.loading("tasks").list(session, limit=9)
    assert [task.id for task in project.tasks] == ["1"]
    assert await repo.count(session, where=field("tasks").any(field("id").eq("2"))) == 0
    assert await repo.count(session, where=field("tasks").any(field("id").eq("1"))) == 1
    session.expunge_all()
    mine = tasks.scoped({"tenant_id": "b"}).loading("project")
    assert [task.project for task in await mine.list(session, limit=9)] == [None]


async def test_a_tenant_may_be_a_number_or_a_uuid(session: AsyncSession) -> None:
    """The tenant has its column's type; another type is refused."""
    owner = uuid.uuid4()
    by_number, by_uuid = badges.scoped({"org": 7}), badges.scoped({"owner": str(owner)})
    await by_number.create(session, {"id": 1, "owner": uuid.uuid4()})
    badge = await by_uuid.create(session, {"id": 2, "org": 8, "owner": uuid.uuid4()})
    assert badge.owner == owner
    assert [b.id for b in await by_number.list(session, limit=9)] == [1]
    assert [b.id for b in await by_uuid.list(session, limit=9)] == [2]
    assert (await by_uuid.page(session, limit=1)).items == [badge]
    assert await by_number.scoped({"owner": owner}).count(session) == 0
    with pytest.raises(InvalidValue):
        await badges.scoped({"org": "7 OR 1=1"}).list(session, limit=9)
    with pytest.raises(UnknownField):
        TenantSqlService(badges, tenant_id=1)
    with pytest.raises(InvalidValue):
        TenantSqlService(projects, tenant_id=None)


async def test_postgresql_itself_keeps_tenants_apart(postgres_url: str, postgres_admin_url: str) -> None:
    """Hand-written SQL under a role that does not own the table sees and writes only the bound tenant's rows."""
    async with Database(postgres_url) as database:
        async with database.engine.begin() as connection:
            await connection.run_sync(ModelBase.metadata.create_all, tables=TABLES)
            for statement in tenant_policy(Project):
                await connection.execute(text(statement))
            await connection.execute(text("INSERT INTO tenant_badges VALUES (1, 1, gen_random_uuid())"))
        admin = create_engine(postgres_admin_url.replace("postgresql:", "postgresql+psycopg:", 1))
        role = f"teller_{uuid.uuid4().hex[:8]}"
        with admin.begin() as connection:
            connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'"))
            connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
        try:
            host = postgres_url.rpartition("@")[2]
            for url in (postgres_url, f"postgresql://{role}:pw@{host}"):
                await try_to_cross(url)
        finally:
            with admin.begin() as connection:
                connection.execute(text(f"DROP OWNED BY {role}"))
                connection.execute(text(f"DROP ROLE {role}"))
            admin.dispose()
        async with database.engine.begin() as connection:
            for statement in drop_tenant_policy(Project):
                await connection.execute(text(statement))
            assert (await connection.execute(text("SELECT count(*) FROM tenant_projects"))).scalar_one() == 2


async def try_to_cross(url: str) -> None:
    """Every way to another tenant's rows that SQL has."""
    key = uuid.uuid4().hex
    async with Database(url, pool_size=1, max_overflow=0) as database:
        async with database.session() as session:
            await bind_tenant(session, "b")
            await projects.create(session, {"id": key, "tenant_id": "b", "name": "theirs"})
        async with database.session() as session:
            # The connection is the same, the transaction is not: no tenant, no rows.
            assert (await session.execute(text("SELECT count(*) FROM tenant_projects"))).scalar_one() == 0
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
            await bind_tenant(session, "a")
            assert (await session.execute(text("SELECT count(*) FROM tenant_projects"))).scalar_one() == 0
            assert (await session.execute(text("UPDATE tenant_projects SET name = 'stolen'"))).rowcount == 0
            assert (await session.execute(text("DELETE FROM tenant_projects"))).rowcount == 0
            assert await projects.list(session, limit=9) == []
            await session.commit()
            assert await projects.count(session) == 0
        for statement in (
            f"INSERT INTO tenant_projects (id, tenant_id) VALUES ('{uuid.uuid4()}', 'b')",
            "INSERT INTO tenant_projects (id, tenant_id) VALUES ('mine', 'a'); ",
        ):
            session = AsyncSession(database.engine)
            await bind_tenant(session, "a")
            if "'b'" in statement:
                with pytest.raises(ProgrammingError, match="row-level security"):
                    await session.execute(text(statement))
            else:
                await session.execute(text(statement))
                with pytest.raises(ProgrammingError, match="row-level security"):
                    await session.execute(text("UPDATE tenant_projects SET tenant_id = 'b' WHERE id = 'mine'"))
            await session.rollback()
            await session.close()


async def test_a_session_is_bound_on_postgresql_to_a_tenant_only(memory: AsyncSession) -> None:
    """Elsewhere there is no second wall, and that is said; settings and tenants that mean nothing are refused."""
    with pytest.raises(InvalidQuery, match="PostgreSQL"):
        await bind_tenant(memory, "a")
    with pytest.raises(InvalidValue):
        await bind_tenant(memory, "")
    with pytest.raises(UnknownField):
        tenant_policy(Badge)
    with pytest.raises(InvalidQuery):
        tenant_policy(Project, setting="x'; DROP TABLE y")
