"""The guide's commands and functions, as it writes them, in a new process on an empty folder."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import svc_infra.db.sql.core as core
from migrate.processes import COMMAND
from migrate.workspace import Workspace

USER = """
    from sqlalchemy import Column, String

    from svc_infra.db.sql.base import ModelBase


    class User(ModelBase):
        __tablename__ = "users"
        id = Column(String, primary_key=True)
        email = Column(String, unique=True)
"""


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_the_commands_of_the_guide_create_apply_and_undo_a_migration(workspace: Workspace, tmp_path: Path) -> None:
    """init, revision --autogenerate, upgrade head, current, history and downgrade -1 work from a subfolder too."""
    workspace.write("myapp/users.py", USER)
    workspace.write("myapp/api/readme.txt", "")

    init = workspace.spawn("sql", "init")
    assert init.returncode == 0, init.stderr
    assert (workspace.root / "alembic.ini").is_file()
    assert (workspace.root / "migrations" / "env.py").is_file()
    assert (workspace.root / "migrations" / "versions").is_dir()

    made = workspace.spawn("sql", "revision", "--autogenerate", "-m", "add users table", cwd="myapp/api")
    assert made.returncode == 0, made.stderr
    assert "Models: 1 table in myapp.users" in made.stderr
    text = Path(made.stdout.strip()).read_text()
    assert text.count("op.create_table(") == 1
    assert '"uq_users_email"' in text.replace("'", '"')

    up = workspace.spawn("sql", "upgrade", "head", cwd="myapp/api")
    assert (up.returncode, up.stdout) == (0, ""), up.stderr
    assert "add users table" in up.stderr
    assert "users" in tables(tmp_path / "app.db")

    shown = json.loads(workspace.run("sql", "current", "--json").stdout)
    assert [item["message"] for item in shown] == ["add users table"]
    assert "add users table" in workspace.run("sql", "history").stdout

    assert workspace.run("sql", "revision", "-m", "seed data").returncode == 0
    assert workspace.run("sql", "upgrade", "head").returncode == 0
    down = workspace.run("sql", "downgrade", "-1", cwd="myapp")
    assert down.returncode == 0, down.stderr
    assert "users" in tables(tmp_path / "app.db")
    assert workspace.run("sql", "downgrade", "-1").returncode == 0
    assert "users" not in tables(tmp_path / "app.db")


def test_sql_goes_alone_to_stdout(workspace: Workspace, tmp_path: Path) -> None:
    """`svc-infra sql upgrade head --sql > migration.sql` writes SQL that a database takes, and touches none itself."""
    workspace.init()
    workspace.revision("one", 'print("noise")\nop.create_table("t", sa.Column("id", sa.Integer, primary_key=True))')
    done = workspace.run("sql", "upgrade", "head", "--sql")
    assert done.returncode == 0, done.stderr
    assert "noise" in done.stderr
    assert not (tmp_path / "app.db").exists()
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as other:
        other.executescript(done.stdout)
    assert "t" in tables(tmp_path / "other.db")


def test_a_project_without_revisions_is_told_of_no_other_process(workspace: Workspace) -> None:
    """The first revision upgrades first, when there is nothing to upgrade to."""
    workspace.init()
    for verb in (["upgrade"], ["revision", "-m", "first"], ["stamp", "head"]):
        done = workspace.run("sql", *verb)
        assert done.returncode == 0, done.stderr
        assert "another process" not in done.stderr


def test_merge_heads_joins_two_branches(workspace: Workspace) -> None:
    """Two heads stop `upgrade head` with a message that lists them and names the command which joins them."""
    workspace.init()
    workspace.revision("base1", "pass")
    workspace.revision("left1", "pass", after="base1")
    workspace.revision("right1", "pass", after="base1")
    stopped = workspace.run("sql", "upgrade", "head")
    assert stopped.returncode == 1
    assert "there are 2 heads, left1, right1, where one is needed" in stopped.stderr
    assert "svc-infra sql merge heads" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert workspace.run("sql", "merge", "heads", "-m", "merge branches").returncode == 0
    assert workspace.run("sql", "upgrade", "head").returncode == 0


def test_the_functions_of_the_guide_work_from_sync_code(workspace: Workspace, tmp_path: Path) -> None:
    """init_alembic, revision, upgrade, upgrade("..."), downgrade(steps=1) and downgrade("-1")."""
    project = workspace.init(
        "import sqlalchemy as sa\n\n"
        "metadata = sa.MetaData()\n"
        'sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True))'
    )
    made = core.revision(
        message="add users table", autogenerate=True, ensure_head_before_autogenerate=True, project=project
    )
    assert made is not None
    core.upgrade(project=project)
    assert "users" in tables(tmp_path / "app.db")
    core.downgrade(steps=1, project=project)
    assert core.current(project=project) == []
    core.upgrade(made.revision[:6], project=project)
    assert [item.revision for item in core.current(project=project)] == [made.revision]
    core.downgrade("-1", project=project)
    assert "users" not in tables(tmp_path / "app.db")


async def test_the_functions_work_inside_a_running_loop(workspace: Workspace, tmp_path: Path) -> None:
    """A service may migrate in its start-up, where an event loop runs already."""
    project = workspace.init()
    workspace.revision(
        "one", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))', 'op.drop_table("t")'
    )
    core.upgrade(project=project)
    assert "t" in tables(tmp_path / "app.db")
    await asyncio.to_thread(core.downgrade, "base", project=project)
    assert "t" not in tables(tmp_path / "app.db")


def test_the_script_location_of_init_is_the_one_used_later(workspace: Workspace) -> None:
    """Every later function reads the location from alembic.ini."""
    location = core.init_alembic(script_location="db/changes", directory=workspace.root)
    assert location == workspace.root / "db" / "changes"
    made = core.revision("first", project=workspace.project)
    assert made is not None
    assert Path(made.path).parent == location / "versions"


def test_revision_finds_nothing_to_do_and_writes_no_file(workspace: Workspace) -> None:
    """A database that is what the models say needs no empty revision."""
    project = workspace.init()
    assert core.revision("nothing", autogenerate=True, project=project) is None
    assert list((workspace.root / "migrations" / "versions").glob("*.py")) == []


@pytest.mark.parametrize("name", ["ALEMBIC_CONFIG", "--config"])
def test_another_configuration_file_points_to_another_database(workspace: Workspace, tmp_path: Path, name: str) -> None:
    """ALEMBIC_CONFIG chooses the file, and the URL in the file chooses the database, with a % in the password."""
    workspace.init()
    workspace.revision("one", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))')
    ini = (workspace.root / "alembic.ini").read_text()
    (workspace.root / "alembic.test.ini").write_text(
        ini.replace("# sqlalchemy.url =", f"sqlalchemy.url = sqlite:///{tmp_path}/100%25.db")
    )
    if name == "ALEMBIC_CONFIG":
        workspace.environ["ALEMBIC_CONFIG"] = "alembic.test.ini"
        done = workspace.run("sql", "upgrade", "head")
    else:
        done = workspace.run("sql", "--config", "alembic.test.ini", "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "app.db").exists()
    assert "t" in tables(tmp_path / "100%.db")


WITHOUT_DRIVERS = """
import importlib.abc, sys
DRIVERS = {"asyncpg", "psycopg", "psycopg2", "asyncmy", "aiomysql", "pymysql", "MySQLdb", "aiosqlite", "mssql_python",
           "pyodbc", "aioodbc", "duckdb", "duckdb_sqlalchemy", "snowflake", "mariadb"}
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in DRIVERS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
for name in [name for name in sys.modules if name.partition(".")[0] in DRIVERS]:
    del sys.modules[name]
