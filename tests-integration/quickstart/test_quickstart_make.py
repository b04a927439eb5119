"""`make demo` itself, in the environment that it makes; over the whole data set in the soak run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from quickstart_process import ROOT, Extract, Run, free_port

# Without make's own messages about itself, and not as a part of the make that runs the tests.
MAKE = ("make", "--no-print-directory", "demo")
NO_MAKE = {"MAKEFLAGS": "", "MAKELEVEL": ""}

RESET = ("make", "--no-print-directory", "demo-reset")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def test_make_demo_serves_and_make_demo_reset_starts_over(sqlite_url: str, run: Run, extract: Extract) -> None:
    """Both targets work in the environment that they prepare, here over a small extract."""
    port = free_port()
    demo = run(sqlite_url, f"PORT={port}", f"DATA={extract(30)}", command=MAKE, environ=NO_MAKE, cwd=ROOT)
    demo.wait_until_ready(110)
    with demo.client(port) as client:
        assert client.get("/flights", params={"limit": 1}).json()["total"] == 30
    demo.interrupt()
    assert "Traceback" not in demo.output
    reset = run(sqlite_url, command=RESET, environ=NO_MAKE, cwd=ROOT)
    assert reset.wait(60) == 0, reset.output


@pytest.mark.soak
def test_make_demo_serves_every_flight(url: str, run: Run) -> None:
    """The read-me's first command: 336,776 flights loaded within a minute, served, and Ctrl-C ends it."""
    port = free_port()
    demo = run(url, f"PORT={port}", command=MAKE, environ=NO_MAKE, cwd=ROOT)
    demo.wait_until_ready(300)
    loaded = re.search(r"Loaded ([\d,]+) rows in (\d+) s", demo.output)
    assert loaded, demo.output
    assert loaded[1] == "367,687"
    assert int(loaded[2]) < 60
    with demo.client(port) as client:
        for path, total in {
            "airlines": 16,
            "airports": 1458,
            "planes": 3322,
            "weather": 26115,
            "flights": 336776,
        }.items():
            assert client.get(f"/{path}", params={"limit": 1}).json()["total"] == total
        late: dict[str, str | int] = {"dep_delay__gt": 600, "order_by": "-dep_delay", "limit": 1}
        worst = client.get("/flights", params=late).json()["items"][0]
        assert (worst["dep_delay"], worst["carrier"], worst["flight"]) == (1301, "HA", 51)
    demo.interrupt()
    assert "Traceback" not in demo.output
    reset = run(url, command=RESET, environ=NO_MAKE, cwd=ROOT)
    assert reset.wait(120) == 0, reset.output


def test_make_demo_says_what_is_wrong_with_its_port(tmp_path: Path, run: Run) -> None:
    """PORT reaches the program as it was given."""
    demo = run(f"sqlite:///{tmp_path / 'db.sqlite'}", "PORT=70000", command=MAKE, environ=NO_MAKE, cwd=ROOT)
    assert demo.wait(120) != 0
    assert "PORT must be a whole number from 1 to 65535, not '70000'" in demo.output


def test_make_demo_says_which_driver_is_missing(run: Run) -> None:
    """The demo's environment has the drivers of SQLite and PostgreSQL; otherwise the message says what to install."""
    demo = run("mysql://user:hush@127.0.0.1/db", f"PORT={free_port()}", command=MAKE, environ=NO_MAKE, cwd=ROOT)
    assert demo.wait(120) != 0
    assert "svc-infra-sql[mysql]" in demo.output
    assert "Traceback" not in demo.output
    assert "hush" not in demo.output
