"""What a run tells while it works and waits, and what it leaves of the process around it."""

from __future__ import annotations

import io
import sys

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.migrate.stderr_progress import StderrProgress


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_wait_is_told_ever_more_seldom_off_a_terminal() -> None:
    """The log of a deployment that waits for five minutes has a few lines of it, with the seconds."""
    stream = io.StringIO()
    progress = StderrProgress(stream=stream)
    for second in range(1, 301):
        progress.waiting("the lock", second)
    told = [int(line.split()[1]) for line in stream.getvalue().splitlines()]
    assert told == [1, 5, 10, 30, 60, 120, 180, 240, 300]


def test_a_second_wait_is_told_from_its_beginning() -> None:
    """Its first seconds are news again."""
    stream = io.StringIO()
    progress = StderrProgress(stream=stream)
    for second in (1, 2, 30, 1, 5):
        progress.waiting("the lock", second)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1", "30", "1", "5"]


def test_on_a_terminal_a_wait_is_one_line_that_counts_and_goes_away() -> None:
    """Each count replaces the one before, a note stands above it, and at the end the line is free."""
    stream = Terminal()
    progress = StderrProgress(stream=stream)
    progress.waiting("the lock", 1)
    progress.note("something else")
    progress.waiting("the lock", 2)
    progress.close()
    shown = stream.getvalue().split("\r\033[K")
    assert shown == [
        "Waited 1 s for the lock",
        "something else\nWaited 1 s for the lock",
        "Waited 2 s for the lock",
        "",
    ]


def test_a_revision_is_one_line_with_its_seconds_also_when_it_fails(workspace: Workspace) -> None:
    """On stderr; the reason follows."""
    workspace.init()
    workspace.revision("one", "pass")
    workspace.revision("two", 'op.execute("SELECT * FROM missing")', after="one")
    lines = workspace.run("sql", "upgrade").stderr.splitlines()
    assert lines[0].startswith("up    one  one step  ok 0.")
    assert lines[1].startswith("up    two  two step  failed 0.")
    assert lines[2].startswith("error: revision two (two step) failed: OperationalError: no such table: missing")


def test_a_service_that_migrates_keeps_its_stdout(workspace: Workspace) -> None:
    """Only the command line, whose stdout is its answer, sends what a revision prints to stderr."""
    workspace.init()
    workspace.revision("one", 'print("from the revision")')
    mine = io.StringIO()
    before, sys.stdout = sys.stdout, mine
    try:
        core.upgrade(project=workspace.project)
    finally:
        sys.stdout = before
    assert mine.getvalue() == "from the revision\n"
