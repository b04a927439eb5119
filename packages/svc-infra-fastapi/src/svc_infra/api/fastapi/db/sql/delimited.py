"""CSV as export writes it and import reads it (RFC 4180), so that what was exported can be imported again.

An empty cell is null and a quoted empty one is the empty text, as in PostgreSQL's COPY. A text that a spreadsheet would
take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a carriage return) gets an apostrophe before it, which
import takes away again; so opening an export can't run what a stranger typed into a field. Cells of JSON columns hold
JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pydantic_core

__all__ = ["CsvError", "CsvRecords", "cell_of", "csv_line", "members_of", "text_of"]

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED: Final = re.compile(r"'+[=+\-@\t\r]")
_SPECIAL: Final = re.compile(r'[",\r\n]')
_CELL: Final = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(,|$)')


class CsvError(ValueError):
    """A record that is not CSV."""


def cell_of(value: Any, *, is_text: bool) -> str:
    """Return the cell of a JSON value.

    >>> cell_of("=1+1", is_text=True), cell_of("", is_text=True), cell_of(None, is_text=True)
    ("'=1+1", '""', '')
    >>> cell_of(-1.5, is_text=False), cell_of({"a": 1}, is_text=False)
    ('-1.5', '"{""a"":1}"')

    Args:
        value: The value.
        is_text: Whether its column holds nothing but texts, so that they need no quotes of JSON.
    """
    if value is None:
        return ""
    if not is_text:
        return _quoted(pydantic_core.to_json(value).decode())
    text = str(value)
    return _quoted(f"'{text}" if _FORMULA.match(text) else text)


def text_of(cell: str) -> str:
    """Return the text that `cell_of` made the content of a cell of.

    >>> text_of("'=1+1"), text_of("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if _ESCAPED.match(cell) else cell


def _quoted(text: str) -> str:
    if text and not _SPECIAL.search(text) and text[0] != " " and text[-1] != " ":
        return text
    return '"' + text.replace('"', '""') + '"'


def csv_line(cells: Iterable[str]) -> str:
    """Return a record of cells that `cell_of` made."""
    return ",".join(cells) + "\r\n"


class CsvRecords:
    """Puts the lines of a CSV file together to records, as a quoted cell may hold line breaks.

    Args:
        max_size: The largest record, in bytes.

    Attributes:
        started_at: Number of the line where the current record began, from 1.
    """

    def __init__(self, max_size: int) -> None:
        self.started_at: int = 1
        self._max_size = max_size
        self._size = 0
        self._lines: list[str] = []
        self._is_open = False
        self._next = 1

    def add(self, line: bytes) -> list[str | None] | None:
        """Take the next line, with its line break; return the cells when it ends a record. None stands for null.

        Raises:
            CsvError: It is not CSV, not UTF-8, or too large.
        """
        if not self._lines:
            self.started_at = self._next
        self._next += 1
        try:
            self._lines.append(line.decode())
        except UnicodeDecodeError:
            raise CsvError("The text is not UTF-8") from None
        self._size += len(line)
        if self._size > self._max_size:
            raise CsvError(f"The record is larger than {self._max_size} bytes; is a quote not closed?")
        if line.count(b'"') % 2:
            self._is_open = not self._is_open
        if self._is_open:
            return None
        record = "".join(self._lines).rstrip("\r\n")
        self._lines, self._size = [], 0
        return list(_cells(record)) if record else []

    def end(self) -> None:
        """Make sure that no record is open.

        Raises:
            CsvError: The last one is.
        """
        if self._lines:
            raise CsvError("A quote is not closed")


def _cells(record: str) -> Iterator[str | None]:
    place = 0
    while True:
        found = _CELL.match(record, place)
        if found is None:
            raise CsvError("A quote stands within a cell that has none around it")
        quoted, plain, end = found.groups()
        yield quoted.replace('""', '"') if quoted is not None else (plain or None)
        if not end:
            return
        place = found.end()


def members_of(
    names: Sequence[str], cells: Sequence[str | None], texts: Mapping[str, bool], nullable: Mapping[str, bool]
) -> dict[str, object]:
    """Return the JSON object that a record stands for.

    Args:
        names: The names in the first line.
        cells: The cells of the record.
        texts: Whether the column of a name holds nothing but texts.
        nullable: Whether it can hold null; a cell without anything is left out where it can't, and takes the default.

    Raises:
        CsvError: There are more or fewer cells than names.
    """
    if len(cells) != len(names):
        raise CsvError(f"There are {len(cells)} cells where the first line has {len(names)}")
    found: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell is None:
            if nullable.get(name, False):
                found[name] = None
        elif texts.get(name, True):
            found[name] = text_of(cell)
        else:
            found[name] = _json_or_text(cell)
    return found


def _json_or_text(cell: str) -> object:
    # Spreadsheets write truth values in capitals.
    text = cell.lower() if cell in {"TRUE", "FALSE", "True", "False"} else cell
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError:
        return cell
