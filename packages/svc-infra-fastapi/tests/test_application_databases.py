"""`add_sql_db` and `setup_sql`: which databases an application has, and how they live and end with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from svc_infra.api.fastapi.db.sql.add import add_sql_db, get_database, setup_sql
from svc_infra.api.fastapi.db.sql.session import SqlSessionDep, session_of
from svc_infra.api.fastapi.db.sql.state import DatabaseNotStarted
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.resource import SqlResource
from svc_infra.dburl.errors import DatabaseUrlError

ClientOf = Callable[[FastAPI], Awaitable[httpx.AsyncClient]]


audit_session = session_of("audit")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)


async def start(app: FastAPI) -> None:
    async with app.router.lifespan_context(app):
        pass


async def test_the_url_comes_from_any_source_of_the_resolver(tmp_path: Path, running: ClientOf) -> None:
    """Not only SQL_URL: DATABASE_URL works too."""
    app = FastAPI()
    add_sql_db(app, environ={"DATABASE_URL": f"sqlite:///{tmp_path / 'found.db'}"})
    await running(app)
    assert get_database(app).url.database == str(tmp_path / "found.db")


async def test_an_unresolvable_url_stops_the_start_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names what was looked at, in one line, and nothing is open afterwards."""
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    add_sql_db(app, environ={})
    with pytest.raises(DatabaseUrlError, match="SQL_URL") as caught:
        await start(app)
    assert "\n" not in str(caught.value)


async def test_a_missing_variable_of_a_named_database_is_named(tmp_path: Path) -> None:
    """dsn_env reads one variable and says so when it is not there."""
    app = FastAPI()
    add_sql_db(app, name="audit", dsn_env="AUDIT_URL", environ={})
    with pytest.raises(DatabaseUrlError, match="AUDIT_URL"):
        await start(app)


async def test_add_sql_db_and_setup_sql_open_one_database(sqlite_url: str, running: ClientOf) -> None:
    """The guide's quick start calls both; there is one engine."""
    app = FastAPI()
    add_sql_db(app, url=sqlite_url)
    opened: list[Database] = []
    setup_sql(app, resources=[SqlResource(model=Note, prefix="/notes")])
    setup_sql(app, resources=[SqlResource(model=Note, prefix="/more")])
    await running(app)
    opened.append(get_database(app))
    assert list(app.state.svc_infra_sql) == ["default"]


async def test_a_later_add_sql_db_replaces_what_setup_sql_assumed(sqlite_url: str, running: ClientOf) -> None:
    """The order of the two calls does not matter."""
    app = FastAPI()
    setup_sql(app, resources=[SqlResource(model=Note, prefix="/notes")])
    add_sql_db(app, url=sqlite_url)
    await running(app)
    assert get_database(app).url.get_backend_name() == "sqlite"


async def test_the_applications_own_lifespan_sees_the_open_database(sqlite_url: str) -> None:
    """The database opens before the application's start-up code and closes after its shutdown code."""
    seen: list[int] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        async with get_database(app).session() as session:
            seen.append(int(await session.scalar(text("SELECT 1")) or 0))
        yield {"kept": "state"}
        async with get_database(app).session() as session:
            seen.append(int(await session.scalar(text("SELECT 2")) or 0))

    app = FastAPI(lifespan=lifespan)
    add_sql_db(app, url=sqlite_url)
    async with app.router.lifespan_context(app) as state:
        assert state == {"kept": "state"}
    assert seen == [1, 2]
    with pytest.raises(DatabaseNotStarted):
        get_database(app)


async def test_two_databases_of_one_application_are_apart(tmp_path: Path, running: ClientOf) -> None:
    """Each named database has its own sessions."""
    app = FastAPI()
    add_sql_db(app, url=f"sqlite:///{tmp_path / 'main.db'}")
    add_sql_db(app, name="audit", url=f"sqlite:///{tmp_path / 'audit.db'}")

    @app.get("/")
    async def files(
        main: SqlSessionDep, audit: Annotated[AsyncSession, Depends(audit_session, scope="function")]
    ) -> list[str]:
        rows = [(await session.execute(text("PRAGMA database_list"))).one() for session in (main, audit)]
        return [Path(row[2]).name for row in rows]

    assert (await (await running(app)).get("/")).json() == ["main.db", "audit.db"]


async def test_two_applications_in_one_process_share_nothing(tmp_path: Path, running: ClientOf) -> None:
    """State lives on each application."""
    apps = [FastAPI(), FastAPI()]
    for number, app in enumerate(apps):
        add_sql_db(app, url=f"sqlite:///{tmp_path / f'{number}.db'}")
        await running(app)
    first, second = (get_database(app) for app in apps)
    assert first is not second
    assert first.url.database != second.url.database


async def test_a_ready_database_is_used_and_left_open(sqlite_url: str) -> None:
    """Who opened it closes it."""
    async with Database(sqlite_url) as database:
        app = FastAPI()
        add_sql_db(app, database=database)
        await start(app)
        assert get_database(app) is database
        await database.ping()


async def test_an_application_starts_again_after_it_stopped(sqlite_url: str) -> None:
    """Each start opens a database of its own."""
    app = FastAPI()
    add_sql_db(app, url=sqlite_url)
    for _ in range(2):
        async with app.router.lifespan_context(app):
            await get_database(app).ping()


async def test_a_request_without_lifespan_says_what_to_do(sqlite_url: str) -> None:
    """The usual mistake in tests gets an answer, not an AttributeError."""
    app = FastAPI()
    add_sql_db(app, url=sqlite_url)
    with pytest.raises(DatabaseNotStarted, match="lifespan"):
        get_database(app)
    with pytest.raises(DatabaseNotStarted, match=r"Database not initialized\. Call add_sql_db"):
        get_database(FastAPI())


def test_a_second_declaration_of_a_name_is_refused(sqlite_url: str) -> None:
    """Two databases need two names."""
    app = FastAPI()
    add_sql_db(app, url=sqlite_url)
    with pytest.raises(ValueError, match="another name"):
        add_sql_db(app, url="sqlite:///other.db")


async def test_a_session_override_serves_generated_routes_too(
    sqlite_url: str, tmp_path: Path, running: ClientOf
) -> None:
    """A test that overrides `get_session` sees its own database everywhere."""
    from svc_infra.api.fastapi.db.sql.session import get_read_session, get_session

    app = FastAPI()
    setup_sql(app, [SqlResource(model=Note, prefix="/notes")], url=f"sqlite:///{tmp_path / 'unused.db'}")
    async with Database(sqlite_url) as own:
        async with own.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

        async def session() -> AsyncIterator[AsyncSession]:
            async with own.session() as found:
                yield found

        app.dependency_overrides |= {get_session: session, get_read_session: session}
        client = await running(app)
        assert (await client.post("/notes", json={})).status_code == 201
        assert (await client.get("/notes")).json()["total"] == 1
