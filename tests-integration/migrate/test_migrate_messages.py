"""What the one reads who is called at night: the database, the file and line, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from migrate.workspace import Finished, Workspace

Make = Callable[[str], Workspace]
TABLE = 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))'


def failed(done: Finished) -> str:
    """The one message of a command that ended with an error."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "Traceback" not in done.stderr
    (message,) = re.findall(r"^error: (.*)", done.stderr, re.MULTILINE | re.DOTALL)
    return str(message).strip()


def test_a_revision_that_builds_upon_a_missing_one_names_both(workspace: Workspace) -> None:
    """A KeyError would be the first word of a long night."""
    workspace.init()
    workspace.revision("r2", "pass", after="r1")
    for environ in ({"PYTHONWARNINGS": "error"}, {"PYTHONWARNINGS": "ignore"}):
        workspace.environ.update(environ)
        message = failed(workspace.spawn("sql", "upgrade"))
        assert "r1" in message
        assert "r2" in message
        assert "Nothing was changed" in message


def test_a_revision_that_is_no_python_names_the_file_and_the_line(workspace: Workspace) -> None:
    """Also when it is not the one that would be run."""
    workspace.init()
    path = workspace.write("migrations/versions/broken.py", "x = 1\ndef (:\n")
    assert failed(workspace.run("sql", "upgrade")) == f"{path}, line 2: invalid syntax"
    path.write_text("import does_not_exist\n")
    assert f"({path}, line 1): No module named 'does_not_exist'" in failed(workspace.run("sql", "heads"))


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "duckdb"])
def test_an_error_in_a_revision_names_the_line(kind: str, request: pytest.FixtureRequest, make_workspace: Make) -> None:
    """The statement alone does not tell which of twenty like it failed; a Python error has no statement."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()
    workspace.revision("r1", f'{TABLE}\nop.execute("SELEC 1")')
    path = workspace.root / "migrations" / "versions" / "r1.py"
    assert f"({path}, line 14)\n  statement: SELEC 1\n" in failed(workspace.run("sql", "upgrade"))
    if kind == "mysql":
        return
    workspace.revision("r1", "1 / 0")
    assert f"ZeroDivisionError: division by zero ({path}, line 13)" in failed(workspace.run("sql", "upgrade"))


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"password": "wr0ng"}, "password authentication failed|Access denied"),
        ({"database": "nowhere"}, "does not exist|Access denied|Unknown database"),
        ({"port": 1}, "Connect call failed|Can't connect"),
        ({"host": "no.such.host.invalid"}, "Name or service not known|Can't connect|name resolution"),
    ],
    ids=["password", "database", "port", "host"],
)
def test_a_database_that_refuses_is_named_with_where_its_url_came_from(
    kind: str, wrong: dict[str, str | int], reason: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """Not the driver's words alone, which name neither database nor variable; and never the password."""
    url = sa.make_url(request.getfixturevalue(f"{kind}_url"))
    bad = url.set(**wrong)  # type: ignore[arg-type]
    workspace = make_workspace(bad.render_as_string(hide_password=False))
    workspace.init()
    workspace.revision("r1", TABLE)
    message = failed(workspace.run("sql", "upgrade"))
    assert re.search(reason, message), message
    assert f"{bad.host}" in message
    assert "(from SQL_URL)" in message
    assert str(bad.password) not in message


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_file_that_is_no_database_or_can_not_be_there_is_named(kind: str, workspace: Workspace) -> None:
    """With the path that was meant."""
    workspace.init()
    workspace.revision("r1", TABLE)
    text = workspace.write("notes.txt", "no database\n" * 500)
    for path in (text, workspace.root / "missing" / "app.db"):
        message = failed(workspace.run("sql", "upgrade", "--database-url", f"{kind}:///{path}"))
        assert str(path) in message
        assert "(from --database-url)" in message


def test_a_locked_sqlite_file_is_named_after_the_timeout(workspace: Workspace) -> None:
    """Another program writes for longer than anybody waits."""
    import sqlite3

    workspace.init()
    workspace.revision("r1", TABLE)
    path = workspace.root.parent / "app.db"
    holder = sqlite3.connect(path)
    holder.execute("BEGIN EXCLUSIVE")
    workspace.environ.update(MIGRATION_LOCK_TIMEOUT_MS="100", MIGRATION_LOCK_RETRIES="1")
    try:
        message = failed(workspace.run("sql", "upgrade"))
    finally:
        holder.close()
    assert str(path) in message
    assert "database is locked" in message


def test_an_indexed_table_of_duckdb_can_be_altered(duckdb_url: str, make_workspace: Make) -> None:
    """DuckDB refuses it while an index is there, so the table is rebuilt with its rows and indexes."""
    workspace = make_workspace(duckdb_url)
    workspace.init()
    workspace.revision(
        "r1",
        """
        op.create_table(
            "t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer), sa.Column("s", sa.String(9))
        )
        op.create_index("ix_n", "t", ["n"])
        op.create_index("ix_s", "t", ["s"])
        op.execute("INSERT INTO t VALUES (1, 2, 'x')")
        """,
    )
    workspace.revision(
        "r2",
        """
        op.alter_column("t", "n", type_=sa.BigInteger(), existing_type=sa.Integer())
        op.alter_column("t", "n", nullable=False, existing_type=sa.BigInteger())
        op.alter_column("t", "n", new_column_name="m", existing_type=sa.BigInteger())
        op.drop_column("t", "s")
        op.add_column("t", sa.Column("z", sa.Integer))
        op.execute("INSERT INTO t (id, m) VALUES (2, 9223372036854775807)")
        """,
        after="r1",
    )
    done = workspace.run("sql", "upgrade")
    assert done.returncode == 0, done.stderr
    import duckdb

    with duckdb.connect(str(sa.make_url(duckdb_url).database)) as connection:
        assert connection.execute("SELECT id, m, z FROM t ORDER BY id").fetchall() == [
            (1, 2, None),
            (2, 9223372036854775807, None),
        ]
        assert connection.execute("SELECT index_name, expressions FROM duckdb_indexes()").fetchall() == [
            ("ix_n", "[m]")
        ]
