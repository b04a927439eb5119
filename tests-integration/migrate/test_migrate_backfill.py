"""Filling a column while others write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.processes import COMMAND
from migrate.workspace import RecordedProgress, Workspace
from svc_infra.db.sql.core.backfill_state import STATE_TABLE
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

Make = Callable[[str], Workspace]
METADATA = sa.MetaData()
PEOPLE = sa.Table(
    "people",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(20)),
    sa.Column("touched", sa.Integer, server_default="0"),
)
PLACES = sa.Table(
    "places",
    METADATA,
    sa.Column("country", sa.String(2), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("touched", sa.Integer, server_default="0"),
)
# Not idempotent: a row that is done twice shows.
VALUES = {"touched": PEOPLE.c.touched + 1}


def fill(connection: sa.Connection, rows: int) -> None:
    METADATA.create_all(connection)
    connection.execute(PEOPLE.insert(), [{"id": number * 3, "name": f"n{number}"} for number in range(1, rows + 1)])
    connection.execute(
        PLACES.insert(), [{"country": "ABC"[number % 3] + "x", "number": number // 3} for number in range(rows)]
    )
    connection.commit()


def touched(connection: sa.Connection, table: sa.Table) -> dict[int, int]:
    """How many rows were changed how often."""
    counted = connection.execute(sa.select(table.c.touched, sa.func.count()).group_by(table.c.touched)).all()
    connection.rollback()
    return {int(times): int(rows) for times, rows in counted}


@pytest.mark.parametrize("table", [PEOPLE, PLACES], ids=lambda table: table.name)
def test_every_row_is_changed_once_also_when_the_run_is_cut_off_and_goes_on(
    table: sa.Table, database_url: str, make_workspace: Make
) -> None:
    """Gaps between the keys don't matter, nor how many columns they have; `name` is where it left off."""
    workspace = make_workspace(database_url)
    workspace.init()
    values = {"touched": table.c.touched + 1}

    def work(connection: sa.Connection) -> None:
        fill(connection, 300)

        def interrupt(progress: core.BackfillProgress) -> None:
            if progress.batches == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            core.backfill(
                connection,
                table,
                values,
                name="touch",
                batch_rows=100,
                max_batch_seconds=0,
                pause_seconds=0,
                on_progress=interrupt,
            )
        assert touched(connection, table) == {1: 175, 0: 125}  # 100, 50 and 25 rows: no batch was fast enough
        done = core.backfill(connection, table, values, name="touch", batch_rows=100, pause_seconds=0)
        assert (done.rows, done.share if table is PEOPLE else 1.0) == (300, 1.0)
        assert touched(connection, table) == {1: 300}
        assert not sa.inspect(connection).has_table(STATE_TABLE)

    run_on_connection(resolve_target(workspace.project), work)


