"""What a failed revision leaves behind, what is said about it, and waiting for tables that are in use."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.processes import COMMAND
from migrate.workspace import Workspace
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.journal import JOURNAL_TABLE
from svc_infra.db.sql.core.target import resolve_target

Make = Callable[[str], Workspace]

CREATE = 'op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True))\n'


def table_names(workspace: Workspace) -> set[str]:
    return run_on_connection(
        resolve_target(workspace.project), lambda connection: set(sa.inspect(connection).get_table_names())
    )


def failing_second_revision(workspace: Workspace) -> None:
    workspace.init()
    workspace.revision("r1", CREATE.format(name="first"))
    workspace.revision("r2", CREATE.format(name="second") + 'op.execute("SELECT * FROM missing")', after="r1")


@pytest.mark.parametrize("kind", ["postgres", "sqlite", "duckdb"])
def test_a_failed_revision_is_rolled_back_and_the_one_before_stays(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """Each revision is a transaction of its own, also on SQLite; the message says so and how to go on."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    failing_second_revision(workspace)
    with pytest.raises(core.MigrationFailed) as failed:
        core.upgrade(project=workspace.project)
    text = str(failed.value)
    assert "revision r2 (r2 step) failed" in text
    assert "statement: SELECT * FROM missing" in text
    assert "applied and committed before it: r1" in text
    assert "of this revision nothing stayed" in text
    assert table_names(workspace) == {"alembic_version", "first"}
    assert [item.revision for item in core.current(project=workspace.project)] == ["r1"]


def test_what_stayed_of_a_failed_revision_is_listed_where_ddl_can_not_be_rolled_back(
    mysql_url: str, make_workspace: Make
) -> None:
    """MariaDB keeps the first half; the message lists the statements and the two ways to go on."""
    workspace = make_workspace(mysql_url)
    failing_second_revision(workspace)
    with pytest.raises(core.MigrationFailed) as failed:
        core.upgrade(project=workspace.project)
    text = str(failed.value)
    assert "of this revision these statements stayed in MariaDB, because it can't roll back DDL" in text
    assert "CREATE TABLE second" in text
    assert "svc-infra sql stamp r2" in text
    assert table_names(workspace) == {"alembic_version", "first", "second", JOURNAL_TABLE}
    core.stamp("r2", project=workspace.project)
    assert table_names(workspace) == {"alembic_version", "first", "second"}


