"""Reading the CSV files: what a run of the whole program would show only with many files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Table

from quickstart.dataset import Dataset, DatasetError
from quickstart.models import Airline, Airport, Flight
from quickstart_process import Extract

AIRLINES = cast("Table", Airline.__table__)
AIRPORTS = cast("Table", Airport.__table__)
FLIGHTS = cast("Table", Flight.__table__)


def test_values_have_the_types_of_their_columns(extract: Extract) -> None:
    """Numbers, instants and text arrive as such, and NA as None, also out of a zipped file."""
    found = Dataset(extract(10)).read(FLIGHTS)
    rows = list(found.rows)
    assert found.total == len(rows) == 10
    assert (rows[0]["flight"], rows[0]["carrier"], rows[0]["air_time"]) == (0, "9E", 150)
    assert rows[0]["time_hour"] == dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    assert (rows[9]["dep_time"], rows[6]["tailnum"]) == (None, None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("carrier\nAA\n", "airlines.csv: columns ['name'] do not match the table 'airlines'"),
        ("carrier,name,seats\nAA,American,9\n", "airlines.csv: columns ['seats'] do not match the table 'airlines'"),
        ("", "airlines.csv: columns ['carrier', 'name'] do not match the table 'airlines'"),
        ("carrier,name\nAA,American\nUA\n", "airlines.csv line 3: "),
        ("carrier,name\nAA,American,Extra\n", "airlines.csv line 2: "),
    ],
)
def test_a_file_that_does_not_fit_its_table_is_named_with_the_line(tmp_path: Path, content: str, expected: str) -> None:
    """A wrong file is found out, not loaded as something else."""
    (tmp_path / "airlines.csv").write_text(content)
    with pytest.raises(DatasetError) as raised:
        list(Dataset(tmp_path).read(AIRLINES).rows)
    assert str(raised.value).startswith(expected)


def test_a_value_of_another_type_is_named_with_its_line(extract: Extract) -> None:
    """A text where a number should be is found out with the line where it stands."""
    folder = extract(1)
    file = folder / "airports.csv"
    file.write_text(file.read_text().replace("40.639751", "north"))
    with pytest.raises(DatasetError, match=r"^airports.csv line 4: .*'north'"):
        list(Dataset(folder).read(AIRPORTS).rows)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says where it was looked for."""
    with pytest.raises(DatasetError, match=r"airlines\.csv nor airlines\.csv\.zip"):
        Dataset(tmp_path).read(AIRLINES)
