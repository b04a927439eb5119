"""Autogenerate refuses to lose data, and says what it left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace


def models(*tables: str) -> str:
    lines = ["import sqlalchemy as sa", "", "metadata = sa.MetaData()"]
    for definition in tables:
        name, _, columns = definition.partition(": ")
        items = "".join(f", sa.Column({column!r}, sa.String(20))" for column in columns.split())
        lines.append(f"sa.Table({name!r}, metadata, sa.Column('id', sa.Integer, primary_key=True){items})")
    return "\n".join(lines)


def change_models(workspace: Workspace, *tables: str) -> core.Project:
    (workspace.root / "migrations" / "env.py").unlink(missing_ok=True)
    return workspace.init(models(*tables))


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    project = change_models(workspace, "users: name city", "logs: line")
    core.revision("first", autogenerate=True, project=project)
    core.upgrade(project=project)
    with closing(sqlite3.connect(workspace.root.parent / "app.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO users (name, city) VALUES ('Ada', 'London')")
    return workspace


def files(workspace: Workspace) -> int:
    return len(list((workspace.root / "migrations" / "versions").glob("*.py")))


def test_a_rename_is_not_written_as_drop_and_add_but_offered(applied: Workspace) -> None:
    """The refusal names the option; with it the data stays."""
    project = change_models(applied, "users: full_name city", "logs: line")
    with pytest.raises(core.Refused, match=r"drop column users\.name[\s\S]*--rename users\.name:full_name"):
        core.revision("rename", autogenerate=True, project=project)
    assert files(applied) == 1
    made = core.revision("rename", autogenerate=True, renames={"users.name": "full_name"}, project=project)
    assert made is not None
    core.upgrade(project=project)
    assert core.check(project=project).ok
    with closing(sqlite3.connect(applied.root.parent / "app.db", isolation_level=None)) as connection:
        assert connection.execute("SELECT full_name FROM users").fetchall() == [("Ada",)]
    core.downgrade(project=project)
    with closing(sqlite3.connect(applied.root.parent / "app.db", isolation_level=None)) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("Ada",)]


def test_a_table_can_be_renamed(applied: Workspace) -> None:
    """A dropped and a created table of the same columns become one rename when the answer is yes."""
    project = change_models(applied, "people: name city", "logs: line")
    questions: list[str] = []

    def yes(question: str) -> bool:
        questions.append(question)
        return True

    assert core.revision("rename", autogenerate=True, ask=yes, project=project) is not None
    assert questions == ["Was users renamed to people?"]
    core.upgrade(project=project)
    with closing(sqlite3.connect(applied.root.parent / "app.db", isolation_level=None)) as connection:
        assert connection.execute("SELECT name FROM people").fetchall() == [("Ada",)]


def test_drops_need_permission(applied: Workspace) -> None:
    """A dropped table is refused by default, and written with allow_drops."""
    project = change_models(applied, "users: name city")
    with pytest.raises(core.Refused, match=r"drop table logs[\s\S]*--allow-drops"):
        core.revision("drop", autogenerate=True, project=project)
    assert core.revision("drop", autogenerate=True, allow_drops=True, project=project) is not None


def test_skip_drops_keeps_tables_columns_and_indexes(applied: Workspace) -> None:
    """ALEMBIC_SKIP_DROPS proposes none of them, and says so."""
    applied.environ["ALEMBIC_SKIP_DROPS"] = "true"
    project = change_models(applied, "users: name")
    assert core.revision("drop", autogenerate=True, project=project) is None
    assert any("column users.city, table logs" in note for note in applied.progress.notes)


def test_tables_of_others_are_left_alone(applied: Workspace) -> None:
    """A table that no model has and no revision created is not proposed for dropping."""
    with closing(sqlite3.connect(applied.root.parent / "app.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    assert core.check(project=applied.project).ok
    assert any("Left alone" in note and "theirs" in note for note in applied.progress.notes)


def test_no_models_at_all_is_an_error_and_not_an_empty_database(applied: Workspace) -> None:
    """Comparing with nothing would drop everything."""
    project = change_models(applied)
    with pytest.raises(core.DiscoveryError, match="no models were found, but the database has 2 tables"):
        core.revision("oops", autogenerate=True, allow_drops=True, project=project)


def test_a_module_that_can_not_be_imported_stops_autogenerate(workspace: Workspace) -> None:
    """Without its tables the comparison would drop them, so the import error is the answer."""
    assert workspace.run("sql", "init").returncode == 0
    workspace.write("shop/broken.py", "import does_not_exist\n\nclass Item(ModelBase):\n    __tablename__ = 'items'\n")
    done = workspace.spawn("sql", "revision", "--autogenerate", "-m", "x")
    assert done.returncode == 1
    assert "can't import shop.broken, which defines models: ModuleNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(workspace) == 0


def test_a_revision_that_no_file_has_is_told_and_nothing_is_deleted(applied: Workspace) -> None:
    """The database may be ahead of this checkout."""
    with closing(sqlite3.connect(applied.root.parent / "app.db", isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fromelsewhere'")
    project = applied.project
    assert core.current(project=project)[0].path == ""
    with pytest.raises(core.UnknownRevision, match="fromelsewhere"):
        core.upgrade(project=project)
    assert [item.revision for item in core.current(project=project)] == ["fromelsewhere"]


@pytest.mark.parametrize("rev_id", ["x" * 33, "", "a:b", "a@b"])
def test_a_revision_id_that_postgresql_can_not_hold_is_refused_everywhere(workspace: Workspace, rev_id: str) -> None:
    """SQLite would take 33 characters, and the first deployment fail."""
    project = workspace.init()
    with pytest.raises(core.RevisionError, match="1 to 32 characters"):
        core.revision("x", rev_id=rev_id, project=project)


def test_check_exits_with_3_and_answers_as_json(applied: Workspace) -> None:
    """Pending revisions and drift are told apart from errors by the exit code."""
    change_models(applied, "users: name city mail", "logs: line")
    done = applied.run("sql", "check", "--json")
    assert done.returncode == 3
    assert '"add column users.mail VARCHAR(20)"' in done.stdout
    assert applied.run("sql", "check", "--pending").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [("upgrade", "--sqll"), ("downgrade", "--purge"), ("nonsense",), ("revision", "--rename", "x")],
)
def test_wrong_usage_exits_with_2(workspace: Workspace, arguments: tuple[str, ...]) -> None:
    """A mistyped option is not taken for a revision."""
    workspace.init()
    done = workspace.run("sql", *arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_project_is_one_clear_message(tmp_path: Path, workspace: Workspace) -> None:
    """It names the files that were looked for and the command that creates them."""
    done = workspace.run("sql", "upgrade")
    assert done.returncode == 1
    assert "svc-infra sql init" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_database_is_one_clear_message_without_the_password(workspace: Workspace) -> None:
    """Wrong credentials and addresses end with the reason and exit code 1."""
    workspace.init()
    done = workspace.run("sql", "upgrade", "--database-url", "postgresql://me:s3cret@127.0.0.1:1/app?sslmode=disable")
    assert done.returncode == 1
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