def test_a_backfill_that_runs_already_is_refused_and_others_share_the_state(
    database_url: str, make_workspace: Make
) -> None:
    """Two of one name would change rows twice; of two names, the one that ends leaves the table to the other."""
    workspace = make_workspace(database_url)
    workspace.init()

    def work(connection: sa.Connection) -> None:
        fill(connection, 200)

        def meanwhile(progress: core.BackfillProgress) -> None:
            if progress.batches > 1:
                return
            with connection.engine.connect() as second:
                with pytest.raises(core.LockNotObtained, match="the backfill 'people' is running already: "):
                    core.backfill(second, PEOPLE, VALUES, name="people")
                second.rollback()
                core.backfill(second, PLACES, {"touched": PLACES.c.touched + 1}, name="places", pause_seconds=0)

        core.backfill(connection, PEOPLE, VALUES, name="people", batch_rows=100, pause_seconds=0, on_progress=meanwhile)
        assert touched(connection, PEOPLE) == touched(connection, PLACES) == {1: 200}
        assert not sa.inspect(connection).has_table(STATE_TABLE)

    run_on_connection(resolve_target(workspace.project), work)
    assert not list(workspace.root.parent.glob("**/*-lock"))


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_backfills_that_begin_and_end_at_the_same_time_do_not_trip_over_the_state(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """Each makes the table when it is not there and drops it when it is the last."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()
    target = resolve_target(workspace.project)
    run_on_connection(target, lambda connection: fill(connection, 1))
    begin = threading.Barrier(4, timeout=60)

    def many(number: int) -> None:
        def work(connection: sa.Connection) -> None:
            begin.wait()
            for _ in range(5):
                core.backfill(connection, PLACES, {"touched": 1}, name=f"n{number}", pause_seconds=0)
                connection.rollback()

        run_on_connection(target, work)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(many, range(4))) == [None] * 4
    assert not run_on_connection(target, lambda connection: sa.inspect(connection).has_table(STATE_TABLE))


REVISION = """
people = sa.Table("people", sa.MetaData(), autoload_with=op.get_bind())
with op.get_context().autocommit_block():
    backfill(op.get_bind(), people, {{"touched": people.c.touched + 1}}, batch_rows={rows}, pause_seconds={pause})
"""


def write_revision(workspace: Workspace, *, rows: int, pause: float) -> None:
    if not (workspace.root / "alembic.ini").exists():
        workspace.init()
    upgrade = "from svc_infra.db.sql.core import backfill\n" + REVISION.format(rows=rows, pause=pause)
    workspace.revision("r1", upgrade)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_a_revision_that_is_killed_goes_on_behind_its_last_batch(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """After `kill -9` no row is changed twice and none is left out, without a name or any other preparation."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    write_revision(workspace, rows=20, pause=0.05)
    target = resolve_target(workspace.project)
    run_on_connection(target, lambda connection: fill(connection, 1000))
    process = workspace.start(COMMAND, "sql", "upgrade")

    def is_half_done(connection: sa.Connection) -> bool:
        return touched(connection, PEOPLE).get(1, 0) > 30

    deadline = time.monotonic() + 60
    while not run_on_connection(target, is_half_done):
        assert time.monotonic() < deadline, process.stderr
        assert "error" not in process.stderr
        time.sleep(0.02)
    process.kill()
    assert run_on_connection(target, lambda connection: touched(connection, PEOPLE)).get(0, 0) > 0
    write_revision(workspace, rows=1000, pause=0)
    done = workspace.run("sql", "upgrade")
    assert done.returncode == 0, done.stderr
    assert "people (touched)  100%  1,000 rows" in done.stderr
    assert run_on_connection(target, lambda connection: touched(connection, PEOPLE)) == {1: 1000}


def test_what_a_backfill_has_done_is_told_when_its_revision_fails(postgres_url: str, make_workspace: Make) -> None:
    """It is committed, so that "rolled back" would be a lie."""
    workspace = make_workspace(postgres_url)
    write_revision(workspace, rows=100, pause=0)
    path = workspace.root / "migrations" / "versions" / "r1.py"
    path.write_text(
        path.read_text().replace("\n\n\ndef downgrade", '\n    op.execute("SELECT missing")\n\n\ndef downgrade')
    )
    run_on_connection(resolve_target(workspace.project), lambda connection: fill(connection, 10))
    with pytest.raises(core.MigrationFailed, match=r"backfill of people \(touched\): 10 rows, up to the key 30"):
        core.upgrade(project=workspace.project)


def test_a_batch_that_meets_a_lock_is_tried_again_with_fewer_rows(postgres_url: str, make_workspace: Make) -> None:
    """The statement is ended at its limit, so that nobody waits behind it for long."""
    workspace = make_workspace(postgres_url)
    workspace.init()
    target, progress = resolve_target(workspace.project), RecordedProgress()

    def work(connection: sa.Connection) -> None:
        fill(connection, 100)
        with ExitStack() as stack:
            other = stack.enter_context(connection.engine.connect())
            other.execute(PEOPLE.update().where(PEOPLE.c.id == 150).values(name="busy"))

            def sleep(_seconds: float) -> None:
                if progress.notes:
                    other.rollback()

            done = core.backfill(
                connection, PEOPLE, VALUES, max_statement_seconds=0.2, progress=progress, sleep=sleep, batch_rows=80
            )
        assert done.rows == 100
        assert ["trying 40 rows" in note for note in progress.notes] == [True]
        assert touched(connection, PEOPLE) == {1: 100}

    run_on_connection(target, work)


def test_rows_per_second_can_be_limited(sqlite_url: str, make_workspace: Make) -> None:
    """A big table on a busy server is worth a night."""
    workspace = make_workspace(sqlite_url)
    workspace.init()
    pauses: list[float] = []

    def work(connection: sa.Connection) -> None:
        fill(connection, 100)
        core.backfill(connection, PEOPLE, VALUES, batch_rows=100, max_rows_per_second=50, sleep=pauses.append)

    run_on_connection(resolve_target(workspace.project), work)
    assert 1.0 < pauses[0] <= 2.0


def test_a_backfill_in_a_transaction_is_refused(postgres_url: str, make_workspace: Make) -> None:
    """One transaction around all batches would hold every lock until the end."""
    workspace = make_workspace(postgres_url)
    workspace.init()

    def work(connection: sa.Connection) -> None:
        fill(connection, 1)
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(core.MigrationError, match="autocommit_block"):
            core.backfill(connection, PEOPLE, VALUES)

    run_on_connection(resolve_target(workspace.project), work)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_two_million_rows_are_filled_while_writes_go_on(postgres_url: str, make_workspace: Make) -> None:
    """No batch runs above the limit of a statement, no write waits longer than that, and a kill costs one batch."""
    workspace = make_workspace(postgres_url)
    write_revision(workspace, rows=5000, pause=0)
    target = resolve_target(workspace.project)
    limit = 2.0
    done, waits = threading.Event(), [0.0]

    def prepare(connection: sa.Connection) -> None:
        METADATA.create_all(connection)
        connection.exec_driver_sql(
            "INSERT INTO people (id, name) SELECT n, 'n' || n FROM generate_series(1, 2000000) n"
        )
        connection.commit()

    def write(connection: sa.Connection) -> None:
        number = 0
        while not done.is_set():
            number = (number + 7919) % 2_000_000
            began = time.monotonic()
            connection.execute(PEOPLE.update().where(PEOPLE.c.id == number + 1).values(name=f"w{number}"))
            connection.commit()
            waits.append(time.monotonic() - began)

    run_on_connection(target, prepare)
    writer = threading.Thread(target=run_on_connection, args=(target, write))
    writer.start()
    try:
        process = workspace.start(COMMAND, "sql", "upgrade")
        time.sleep(4)
        process.kill()
        finished = workspace.start(COMMAND, "sql", "upgrade").wait()
    finally:
        done.set()
        writer.join()
    assert finished.returncode == 0, finished.stderr
    assert "ran into its limit" not in finished.stderr
    assert "2,000,000 rows" in finished.stderr
    assert run_on_connection(target, lambda connection: touched(connection, PEOPLE)) == {1: 2_000_000}
    assert max(waits) < limit
