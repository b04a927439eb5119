"""A tenant's record refers to the tenant's own records only, through the routes as through the repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.api.fastapi.db.sql.resource import ALL_ACTIONS, ApiResource
from svc_infra.api.fastapi.db.sql.state import get_database
from svc_infra.api.fastapi.tenancy.context import set_tenant_resolver, tenant_header
from svc_infra.db.sql.resource import SqlResource

ONE, TWO = {"X-Tenant-Id": "one"}, {"X-Tenant-Id": "two"}


class Base(DeclarativeBase):
    """The base of this module's tables."""


class Team(Base):
    """What the others refer to."""

    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))


class Project(Base):
    """Brings steps along."""

    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))
    steps: Mapped[list[Step]] = relationship()


class Step(Base):
    """Comes along with a project, and refers to a team by itself."""

    __tablename__ = "steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(20))
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))


@pytest.fixture(params=["sqlite", "postgres"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A service with teams, and projects that bring steps along."""
    app = FastAPI()
    resources: list[SqlResource[Any]] = [
        SqlResource(model=Team, prefix="/teams", tenant_field="tenant_id"),
        ApiResource(
            model=Project,
            prefix="/projects",
            tenant_field="tenant_id",
            nested=["steps"],
            actions=ALL_ACTIONS - {"restore"},
        ),
    ]
    setup_sql(app, resources, url=request.getfixturevalue(f"{request.param}_url"))
    set_tenant_resolver(app, tenant_header())
    async with app.router.lifespan_context(app):
        async with get_database(app).engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_another_tenant_s_record_is_refused_as_one_that_is_missing(client: httpx.AsyncClient) -> None:
    """The answers to both are the same to the byte, whichever way the foreign key is written."""
    theirs = (await client.post("/teams", json={}, headers=TWO)).json()["id"]
    ours = (await client.post("/teams", json={}, headers=ONE)).json()["id"]
    project = (await client.post("/projects", json={"team_id": ours}, headers=ONE)).json()
    for method, path, body in [
        ("POST", "/projects", lambda team: {"team_id": team}),
        ("PATCH", f"/projects/{project['id']}", lambda team: {"team_id": team}),
        ("POST", "/projects", lambda team: {"team_id": ours, "steps": [{}, {"team_id": team}]}),
        ("POST", "/projects/bulk", lambda team: [{"team_id": ours}, {"team_id": team}]),
        ("POST", "/projects/bulk?atomic=false", lambda team: [{"team_id": ours}, {"team_id": team}]),
    ]:
        told = []
        for team in (theirs, 999):
            answer = await client.request(method, path, json=body(team), headers=ONE)
            told.append((answer.status_code, answer.text.partition('"index":1')[2] or answer.text))
        assert told[0] == told[1]
        assert told[0][0] == (207 if "atomic" in path else 409)
        assert "foreign-key-violation" in told[0][1]
        assert "team_id" in told[0][1]
        assert (await client.request(method, path, json=body(ours), headers=ONE)).status_code in {200, 201}
    page = (await client.get("/projects?limit=50", headers=ONE)).json()
    assert {each["team_id"] for each in page["items"]} == {ours}
