"""Migrations with Alembic: the commands and the functions, with model discovery, on each database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from migrate.processes import COMMAND, ProcessServer
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
INSTALLED = str(Path(sys.executable).parent / "svc-infra")


@dataclass(frozen=True)
class Shop:
    """A service's source folder with one package of models, and a database that knows nothing of it."""

    folder: Path
    processes: ProcessServer

    def svc_infra(self, *arguments: str, folder: str = ".", expect: int = 0, **environ: str) -> str:
        """Run ``svc-infra`` in a folder of the service and return its standard output."""
        return self._run(COMMAND, ["svc-infra", *arguments], folder=folder, expect=expect, **environ)

    def python(self, source: str) -> str:
        """Run a script in the service's folder and return its standard output."""
        return self._run(source, ["script.py"])

    def _run(self, source: str, arguments: list[str], *, folder: str = ".", expect: int = 0, **environ: str) -> str:
        started = self.processes.start(
            source, arguments, folder=self.folder / folder, environ={**os.environ, **environ}
        )
        done = started.wait()
        assert done.returncode == expect, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def identifiers(self) -> list[str]:
        """The ids of the revision files, oldest first."""
        files = sorted((self.folder / "migrations" / "versions").glob("*.py"), key=lambda path: path.stat().st_mtime_ns)
        return [
            next(
                line.partition("=")[2].strip(" \"'")
                for line in path.read_text().splitlines()
                if line.startswith("revision")
            )
            for path in files
        ]


@pytest.fixture
def make_shop(tmp_path: Path, processes: ProcessServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Shop]:
    """Make the service's folder for the database that a URL names."""

    def make(url: str) -> Shop:
        package = tmp_path / "shop"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "models.py").write_text(MODELS)
        monkeypatch.setenv("SQL_URL", url)
        monkeypatch.setenv("ALEMBIC_DISCOVER_PACKAGES", "shop")
        return Shop(tmp_path, processes)

    return make


@pytest.fixture
def project(sqlite_url: str, make_shop: Callable[[str], Shop]) -> Shop:
    """A project with a SQLite database."""
    return make_shop(sqlite_url)


@pytest.fixture(params=["sqlite", "postgres"])
def project_on_two(request: pytest.FixtureRequest, make_shop: Callable[[str], Shop]) -> Shop:
    """A project with a SQLite and with a PostgreSQL database."""
    return make_shop(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def project_everywhere(database_url: str, make_shop: Callable[[str], Shop]) -> Shop:
    """A project with a database of each kind in turn."""
    return make_shop(database_url)


@pytest.fixture
def postgres_project(postgres_url: str, make_shop: Callable[[str], Shop]) -> Shop:
    """A project with a PostgreSQL database."""
    return make_shop(postgres_url)


async def tables() -> set[str]:
    """The tables of the database that SQL_URL names."""
    async with Database() as database, database.engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


def test_the_installed_command_prepares_a_project(project: Shop) -> None:
    """The script that pip installs, as a process from the very beginning."""
    done = subprocess.run(
        [INSTALLED, "sql", "init"], cwd=project.folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    # This creates:
    assert (project.folder / "alembic.ini").is_file()
    assert (project.folder / "migrations" / "env.py").is_file()
    assert (project.folder / "migrations" / "versions").is_dir()


async def test_the_commands_do_a_full_round(project_on_two: Shop) -> None:
    """init, revision --autogenerate, upgrade, an empty revision, downgrade -1, current and history."""
    project = project_on_two
    project.svc_infra("sql", "init")

    project.svc_infra("sql", "revision", "--autogenerate", "-m", "add users table")
    project.svc_infra("sql", "upgrade", "head")
    assert "users" in await tables()

    # Empty migration for manual edits
    project.svc_infra("sql", "revision", "-m", "seed data")
    project.svc_infra("sql", "upgrade", "head")
    assert "seed data" in project.svc_infra("sql", "current", "--json")

    project.svc_infra("sql", "downgrade", "-1")
    history = json.loads(project.svc_infra("sql", "history", "--json"))
    assert "add users table" in json.dumps(history)
    project.svc_infra("sql", "downgrade", "-1")
    assert "users" not in await tables()


async def test_upgrade_and_downgrade_take_a_revision_from_any_folder_of_the_project(project: Shop) -> None:
    """The guide's `upgrade abc123` and `downgrade abc123`, with the beginning of an id, below the project's folder."""
    project.svc_infra("sql", "init")
    project.svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder="shop")
    (first,) = project.identifiers()
    project.svc_infra("sql", "upgrade", first[:6], folder="migrations/versions")
    project.svc_infra("sql", "revision", "-m", "seed data")
    project.svc_infra("sql", "upgrade")
    project.svc_infra("sql", "downgrade", first)
    assert first in project.svc_infra("sql", "current", folder="shop")


async def test_the_sql_of_a_migration_is_alone_on_standard_output(postgres_project: Shop) -> None:
    """`svc-infra sql upgrade head --sql > migration.sql`, without touching the database."""
    project = postgres_project
    project.svc_infra("sql", "init")
    project.svc_infra("sql", "revision", "--autogenerate", "-m", "add users table")
    before = await tables()
    script = project.svc_infra("sql", "upgrade", "head", "--sql")
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


async def test_the_functions_do_the_same(project_everywhere: Shop) -> None:
    """The programmatic examples from a plain script, on each database."""
    await run_functions(project_everywhere, "steps()")


async def test_the_functions_work_inside_a_running_loop(project: Shop) -> None:
    """As in an application's start."""
    await run_functions(project, "import asyncio\nasync def main():\n    steps()\nasyncio.run(main())")


async def run_functions(project: Shop, call: str) -> None:
    """Run the examples in a process of their own and look at what they left."""
    current = project.python(f"{FUNCTIONS}\n{call}\n").splitlines()[-1]
    assert current == "add users table"
    assert (project.folder / "alembic.ini").is_file()
    assert "users" in await tables()


async def test_drops_can_be_kept_out_of_a_migration(project: Shop) -> None:
    """ALEMBIC_SKIP_DROPS=true: a table without a model stays."""
    project.svc_infra("sql", "init")
    project.svc_infra("sql", "revision", "--autogenerate", "-m", "add users table")
    project.svc_infra("sql", "upgrade", "head")
    async with Database() as database, database.session() as session:
        await session.execute(text("CREATE TABLE handmade (id integer)"))
    project.svc_infra("sql", "revision", "--autogenerate", "-m", "later", ALEMBIC_SKIP_DROPS="true")
    written = "".join(path.read_text() for path in (project.folder / "migrations" / "versions").glob("*.py"))
    assert "handmade" not in written


TWO_HEADS = """
from svc_infra.db.sql.core import init_alembic, revision
init_alembic(script_location="migrations")
base = revision(message="base").revision
revision(message="left")
revision(message="right", head=base, splice=True)
"""


def test_two_heads_are_merged(project: Shop) -> None:
    """Migration Conflicts: upgrade names the problem, `merge heads` ends it."""
    project.python(TWO_HEADS)
    project.svc_infra("sql", "upgrade", "head", expect=1)
    project.svc_infra("sql", "merge", "heads", "-m", "merge branches")
    project.svc_infra("sql", "upgrade", "head")
    assert "merge branches" in project.svc_infra("sql", "current", "--json")