"""
URLS = [
    "postgresql://h/d",
    "mysql://u@h/d",
    "mariadb://u@h/d",
    "sqlite:///x.db",
    "mssql://u@h/d",
    "duckdb:///x.duckdb",
    "snowflake://u@account/d",
]
SQL = re.compile(r"(--|BEGIN|COMMIT|CREATE|INSERT|GO|ALTER|    |\)|SEQUENCE|$)")


@pytest.mark.parametrize("url", URLS, ids=lambda url: url.partition(":")[0])
def test_sql_is_written_for_every_dialect_without_a_driver(workspace: Workspace, url: str) -> None:
    """`upgrade head --sql` on a machine that has SQLAlchemy and no database's package; only SQL is on stdout."""
    workspace.init("print('env.py is read')\nmetadata = None")
    workspace.revision(
        "one",
        """
        print("one is run")
        op.create_table(
            "t",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(20), nullable=False),
            sa.Column("price", sa.Numeric(10, 2), server_default="0"),
            sa.Column("at", sa.DateTime(timezone=True)),
            sa.Column("data", sa.JSON),
            sa.Column("raw", sa.LargeBinary),
            sa.Column("key", sa.Uuid),
            sa.Column("weight", sa.Float),
        )
        op.add_column("t", sa.Column("note", sa.Text))
        op.execute("INSERT INTO t (name) VALUES ('a')")
        """,
    )
    source = f"{WITHOUT_DRIVERS}\n{COMMAND}"
    done = workspace.start(source, "sql", "upgrade", "head", "--sql", "--database-url", url).wait()
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE t" in done.stdout
    assert "INSERT INTO alembic_version" in done.stdout
    assert [line for line in done.stdout.splitlines() if not SQL.match(line)] == []
    assert "env.py is read" in done.stderr
    if url.startswith("duckdb"):
        duckdb = pytest.importorskip("duckdb")
        with duckdb.connect() as connection:
            connection.execute(done.stdout)
            assert connection.execute("SELECT id, name, price, weight FROM t").fetchall() == [(1, "a", 0, None)]


