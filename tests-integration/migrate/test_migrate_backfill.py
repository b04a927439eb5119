"""Filling a column while others write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

METADATA = sa.MetaData()
PEOPLE = sa.Table(
    "people",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20)),
    sa.Column("upper_name", sa.String(20)),
)
VALUES = {"upper_name": sa.func.upper(PEOPLE.c.name)}


def fill(connection: sa.Connection, rows: int) -> None:
    METADATA.create_all(connection)
    connection.execute(PEOPLE.insert(), [{"id": number * 3, "name": f"n{number}"} for number in range(1, rows + 1)])
    connection.commit()


def missing(connection: sa.Connection) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).where(PEOPLE.c.upper_name.is_(None))) or 0)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_every_row_is_filled_in_batches_and_an_interrupted_run_goes_on(
    kind: str, request: pytest.FixtureRequest, make_workspace: Callable[[str], Workspace]
) -> None:
    """Gaps between the keys don't matter, and `after` goes on where the last run ended."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()

    def work(connection: sa.Connection) -> None:
        fill(connection, 1000)
        seen: list[core.BackfillProgress] = []

        def interrupt(progress: core.BackfillProgress) -> None:
            seen.append(progress)
            if progress.batches == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            core.backfill(
                connection, PEOPLE, VALUES, batch_rows=100, max_batch_seconds=0, pause_seconds=0, on_progress=interrupt
            )
        assert 0 < missing(connection) < 1000
        connection.rollback()
        done = core.backfill(connection, PEOPLE, VALUES, after=seen[-1].last_key, pause_seconds=0)
        assert done.share == 1.0
        assert seen[-1].rows + done.rows == 1000
        assert missing(connection) == 0

    run_on_connection(resolve_target(workspace.project), work)


def test_a_backfill_in_a_transaction_is_refused(postgres_url: str, make_workspace: Callable[[str], Workspace]) -> None:
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
def test_two_million_rows_are_filled_while_writes_go_on(
    postgres_url: str, make_workspace: Callable[[str], Workspace]
) -> None:
    """No batch runs above the limit of a statement, and no write waits longer than that."""
    workspace = make_workspace(postgres_url)
    workspace.init()
    target = resolve_target(workspace.project)
    limit = 2.0
    done, waits = threading.Event(), [0.0]

    def write(connection: sa.Connection) -> None:
        number = 0
        while not done.is_set():
            number = (number + 7919) % 2_000_000
            began = time.monotonic()
            connection.execute(PEOPLE.update().where(PEOPLE.c.id == number + 1).values(name=f"w{number}"))
            connection.commit()
            waits.append(time.monotonic() - began)

    def work(connection: sa.Connection) -> None:
        METADATA.create_all(connection)
        connection.exec_driver_sql(
            "INSERT INTO people (id, name) SELECT n, 'n' || n FROM generate_series(1, 2000000) n"
        )
        connection.commit()
        writer = threading.Thread(target=run_on_connection, args=(target, write))
        writer.start()
        batches: list[float] = []
        try:
            connection.exec_driver_sql(f"SET statement_timeout = {int(limit * 1000)}")
            connection.commit()
            core.backfill(
                connection,
                PEOPLE,
                VALUES,
                where=PEOPLE.c.upper_name.is_(None),
                max_batch_seconds=0.5,
                pause_seconds=0,
                on_progress=lambda progress: batches.append(progress.seconds),
            )
        finally:
            done.set()
            writer.join()
        assert missing(connection) == 0
        longest = max(later - earlier for earlier, later in zip([0.0, *batches], batches, strict=False))
        assert longest < limit
        assert max(waits) < limit

    run_on_connection(target, work)