def test_an_invalid_index_is_named(postgres_url: str, make_workspace: Make) -> None:
    """A unique index built concurrently over duplicates fails and stays behind as invalid."""
    workspace = make_workspace(postgres_url)
    workspace.init()
    workspace.revision(
        "r1",
        CREATE.format(name="t")
        + 'op.add_column("t", sa.Column("n", sa.Integer))\nop.execute("INSERT INTO t VALUES (1, 1), (2, 1)")',
    )
    workspace.revision(
        "r2",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_n ON t (n)")
        """,
        after="r1",
    )
    with pytest.raises(core.MigrationFailed, match="invalid index left behind: uq_n; DROP INDEX CONCURRENTLY uq_n"):
        core.upgrade(project=workspace.project)
    workspace.revision(
        "r2",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_n ON t (n)")
        """,
        after="r1",
    )
    core.upgrade(project=workspace.project)
    assert "The index uq_n is invalid" in workspace.progress.notes[-1]


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_revision_waits_for_a_table_in_use_without_blocking_its_readers(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """While a long transaction holds it readers wait at most the lock timeout; once it is free the revision goes on."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()
    workspace.revision("r1", CREATE.format(name="busy"))
    project = workspace.project
    core.upgrade(project=project)
    workspace.revision("r2", 'op.add_column("busy", sa.Column("name", sa.String(10)))', after="r1")
    timeout_ms = 1000 if kind == "mysql" else 300  # MySQL counts in seconds
    workspace.environ.update(MIGRATION_LOCK_TIMEOUT_MS=str(timeout_ms), MIGRATION_LOCK_RETRIES="20")
    target = resolve_target(project)
    held, released, done = threading.Event(), threading.Event(), threading.Event()
    slowest: list[float] = []

    def hold(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT * FROM busy")
        held.set()
        assert released.wait(60)

    def read(connection: sa.Connection) -> None:
        assert held.wait(60)
        while not done.is_set():
            began = time.monotonic()
            connection.exec_driver_sql("SELECT count(*) FROM busy")
            connection.rollback()
            slowest.append(time.monotonic() - began)
            if workspace.progress.notes[-1:] and "trying" in workspace.progress.notes[-1]:
                released.set()

    threads = [threading.Thread(target=run_on_connection, args=(target, work)) for work in (hold, read)]
    for thread in threads:
        thread.start()
    try:
        assert held.wait(60)
        core.upgrade(project=workspace.project)
    finally:
        released.set()
        done.set()
        for thread in threads:
            thread.join()
    assert any("in use; trying" in note for note in workspace.progress.notes)
    assert max(slowest) < timeout_ms / 1000 + 0.5
    assert [item.revision for item in core.current(project=project)] == ["r2"]


def test_giving_up_on_a_table_in_use_is_said(postgres_url: str, make_workspace: Make) -> None:
    """After the last try the revision fails as any other, with nothing of it applied."""
    workspace = make_workspace(postgres_url)
    workspace.init()
    workspace.revision("r1", CREATE.format(name="busy"))
    core.upgrade(project=workspace.project)
    workspace.revision("r2", 'op.add_column("busy", sa.Column("name", sa.String(10)))', after="r1")
    workspace.environ.update(MIGRATION_LOCK_TIMEOUT_MS="50", MIGRATION_LOCK_RETRIES="1")
    project = workspace.project

    def hold(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT * FROM busy")
        with pytest.raises(core.MigrationFailed, match=r"r2.*lock timeout"):
            core.upgrade(project=project)

    run_on_connection(resolve_target(project), hold)
    assert [item.revision for item in core.current(project=project)] == ["r1"]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "duckdb"])
def test_a_killed_migration_completes_or_says_what_to_do(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """After SIGKILL the next run completes where DDL is transactional; on MariaDB it says what is there."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()
    marker = workspace.root / "half"
    workspace.revision(
        "r1",
        f"""
        from pathlib import Path
        import time
        op.create_table("one", sa.Column("id", sa.Integer, primary_key=True))
        if not Path({str(marker)!r}).exists():
            Path({str(marker)!r}).touch()
            time.sleep(60)
        op.create_table("two", sa.Column("id", sa.Integer, primary_key=True))
        """,
    )
    process = workspace.start(COMMAND, "sql", "upgrade")
    wait_for(marker.exists)
    assert process.kill().returncode == -signal.SIGKILL
    if kind == "mysql":
        with pytest.raises(core.MigrationFailed) as failed:
            core.upgrade(project=workspace.project)
        text = str(failed.value)
        assert "'one' already exists" in text
        assert "an earlier run of this revision was cut off or failed; it had done:\n    CREATE TABLE one" in text
        assert "svc-infra sql stamp r1" in text
        target = resolve_target(workspace.project)
        run_on_connection(target, lambda connection: connection.exec_driver_sql("DROP TABLE one") and None)
        core.upgrade(project=workspace.project)
        assert table_names(workspace) == {"alembic_version", "one", "two"}
    else:
        core.upgrade(project=workspace.project)
        assert table_names(workspace) == {"alembic_version", "one", "two"}


def test_a_statement_of_a_killed_process_does_not_keep_its_table(postgres_url: str, make_workspace: Make) -> None:
    """PostgreSQL ends it within seconds, so that the next run does not wait for a long rewrite that nobody wants."""
    workspace = make_workspace(postgres_url)
    workspace.init()
    marker = workspace.root / "began"
    workspace.revision("r1", CREATE.format(name="busy"))
    workspace.revision(
        "r2",
        f"""
        from pathlib import Path
        op.add_column("busy", sa.Column("name", sa.String(10)))
        if not Path({str(marker)!r}).exists():
            Path({str(marker)!r}).touch()
            op.execute("SELECT pg_sleep(600)")
        """,
        after="r1",
    )
    process = workspace.start(COMMAND, "sql", "upgrade")
    target = resolve_target(workspace.project)
    sleeping = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    )
    wait_for(lambda: run_on_connection(target, lambda connection: connection.scalar(sleeping)))
    process.kill()
    core.upgrade(project=workspace.project)
    assert [item.revision for item in core.current(project=workspace.project)] == ["r2"]
    assert run_on_connection(target, lambda connection: connection.scalar(sleeping)) == 0


def test_limits_hold_in_transactions_and_not_in_autocommit_blocks(postgres_url: str, make_workspace: Make) -> None:
    """An index that is built concurrently may wait; what comes behind the block is limited again, next revision too."""
    workspace = make_workspace(postgres_url)
    workspace.init()
    show = 'print(op.get_bind().execute(sa.text("SHOW lock_timeout")).scalar())'
    workspace.revision("r1", f"{show}\nwith op.get_context().autocommit_block():\n    {show}\n{show}")
    workspace.revision("r2", show, after="r1")
    done = workspace.run("sql", "--lock-timeout", "700", "upgrade")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line in {"0", "700ms"}] == ["700ms", "0", "700ms", "700ms"]