def test_a_downgrade_offline_needs_a_range(workspace: Workspace) -> None:
    """It does not ask the database where it is."""
    workspace.init()
    workspace.revision("one", 'op.create_table("t", sa.Column("id", sa.Integer))', 'op.drop_table("t")')
    assert "needs a range" in workspace.run("sql", "downgrade", "--sql").stderr
    assert "DROP TABLE t" in workspace.run("sql", "downgrade", "one:base", "--sql").stdout


def test_help_imports_neither_alembic_nor_sqlalchemy_nor_pydantic(workspace: Workspace) -> None:
    """`svc-infra --help` lists the groups of all packages without importing them."""
    code = (
        "import sys; from svc_infra.migrate.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'alembic', 'sqlalchemy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        env=workspace.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.endswith("[]\n"), done.stdout
    assert "sql" in done.stdout


def test_the_environment_works_with_alembic_itself(workspace: Workspace, tmp_path: Path) -> None:
    """`alembic upgrade head` runs the same env.py, with its lock and its URL."""
    workspace.init()
    workspace.revision("one", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))')
    done = workspace.start("from alembic.config import main; main()", "upgrade", "head", name="alembic").wait()
    assert done.returncode == 0, done.stderr
    assert "t" in tables(tmp_path / "app.db")


def test_status_tells_database_revision_and_what_is_pending(workspace: Workspace) -> None:
    """One screen, exit code 3 while something is missing."""
    workspace.init()
    workspace.revision("one", "pass")
    behind = workspace.run("sql", "status")
    assert behind.stdout.startswith("database  sqlite")
    assert "not compared while revisions are pending" in behind.stdout
    assert behind.returncode == 3
    assert "(from SQL_URL)" in behind.stdout
    assert "one step" in behind.stdout
    assert workspace.run("sql", "upgrade").returncode == 0
    assert workspace.run("sql", "upgrade").stderr == "Nothing to do: the database is at one\n"
    done = workspace.run("sql", "status", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["current"][0]["revision"] == "one"


def test_seed_calls_sync_and_async_functions(workspace: Workspace, tmp_path: Path) -> None:
    """With a session when they take one, which is committed."""
    workspace.init()
    workspace.revision("one", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))')
    workspace.run("sql", "upgrade")
    workspace.write(
        f"seeds_{tmp_path.name}.py",
        """
        from sqlalchemy import text

        async def asynchronous(session):
            await session.execute(text("INSERT INTO t VALUES (1)"))

        def synchronous(session):
            session.execute(text("INSERT INTO t VALUES (2)"))
        """,
    )
    module = f"seeds_{tmp_path.name}"
    assert workspace.run("sql", "seed", f"{module}:asynchronous").returncode == 0
    assert workspace.run("sql", "seed", f"{module}:synchronous").returncode == 0
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as connection:
        assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (2,)]
    assert "has no function" in workspace.run("sql", "seed", f"{module}:other").stderr


