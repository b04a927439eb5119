"""Start, restart, reset and end of the quick start, and what a bad start leaves behind: nothing."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from quickstart_process import Extract, QuickStart, Run, free_port, wait_until

FLIGHTS_HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,"
    "origin,dest,air_time,distance,hour,minute,time_hour"
)
FLIGHT = "2013,1,1,517,515,2,830,819,11,UA,1545,N10156,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"


def total(service: QuickStart, port: int, path: str) -> int:
    """Return how many rows a table of the running service has."""
    with service.client(port) as client:
        count: int = client.get(path, params={"limit": 1}).json()["total"]
        return count


def test_ctrl_c_ends_it_the_next_start_keeps_the_data_and_reset_starts_over(
    url: str, run: Run, extract: Extract
) -> None:
    """An interrupt is no error and loses nothing; data is loaded into an empty database only; --reset empties it."""
    port = free_port()
    arguments = ("--port", str(port), "--data", str(extract(30)))
    first = run(url, *arguments)
    first.wait_until_ready()
    with first.client(port) as client:
        assert client.post("/airlines", json={"carrier": "ZZ", "name": "Zeppelin"}).status_code == 201
    assert first.interrupt() == 0
    assert "Traceback" not in first.output

    second = run(url, *arguments)
    second.wait_until_ready()
    assert "Loaded" not in second.output
    assert total(second, port, "/airlines") == 4
    assert total(second, port, "/flights") == 30
    assert second.interrupt() == 0

    reset = run(url, "--reset")
    assert reset.wait() == 0, reset.output
    third = run(url, *arguments)
    third.wait_until_ready()
    assert total(third, port, "/airlines") == 3


def test_an_interrupted_load_leaves_nothing_and_the_next_start_loads_all(
    sqlite_url: str, run: Run, extract: Extract
) -> None:
    """The load is one transaction: half a data set would look like a whole one to the next start."""
    database = Path(sqlite_url.removeprefix("sqlite:///"))
    journal = database.with_name(f"{database.name}-wal")
    port = free_port()
    arguments = ("--port", str(port), "--data", str(extract(60_000)))
    first = run(sqlite_url, *arguments)
    # Rows of the open transaction spill into the journal once the page cache is full.
    wait_until(lambda: journal.exists() and journal.stat().st_size > 2**20, 60, "rows on their way")
    assert first.interrupt() == 130
    assert "Traceback" not in first.output
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        assert connection.execute("SELECT count(*) FROM airlines").fetchone() == (0,)
    second = run(sqlite_url, *arguments)
    second.wait_until_ready()
    assert total(second, port, "/flights") == 60_000


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1", "", "80.5"])
def test_a_wrong_port_is_refused_before_anything_is_written(port: str, tmp_path: Path, run: Run) -> None:
    """One message that names PORT and what it got, exit code 2, no database file."""
    service = run(f"sqlite:///{tmp_path / 'db.sqlite'}", "--port", port)
    assert service.wait() == 2
    assert service.output == f"quickstart: PORT must be a whole number from 1 to 65535, not {port!r}\n"
    assert not (tmp_path / "db.sqlite").exists()


def test_a_port_in_use_is_refused_before_anything_is_written(tmp_path: Path, run: Run) -> None:
    """The port is taken before the database is touched."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        service = run(f"sqlite:///{tmp_path / 'db.sqlite'}", "--port", str(port))
        assert service.wait() == 2
    assert service.output.startswith(f"quickstart: port {port} on 127.0.0.1 can't be used: Address already in use")
    assert service.output.count("\n") == 1
    assert not (tmp_path / "db.sqlite").exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("not a url", "SQL_URL"),
        ("oracle://user:hush@127.0.0.1/db", "oracle"),
        ("mssql+aioodbc://user:hush@127.0.0.1/db", "aioodbc"),
        ("postgresql://user:hush@127.0.0.1:1/db?sslmode=disable", "127.0.0.1"),
        ("postgresql://user:hush@unresolvable.invalid/db?sslmode=disable", "unresolvable.invalid"),
        ("sqlite:////nowhere/at/all/db.sqlite", "/nowhere/at/all"),
    ],
)
def test_a_database_that_can_not_be_used_ends_with_one_message(
    url: str, expected: str, run: Run, extract: Extract
) -> None:
    """Unresolvable, driver absent, refused, unknown host: one message that names it, exit code 1, no password."""
    service = run(url, "--port", str(free_port()), "--data", str(extract(1)))
    assert service.wait() == 1
    assert service.output.startswith("quickstart: ")
    assert expected in service.output
    assert "Traceback" not in service.output
    assert "hush" not in service.output


def test_a_bad_data_file_loads_nothing(sqlite_url: str, run: Run, extract: Extract) -> None:
    """A value that is wrong in the last file is named with its line, and the tables before it keep no row."""
    folder = extract(30)
    (folder / "flights.csv.zip").unlink()
    (folder / "flights.csv").write_text(f"{FLIGHTS_HEADER}\n{FLIGHT.replace('2013', 'MMXIII', 1)}\n")
    service = run(sqlite_url, "--port", str(free_port()), "--data", str(folder))
    assert service.wait() == 1
    assert service.output.splitlines()[-1].startswith("quickstart: flights.csv line 2: ")
    assert "Traceback" not in service.output
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        assert connection.execute("SELECT count(*) FROM airlines").fetchone() == (0,)
