"""CSV files of the shop's things, written by a writer that knows RFC 4180 and the documentation and no code of ours."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["COLUMNS", "CsvFile", "csv_files", "things"]

Thing = dict[str, object]

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
AWKWARD = st.sampled_from(
    ["", " ", '"', '""', ",", "\n", "\r\n", "\r", "=1+1", "'=1+1", "''-2", "@x", "+4", "\tx", "'tis", "null", "true",
     "\ufeff", "é", "\U0001f600", "a,b", 'say "hi"', " lead", "trail ", "0", "{}", "NaN"]
)  # fmt: skip
TEXTS = AWKWARD | TEXT
CLOCK = st.times().map(lambda found: found.replace(microsecond=0).isoformat())


def _maybe(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | values


RECORDS: dict[str, st.SearchStrategy[object]] = {
    "name": TEXTS,
    "about": _maybe(TEXTS),
    "price": st.decimals(-99_999_999, 99_999_999, places=2).map(lambda found: f"{found:.2f}".replace("-0.00", "0.00")),
    "count": st.integers(-(2**15), 2**15 - 1),
    "weight": _maybe(st.floats(allow_nan=False, allow_infinity=False).map(lambda found: found + 0.0)),
    "size": _maybe(st.sampled_from(["small", "large"])),
    "is_new": st.booleans(),
    "day": _maybe(st.dates().map(str)),
    "opens": _maybe(CLOCK),
    "built": _maybe(st.tuples(st.dates(), CLOCK).map(lambda found: f"{found[0]}T{found[1]}")),
    "owner": _maybe(st.uuids().map(str)),
    "picture": _maybe(st.binary(max_size=40).map(lambda found: base64.b64encode(found).decode())),
}
COLUMNS = ("seen", *RECORDS)
"""The columns of a file; `seen` counts its records from 0."""


def things(*, max_size: int = 6) -> st.SearchStrategy[list[Thing]]:
    """Lists of things as their JSON shows them, counted by `seen`."""
    records = st.lists(st.fixed_dictionaries(RECORDS), min_size=1, max_size=max_size)
    return records.map(lambda found: [{"seen": number, **record} for number, record in enumerate(found)])


@dataclass(frozen=True)
class CsvFile:
    """A file before its records are put together.

    Attributes:
        things: What it holds.
        header: The names of the columns.
        records: The cells of each record, as they stand in the file.
        line_end: What ends a line.
        start: What stands before the first line.
        is_ended: Whether the last line is.
    """

    things: list[Thing]
    header: list[bytes]
    records: list[list[bytes]]
    line_end: bytes
    start: bytes
    is_ended: bool

    def lines(self) -> list[bytes]:
        """Return header and records, without what ends them; a record may have line breaks of its own."""
        return [b",".join(cells) for cells in (self.header, *self.records)]

    def content(self, lines: list[bytes] | None = None) -> bytes:
        """Return the file, with other lines when they are given."""
        whole = self.line_end.join(self.lines() if lines is None else lines)
        return self.start + whole + (self.line_end if self.is_ended else b"")


@st.composite
def csv_files(draw: st.DrawFn, *, max_size: int = 6) -> CsvFile:
    """Draw a file: any order of the columns, with or without a BOM, quotes that are not needed, CRLF or LF."""
    found = draw(things(max_size=max_size))
    names = draw(st.permutations(COLUMNS))
    quotes, escapes, capitals = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    records = [
        [cell_of(name, thing[name], quotes=quotes, escapes=escapes, capitals=capitals).encode() for name in names]
        for thing in found
    ]
    return CsvFile(
        things=found,
        header=[(f'"{name}"' if quotes else name).encode() for name in names],
        records=records,
        line_end=draw(st.sampled_from([b"\n", b"\r\n"])),
        start=draw(st.sampled_from([b"", b"\xef\xbb\xbf"])),
        is_ended=draw(st.booleans()),
    )


def cell_of(name: str, value: object, *, quotes: bool, escapes: bool, capitals: bool) -> str:
    """Return the cell of a value.

    Args:
        name: Its column.
        value: The value.
        quotes: Put quotes around it although it needs none.
        escapes: Put an apostrophe before what a spreadsheet would take for a formula, although none is needed.
        capitals: Write truth values as a spreadsheet does.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        text = json.dumps(value)
        return text.upper() if capitals and isinstance(value, bool) else text
    # A text that looks escaped has to be, or its own apostrophe would be taken away.
    if re.match(r"'+[=+\-@\t\r]", value) or (escapes and name in {"name", "about"} and re.match(r"[=+\-@\t\r]", value)):
        value = f"'{value}"
    if quotes or value == "" or re.search('[",\r\n]', value):
        return '"' + value.replace('"', '""') + '"'
    return value
