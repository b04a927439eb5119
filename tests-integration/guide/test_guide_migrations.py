"""Migrations with Alembic: the commands and the functions, with model discovery, on each database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from svc_infra.db.sql.database import Database

# The guide's model, as it stands but for the imports; lengths because MySQL has no VARCHAR without one.
MODELS = """\
from sqlalchemy import Column, String

# Automatic: imports ModelBase.metadata from svc_infra.db.sql.base
from svc_infra.db.sql.base import ModelBase

class User(ModelBase):
    __tablename__ = "users"
    id = Column(String(36), primary_key=True)
    email = Column(String(200), unique=True)

# Models extending ModelBase are auto-discovered
"""
# A command is a process that imports Alembic, a second of work; a dozen of them on a busy machine pass the usual limit.
pytestmark = pytest.mark.timeout(300)

COMMAND = str(Path(sys.executable).parent / "svc-infra")


def make_project(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service's source folder with one package of models, and a database that knows nothing of it."""
    package = folder / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(MODELS)
    monkeypatch.setenv("SQL_URL", url)
    monkeypatch.setenv("ALEMBIC_DISCOVER_PACKAGES", "shop")
    return folder


@pytest.fixture
def project(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a SQLite database."""
    return make_project(tmp_path, sqlite_url, monkeypatch)


@pytest.fixture(params=["sqlite", "postgres"])
def project_on_two(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a SQLite and with a PostgreSQL database."""
    return make_project(tmp_path, request.getfixturevalue(f"{request.param}_url"), monkeypatch)


@pytest.fixture
def project_everywhere(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a database of each kind in turn."""
    return make_project(tmp_path, database_url, monkeypatch)


@pytest.fixture
def postgres_project(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a PostgreSQL database."""
    return make_project(tmp_path, postgres_url, monkeypatch)


def svc_infra(*arguments: str, folder: Path, expect: int = 0, **environ: str) -> str:
    """Run ``svc-infra`` as a user does and return its standard output."""
    return run([COMMAND, *arguments], folder=folder, expect=expect, **environ)


def run(command: list[str], *, folder: Path, expect: int = 0, **environ: str) -> str:
    """Run *command* in *folder* and return its standard output."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == expect, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


async def tables() -> set[str]:
    """The tables of the database that SQL_URL names."""
    async with Database() as database, database.engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


def identifiers(project: Path) -> list[str]:
    """The ids of the revision files, oldest first."""
    files = sorted((project / "migrations" / "versions").glob("*.py"), key=lambda path: path.stat().st_mtime_ns)
    return [
        next(
            line.partition("=")[2].strip(" \"'")
            for line in path.read_text().splitlines()
            if line.startswith("revision")
        )
        for path in files
    ]


async def test_the_commands_do_a_full_round(project_on_two: Path) -> None:
    """init, revision --autogenerate, upgrade, an empty revision, downgrade -1, current and history."""
    project = project_on_two
    svc_infra("sql", "init", folder=project)
    # This creates:
    assert (project / "alembic.ini").is_file()
    assert (project / "migrations" / "env.py").is_file()
    assert (project / "migrations" / "versions").is_dir()

    svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder=project)
    svc_infra("sql", "upgrade", "head", folder=project)
    assert "users" in await tables()

    # Empty migration for manual edits
    svc_infra("sql", "revision", "-m", "seed data", folder=project)
    svc_infra("sql", "upgrade", "head", folder=project)
    assert "seed data" in svc_infra("sql", "current", "--json", folder=project)

    svc_infra("sql", "downgrade", "-1", folder=project)
    history = json.loads(svc_infra("sql", "history", "--json", folder=project))
    assert "add users table" in json.dumps(history)
    svc_infra("sql", "downgrade", "-1", folder=project)
    assert "users" not in await tables()


async def test_upgrade_and_downgrade_take_a_revision_from_any_folder_of_the_project(project: Path) -> None:
    """The guide's `upgrade abc123` and `downgrade abc123`, with the beginning of an id, below the project's folder."""
    svc_infra("sql", "init", folder=project)
    svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder=project / "shop")
    (first,) = identifiers(project)
    svc_infra("sql", "upgrade", first[:6], folder=project / "migrations" / "versions")
    svc_infra("sql", "revision", "-m", "seed data", folder=project)
    svc_infra("sql", "upgrade", folder=project)
    svc_infra("sql", "downgrade", first, folder=project)
    assert first in svc_infra("sql", "current", folder=project / "shop")


async def test_the_sql_of_a_migration_is_alone_on_standard_output(postgres_project: Path) -> None:
    """`svc-infra sql upgrade head --sql > migration.sql`, without touching the database."""
    project = postgres_project
    svc_infra("sql", "init", folder=project)
    svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder=project)
    before = await tables()
    script = svc_infra("sql", "upgrade", "head", "--sql", folder=project)
    assert "CREATE TABLE users" in script
    assert all(
        line.startswith(("--", "CREATE", "INSERT", "BEGIN", "COMMIT", "UPDATE", " ", "\t", ")")) or not line.strip()
        for line in script.splitlines()
    ), script
    assert await tables() == before


FUNCTIONS = """
from svc_infra.db.sql.core import current, init_alembic, revision, upgrade, downgrade

def steps():
    init_alembic(script_location="migrations")
    revision(
        message="add users table",
        autogenerate=True,
        ensure_head_before_autogenerate=True,
    )
    upgrade()  # To head
    added = revision(message="seed data").revision
    upgrade(added)  # To specific revision
    downgrade(steps=1)  # One step back
    print(current()[0].message)
"""


async def test_the_functions_do_the_same(project_everywhere: Path) -> None:
    """The programmatic examples from a plain script, on each database."""
    await run_functions(project_everywhere, "steps()")


async def test_the_functions_work_inside_a_running_loop(project: Path) -> None:
    """As in an application's start."""
    await run_functions(project, "import asyncio\nasync def main():\n    steps()\nasyncio.run(main())")


async def run_functions(project: Path, call: str) -> None:
    """Run the examples in a process of their own and look at what they left."""
    script = project / "steps.py"
    script.write_text(f"{FUNCTIONS}\n{call}\n")
    current = run([sys.executable, script.name], folder=project).splitlines()[-1]
    assert current == "add users table"
    assert (project / "alembic.ini").is_file()
    assert "users" in await tables()


async def test_drops_can_be_kept_out_of_a_migration(project: Path) -> None:
    """ALEMBIC_SKIP_DROPS=true: a table without a model stays."""
    svc_infra("sql", "init", folder=project)
    svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder=project)
    svc_infra("sql", "upgrade", "head", folder=project)
    async with Database() as database, database.session() as session:
        await session.execute(text("CREATE TABLE handmade (id integer)"))
    svc_infra("sql", "revision", "--autogenerate", "-m", "later", folder=project, ALEMBIC_SKIP_DROPS="true")
    written = "".join(path.read_text() for path in (project / "migrations" / "versions").glob("*.py"))
    assert "handmade" not in written


TWO_HEADS = """
from svc_infra.db.sql.core import init_alembic, revision
init_alembic(script_location="migrations")
base = revision(message="base").revision
revision(message="left")
revision(message="right", head=base, splice=True)
"""


def test_two_heads_are_merged(project: Path) -> None:
    """Migration Conflicts: upgrade names the problem, `merge heads` ends it."""
    (project / "conflict.py").write_text(TWO_HEADS)
    run([sys.executable, "conflict.py"], folder=project)
    svc_infra("sql", "upgrade", "head", folder=project, expect=1)
    svc_infra("sql", "merge", "heads", "-m", "merge branches", folder=project)
    svc_infra("sql", "upgrade", "head", folder=project)
    assert "merge branches" in svc_infra("sql", "current", "--json", folder=project)
