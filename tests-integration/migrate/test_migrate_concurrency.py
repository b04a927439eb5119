"""Several replicas that migrate the same database at the same time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.processes import COMMAND, Spawned
from migrate.workspace import RecordedProgress, Workspace
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

UPGRADE = "import sys; import svc_infra.db.sql.core as core; core.upgrade(project=core.find_project(sys.argv[1]))"


def five_revisions(workspace: Workspace, *, concurrently: bool) -> None:
    workspace.init()
    workspace.revision(
        "r1",
        """
        op.create_table("counted", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))
        op.execute("INSERT INTO counted (id, name) VALUES (1, 'r1')")
        """,
    )
    index = 'op.create_index("ix_name", "counted", ["name"])'
    if concurrently:
        index = """
        with op.get_context().autocommit_block():
            op.execute("CREATE INDEX CONCURRENTLY ix_name ON counted (name)")
        """
    workspace.revision("r2", index, after="r1")
    for number in range(3, 6):
        workspace.revision(
            f"r{number}",
            f"""op.execute("INSERT INTO counted (id, name) VALUES ({number}, 'r{number}')")""",
            after=f"r{number - 1}",
        )


def rows(workspace: Workspace, statement: str) -> list[tuple[object, ...]]:
    def read(connection: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(sa.text(statement))]

    return run_on_connection(resolve_target(workspace.project), read)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "duckdb", "mssql"])
def test_eight_processes_apply_each_revision_once(
    kind: str, request: pytest.FixtureRequest, make_workspace: Callable[[str], Workspace]
) -> None:
    """All exit with 0; on PostgreSQL one of the revisions builds an index concurrently."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    five_revisions(workspace, concurrently=kind == "postgres")
    started = [workspace.start(COMMAND, "sql", "upgrade", name="svc-infra") for _ in range(8)]
    finished = [process.wait() for process in started]
    assert [done.returncode for done in finished] == [0] * 8, "\n".join(done.stderr for done in finished)
    assert rows(workspace, "SELECT id FROM counted ORDER BY id") == [(1,), (3,), (4,), (5,)]
    assert rows(workspace, "SELECT version_num FROM alembic_version") == [("r5",)]
    if kind == "postgres":
        assert rows(workspace, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_name'::regclass") == [(True,)]
    assert not list(Path(workspace.root.parent).glob("**/*.migrate-lock"))


# Applies one revision that waits for a file, so that the test knows when the lock is held.
HOLDS_THE_LOCK = """
    from pathlib import Path
    import time
    Path({root!r}, "holding").touch()
    while not Path({root!r}, "go on").exists():
        time.sleep(0.01)
"""


def start_holder(workspace: Workspace, *, after: str | None = None) -> Spawned:
    """Start a process that holds the migration lock until the file `go on` is there."""
    if after is None:
        workspace.init()
    workspace.revision("r1", HOLDS_THE_LOCK.format(root=str(workspace.root)), after=after)
    process = workspace.start(UPGRADE, str(workspace.root))
    deadline = time.monotonic() + 30
    while not (workspace.root / "holding").exists():
        assert time.monotonic() < deadline, f"the holder never began: {process.stderr}"
        time.sleep(0.02)
    return process


# What the one who waits reads of the other process, and how to end it.
HOLDERS = {
    "postgres": r"server process \d+ of \S+ \(migration, process {pid} on .*pg_terminate_backend\(\d+\)",
    "mysql": r"connection (\d+) of the server of \S+ from .*KILL \1",
    "sqlite": r"the migration lock: process {pid} on \S+ since 20",
    "duckdb": r"the database file: .*\(PID {pid}\)",
    "mssql": r"another process holds the migration lock",
}


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "duckdb", "mssql"])
def test_the_lock_has_a_deadline_and_ends_with_a_killed_process(
    kind: str, request: pytest.FixtureRequest, make_workspace: Callable[[str], Workspace]
) -> None:
    """A second process gives up at its deadline, naming the first; after SIGKILL of the first it migrates at once."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    holder = start_holder(workspace)
    try:
        workspace.environ["MIGRATION_LOCK_WAIT_SECONDS"] = "0.3"
        with pytest.raises(core.LockNotObtained, match=HOLDERS[kind].format(pid=holder.pid)):
            core.upgrade(project=workspace.project)
    finally:
        assert holder.kill().returncode == -signal.SIGKILL
    (workspace.root / "go on").touch()
    workspace.environ["MIGRATION_LOCK_WAIT_SECONDS"] = "10"
    core.upgrade(project=workspace.project)
    assert [item.revision for item in core.current(project=workspace.project)] == ["r1"]


def test_the_command_line_exits_with_4_when_the_lock_is_not_obtained(workspace: Workspace) -> None:
    """A deployment can tell "somebody else migrates" from a failure."""
    holder = start_holder(workspace)
    try:
        workspace.environ["MIGRATION_LOCK_WAIT_SECONDS"] = "0"
        done = workspace.run("sql", "upgrade")
    finally:
        holder.kill()
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" not in done.stderr


def test_a_pooler_that_the_url_tells_is_refused_without_a_try(
    postgres_url: str, make_workspace: Callable[[str], Workspace]
) -> None:
    """A busy pooler may hide that it hands out another session for each transaction; hosted ones have known names."""
    workspace = make_workspace(f"{postgres_url}&pgbouncer=true")
    five_revisions(workspace, concurrently=False)
    with pytest.raises(core.TargetNotResolved, match="MIGRATION_DATABASE_URL"):
        core.upgrade(project=workspace.project)


def test_a_transaction_pooler_is_refused_and_a_direct_url_asked_for(
    pgbouncer_url: str, postgres_url: str, make_workspace: Callable[[str], Workspace]
) -> None:
    """There the lock would be "held" by everybody; MIGRATION_DATABASE_URL goes around it."""
    workspace = make_workspace(pgbouncer_url)
    five_revisions(workspace, concurrently=True)
    with pytest.raises(core.TargetNotResolved, match="MIGRATION_DATABASE_URL"):
        core.upgrade(project=workspace.project)
    workspace.environ["MIGRATION_DATABASE_URL"] = postgres_url
    core.upgrade(project=workspace.project)
    assert [item.revision for item in core.current(project=workspace.project)] == ["r5"]


@dataclass
class GoesOn(RecordedProgress):
    """Lets the holder of the lock go on as soon as the run tells that it waits."""

    root: Path = Path()

    def waiting(self, reason: str, seconds: float) -> None:
        super().waiting(reason, seconds)
        (self.root / "go on").touch()


def test_a_relative_step_is_not_taken_on_a_database_that_moved_meanwhile(workspace: Workspace) -> None:
    """`downgrade -1` that waited for another process stops when that one has moved the database."""
    workspace.init()
    workspace.revision("r0", "pass")
    core.upgrade("r0", project=workspace.project)
    holder = start_holder(workspace, after="r0")
    progress = GoesOn(root=workspace.root)
    try:
        with pytest.raises(core.RevisionError, match="another process moved the database from r0 to r1"):
            core.downgrade(project=core.find_project(workspace.root, environ=workspace.environ, progress=progress))
    finally:
        holder.kill()
    assert progress.waits
    assert [item.revision for item in core.current(project=workspace.project)] == ["r1"]
