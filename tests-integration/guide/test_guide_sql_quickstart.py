"""Quick Start, SQL: the application's life cycle alone, and with generated routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from fastapi import FastAPI
from myapp.models import User
from myapp.tables import create_tables
from serving import served
from sqlalchemy import select

from svc_infra.api.fastapi.db.sql.add import add_sql_db, setup_sql
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.resource import SqlResource


def option_1() -> FastAPI:
    app = FastAPI()

    # Option 1: Just lifecycle management
    add_sql_db(app)  # Reads SQL_URL from environment

    # Use in routes
    @app.get("/users/{user_id}")
    async def get_user(user_id: str, session: SqlSessionDep):
        result = await session.execute(select(User).where(User.id == user_id))
        return result.scalar_one_or_none()

    return app


def option_2() -> FastAPI:
    app = FastAPI()

    # Option 2: Full setup with CRUD routes
    setup_sql(
        app,
        resources=[
            SqlResource(model=User, prefix="/users", tags=["users"]),
        ],
    )
    return app


async def add_user(**values: object) -> None:
    async with Database() as database, database.session() as session:
        session.add(User(**values))


async def test_a_route_reads_through_the_session_of_its_request(sql_url: str) -> None:
    """Option 1: the handwritten route finds the row, and null for none."""
    await add_user(id="user-123", email="test@example.com", name="Ada")
    with served(option_1()) as client:
        found = client.get("/users/user-123")
        assert found.status_code == 200
        assert found.json()["email"] == "test@example.com"
        assert client.get("/users/nobody").json() is None


def test_the_generated_routes_do_a_full_round(sql_url: str) -> None:
    """Option 2: create, get, list, change and delete over HTTP, at the resource's own prefix."""
    with served(option_2()) as client:
        created = client.post("/users", json={"email": "test@example.com", "name": "Ada"})
        assert created.status_code == 201
        user = created.json()
        assert client.get(f"/users/{user['id']}").json() == user
        page = client.get("/users").json()
        assert page == {"total": 1, "items": [user], "limit": 50, "offset": 0}
        changed = client.patch(f"/users/{user['id']}", json={"name": "Grace"})
        assert (changed.status_code, changed.json()["name"]) == (200, "Grace")
        assert client.delete(f"/users/{user['id']}").status_code == 204
        assert client.get(f"/users/{user['id']}").status_code == 404


def test_both_options_live_in_one_application(sql_url: str) -> None:
    """The quick start's block as it stands: life cycle, routes, and a handwritten route beside them."""
    app = FastAPI()
    add_sql_db(app)
    setup_sql(
        app,
        resources=[
            SqlResource(model=User, prefix="/users", tags=["users"]),
        ],
    )

    @app.get("/emails/{user_id}")
    async def get_email(user_id: str, session: SqlSessionDep):
        result = await session.execute(select(User.email).where(User.id == user_id))
        return result.scalar_one_or_none()

    with served(app) as client:
        user = client.post("/users", json={"email": "test@example.com"}).json()
        assert client.get(f"/emails/{user['id']}").json() == "test@example.com"


def test_the_lifespan_that_an_application_has_stays(sql_url: str) -> None:
    """add_sql_db composes with an existing lifespan instead of replacing it."""
    events = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        events.append("start")
        yield
        events.append("end")

    app = FastAPI(lifespan=lifespan)
    add_sql_db(app)
    with served(app):
        assert events == ["start"]
    assert events == ["start", "end"]


async def test_two_applications_in_one_process_share_no_database(
    postgres_url: str, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each application reads and writes its own database."""
    with ExitStack() as stack:
        clients = []
        for url in (postgres_url, sqlite_url):
            await create_tables(url)
            monkeypatch.setenv("SQL_URL", url)
            clients.append(stack.enter_context(served(option_2())))
        clients[0].post("/users", json={"email": "first@example.com"})
        assert [client.get("/users").json()["total"] for client in clients] == [1, 0]


@pytest.mark.parametrize("variable", ["SQL_URL", "DB_URL", "DATABASE_URL", "DATABASE_URL_PRIVATE", "PRIVATE_SQL_URL"])
async def test_add_sql_db_resolves_as_the_guide_says(
    sqlite_url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not SQL_URL alone: every variable of the guide's resolution order works."""
    await create_tables(sqlite_url)
    monkeypatch.setenv(variable, sqlite_url)
    with served(option_2()) as client:
        assert client.get("/users").json()["total"] == 0