def test_the_graph_shows_branches_and_merges(workspace: Workspace) -> None:
    """A merge point opens a second lane, the branch point closes it."""
    workspace.init()
    workspace.revision("base1", "pass")
    workspace.revision("left1", "pass", after="base1")
    workspace.revision("right1", "pass", after="base1")
    assert workspace.run("sql", "merge", "heads", "--rev-id", "joined").returncode == 0
    drawn = workspace.run("sql", "graph").stdout
    assert drawn.splitlines()[0].startswith("*  joined (head)")
    assert drawn.splitlines()[1] == "| \\"
    assert drawn.splitlines()[-1].startswith("*  base1")


def test_a_scaffolded_model_is_found_and_migrated(workspace: Workspace) -> None:
    """Every type that the verb knows becomes a column."""
    kinds = ["str", "text?", "int", "bigint", "float", "decimal", "bool", "date", "datetime", "uuid", "json", "bytes"]
    fields = [f"f{number}:{kind}" for number, kind in enumerate(kinds)]
    assert workspace.run("sql", "scaffold", "OrderLine", *fields, "-o", "shop/orders.py").returncode == 0
    assert workspace.run("sql", "scaffold", "OrderLine", "-o", "shop/orders.py").returncode == 1
    assert "unknown type" in workspace.run("sql", "scaffold", "Other", "x:thing", "-o", "shop/x.py").stderr
    done = workspace.spawn("sql", "setup-and-migrate", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["revision"]["message"] == "initial schema"
    assert "order_lines" in workspace.run("sql", "diagram").stdout


def test_sections_and_arguments_for_env_py_are_those_of_alembic(workspace: Workspace, tmp_path: Path) -> None:
    """`-n` chooses the section and `-x` reaches env.py, before the verb as with Alembic."""
    workspace.init("from alembic import context\n\nprint(context.get_x_argument())\nmetadata = None")
    workspace.revision("one", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))')
    ini = workspace.root / "alembic.ini"
    text = (
        ini.read_text()
        .replace("[alembic]", "[orders]")
        .replace("# sqlalchemy.url =", f"sqlalchemy.url = sqlite:///{tmp_path}/orders.db")
    )
    ini.write_text(f"{ini.read_text()}\n{text}")
    done = workspace.run("sql", "-n", "orders", "-x", "shard=7", "--lock-wait", "5", "upgrade", "heads")
    assert done.returncode == 0, done.stderr
    assert "['shard=7']" in done.stderr
    assert "t" in tables(tmp_path / "orders.db")
    assert "has no section [nothing]" in workspace.run("sql", "-n", "nothing", "upgrade").stderr


def test_relative_targets_and_branches_are_those_of_alembic(workspace: Workspace) -> None:
    """+N, -N, base and branch@head."""
    workspace.init()
    workspace.revision("one", "pass")
    workspace.revision("two", "pass", after="one")
    workspace.revision("three", "pass", after="two")
    here = lambda: [item.revision for item in core.current(project=workspace.project)]  # noqa: E731
    for target, verb, expected in (("+2", "upgrade", "two"), ("-1", "downgrade", "one"), ("head", "upgrade", "three")):
        assert workspace.run("sql", verb, target).returncode == 0
        assert here() == [expected]
    assert workspace.run("sql", "downgrade", "base").returncode == 0
    assert here() == []
    assert workspace.run("sql", "stamp", "two").returncode == 0
    assert here() == ["two"]
    assert [
        item["revision"] for item in json.loads(workspace.run("sql", "history", "-r", "current:", "--json").stdout)
    ] == ["three", "two"]
