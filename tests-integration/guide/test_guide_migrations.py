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
COMMAND = str(Path(sys.executable).parent / "svc-infra")


@pytest.fixture
def project(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service's source folder with one package of models, and a database that knows nothing of it."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text(MODELS)
    monkeypatch.setenv("SQL_URL", database_url)
    monkeypatch.setenv("ALEMBIC_DISCOVER_PACKAGES", "shop")
    return tmp_path


def svc_infra(*arguments: str, folder: Path, expect: int = 0, **environ: str) -> str:
    """Run ``svc-infra`` as a user does and return its standard output."""
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expect, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


async def tables() -> set[str]:
    """The tables of the database that SQL_URL names."""
    async with Database() as database, database.engine.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_commands_do_a_full_round(project: Path) -> None:
    """init, revision --autogenerate, upgrade, a second model change, downgrade -1, current, history."""
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
    assert len(list((project / "migrations" / "versions").glob("*.py"))) == 2
    svc_infra("sql", "upgrade", "head", folder=project)

    history = json.loads(svc_infra("sql", "history", "--json", folder=project))
    assert "add users table" in json.dumps(history)
    current = svc_infra("sql", "current", "--json", folder=project)
    assert "seed data" in current

    svc_infra("sql", "downgrade", "-1", folder=project)
    assert "add users table" in svc_infra("sql", "current", "--json", folder=project)
    svc_infra("sql", "downgrade", "-1", folder=project)
    assert "users" not in await tables()


async def test_upgrade_and_downgrade_take_a_revision(project: Path) -> None:
    """The guide's `upgrade abc123` and `downgrade abc123`, with the beginning of an id."""
    svc_infra("sql", "init", folder=project)
    svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder=project)
    first = next((project / "migrations" / "versions").glob("*.py"))
    (identifier,) = [
        line.partition("=")[2].strip(" \"'") for line in first.read_text().splitlines() if line.startswith("revision")
    ]
    svc_infra("sql", "upgrade", identifier[:6], folder=project)
    svc_infra("sql", "revision", "-m", "seed data", folder=project)
    svc_infra("sql", "upgrade", folder=project)
    svc_infra("sql", "downgrade", identifier, folder=project)
    assert identifier in svc_infra("sql", "current", folder=project)


async def test_commands_work_below_the_project_folder(project: Path) -> None:
    """From any working directory of a project."""
    svc_infra("sql", "init", folder=project)
    svc_infra("sql", "revision", "--autogenerate", "-m", "add users table", folder=project / "shop")
    svc_infra("sql", "upgrade", "head", folder=project / "migrations" / "versions")
    assert "users" in await tables()


async def test_the_sql_of_a_migration_is_alone_on_standard_output(project: Path) -> None:
    """`svc-infra sql upgrade head --sql > migration.sql`, without touching the database."""
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
from svc_infra.db.sql.core import init_alembic, revision, upgrade, downgrade

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
"""


@pytest.mark.parametrize(
    "call",
    ["steps()", "import asyncio\nasync def main():\n    steps()\nasyncio.run(main())"],
    ids=["from sync code", "inside a running loop"],
)
async def test_the_functions_do_the_same(project: Path, call: str) -> None:
    """The programmatic examples, from a plain script and from where an event loop runs, as in an application's start."""
    script = project / "steps.py"
    script.write_text(f"{FUNCTIONS}\n{call}\n")
    done = subprocess.run(
        [sys.executable, script.name], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (project / "alembic.ini").is_file()
    assert "users" in await tables()
    assert "add users table" in svc_infra("sql", "current", "--json", folder=project)


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


async def test_two_heads_are_merged(project: Path) -> None:
    """Migration Conflicts: upgrade names the problem, `merge heads` ends it."""
    svc_infra("sql", "init", folder=project)
    svc_infra("sql", "revision", "-m", "base", folder=project)
    svc_infra("sql", "revision", "-m", "left", folder=project)
    (base,) = [path for path in (project / "migrations" / "versions").glob("*.py") if "base" in path.name]
    identifier = next(
        line.partition("=")[2].strip(" \"'") for line in base.read_text().splitlines() if line.startswith("revision")
    )
    svc_infra("sql", "revision", "-m", "right", "--head", identifier, "--splice", folder=project)
    svc_infra("sql", "upgrade", "head", folder=project, expect=1)
    svc_infra("sql", "merge", "heads", "-m", "merge branches", folder=project)
    svc_infra("sql", "upgrade", "head", folder=project)
    assert "merge branches" in svc_infra("sql", "current", "--json", folder=project)
