"""Files of every kind sent to a running service: what they hold arrives, or nothing and the line is named.

Schemathesis knows no CSV, so it sends none that is worth the name.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from serving import served

from contract import shop
from contract.csv_files import COLUMNS, CsvFile, csv_files, things
from contract.tables import create_tables
from dbservers.postgres import PostgresServer

LARGEST_LINE = 1_048_576
CSV, NDJSON = "text/csv", "application/x-ndjson"


def examples(number: int) -> settings:
    """Return the settings of a test with so many examples, always the same, or twenty times as many others."""
    is_long = "CONTRACT_LONG" in os.environ
    return settings(
        max_examples=number * 20 if is_long else number,
        deadline=None,
        derandomize=not is_long,
        database=None,
        # What a finding is shrunk to is worth less than the time that it takes.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Things:
    """The things of a running service."""

    client: httpx.Client
    empty: Callable[[], object]

    def send(self, content: bytes, media_type: str, piece: int = 0) -> httpx.Response:
        """Import a file, in pieces of so many bytes when *piece* is given; the table is empty before."""
        self.empty()
        pieces = [content[start : start + piece] for start in range(0, len(content), piece)] if piece else None
        headers = {"Content-Type": media_type}
        return self.client.post("/things/import", content=iter(pieces) if pieces else content, headers=headers)

    def stored(self) -> list[dict[str, Any]]:
        """Return the columns of the files of all things, in the order of `seen`."""
        lines = self.client.get("/things/export").raise_for_status().content.splitlines()
        found = [{name: record[name] for name in COLUMNS} for record in map(json.loads, lines)]
        return sorted(found, key=lambda record: (record["seen"] is None, record["seen"]))

    def total(self) -> int:
        """Return how many there are."""
        found: int = self.client.get("/things?limit=1").raise_for_status().json()["total"]
        return found


@pytest.fixture(scope="module")
def api(postgres_server: PostgresServer) -> Iterator[Things]:
    """The things of the shop on PostgreSQL."""
    url = postgres_server.create_database()
    asyncio.run(create_tables(url, *shop.MODELS))
    try:
        with (
            served(shop.create_app(url)) as client,
            postgres_server.connect(url.partition("?")[0].rpartition("/")[2]) as connection,
        ):
            yield Things(client, lambda: connection.execute("DELETE FROM contract_things"))
    finally:
        postgres_server.drop_database(url)


@examples(40)
@given(file=csv_files(), piece=st.sampled_from([0, 1, 7, 64]))
def test_what_a_csv_file_holds_is_stored(api: Things, file: CsvFile, piece: int) -> None:
    """Quotes, line breaks, formulas, nulls, BOM, line ends, order of columns, pieces of the body: nothing changes."""
    answer = api.send(file.content(), CSV, piece)
    assert (answer.status_code, answer.json()) == (200, {"written": len(file.things)}), answer.text
    assert api.stored() == file.things


@examples(20)
@given(
    records=things(), line_end=st.sampled_from(["\n", "\r\n", "\n\n", "\n \r\n"]), start=st.sampled_from(["", "\ufeff"])
)
def test_what_an_ndjson_file_holds_is_stored(
    api: Things, records: list[dict[str, object]], line_end: str, start: str
) -> None:
    """BOM, line ends and lines without anything change nothing."""
    content = start + line_end.join(json.dumps(record, ensure_ascii=len(start) > 0) for record in records)
    answer = api.send(content.encode(), NDJSON, piece=64)
    assert (answer.status_code, answer.json()) == (200, {"written": len(records)}), answer.text
    assert api.stored() == records


@examples(10)
@given(file=csv_files())
def test_an_export_can_be_imported_again(api: Things, file: CsvFile) -> None:
    """A file of our own, with the columns that no body can write, brings back what was there."""
    api.send(file.content(), CSV).raise_for_status()
    exported = api.client.get("/things/export", headers={"Accept": CSV}).content
    answer = api.send(exported, CSV)
    assert answer.status_code == 200, answer.text
    assert api.stored() == file.things


def with_cell(name: str, cell: bytes) -> Callable[[CsvFile, int], CsvFile]:
    """Return what writes *cell* in a column of a record."""

    def change(file: CsvFile, number: int) -> CsvFile:
        cells = list(file.records[number])
        cells[[each.strip(b'"') for each in file.header].index(name.encode())] = cell
        return replace(file, records=[*file.records[:number], cells, *file.records[number + 1 :]])

    return change


def with_cells(change_cells: Callable[[list[bytes]], list[bytes]]) -> Callable[[CsvFile, int], CsvFile]:
    """Return what changes the cells of a record."""

    def change(file: CsvFile, number: int) -> CsvFile:
        return replace(
            file,
            records=[*file.records[:number], change_cells(file.records[number]), *file.records[number + 1 :]],
        )

    return change


MISTAKES: dict[str, tuple[int, Callable[[CsvFile, int], CsvFile]]] = {
    "a cell too many": (422, with_cells(lambda cells: [*cells, b"1"])),
    "a cell too few": (422, with_cells(lambda cells: cells[:-1])),
    "quotes within a cell": (422, with_cell("name", b'a"b"c')),
    "text after a quote": (422, with_cell("name", b'"a"b')),
    "an open quote": (422, with_cell("name", b'"a')),
    "NUL": (422, with_cell("name", b"a\x00b")),
    "not UTF-8": (422, with_cell("name", b"a\xffb")),
    "half a character": (422, with_cell("name", b"\xc3")),
    "a surrogate": (422, with_cell("name", b"\xed\xa0\x80")),
    "a text too long": (422, with_cell("name", b"x" * 41)),
    "no number": (422, with_cell("count", b"many")),
    "NaN": (422, with_cell("weight", b"NaN")),
    "a number too large": (422, with_cell("count", b"32768")),
    "a number with a thousand digits": (422, with_cell("seen", b"9" * 1000)),
    "nothing where a value has to be": (422, with_cell("price", b"")),
    "no truth value": (422, with_cell("is_new", b"yes")),
    "no such day": (422, with_cell("day", b"2023-02-29")),
    "a moment before the first year": (422, with_cell("built", b"0001-01-01T00:00:00+07:36")),
    "no such word": (422, with_cell("size", b"SMALL")),
    "no UUID": (422, with_cell("owner", b"me")),
    "no base64": (422, with_cell("picture", b"#")),
    "a line too long": (413, with_cell("about", b"x" * (LARGEST_LINE + 1))),
    "a record too long": (422, with_cell("about", b'"' + b"x\n" * (LARGEST_LINE // 2) + b'"')),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@examples(3)
@given(data=st.data(), file=csv_files(), piece=st.sampled_from([0, 1000]))
def test_a_mistake_in_a_csv_file_is_named_and_nothing_is_written(
    api: Things, mistake: str, data: st.DataObject, file: CsvFile, piece: int
) -> None:
    """The line is that at which the record begins, however many lines the records before it have."""
    number = data.draw(st.integers(0, len(file.records) - 1))
    status, change = MISTAKES[mistake]
    wrong = change(file, number)
    answer = api.send(wrong.content(), CSV, piece)
    assert answer.status_code == status, answer.text
    line = wrong.content(wrong.lines()[: number + 1]).rstrip(b"\r\n").count(b"\n") + 2
    assert answer.json()["detail"].startswith(f"line {line}: "), answer.text
    assert {tuple(error["loc"][:2]) for error in answer.json()["errors"]} == {("body", line)}
    assert api.total() == 0


HEADERS: dict[str, tuple[int, Callable[[list[bytes]], list[bytes]]]] = {
    "an unknown column": (1, lambda names: [*names[:-1], b"colour"]),
    "a column twice": (1, lambda names: [*names[:-1], names[0]]),
    "a column without a name": (1, lambda names: [*names[:-1], b""]),
    "a column with an empty name": (1, lambda names: [*names[:-1], b'""']),
    "a column less": (2, lambda names: names[:-1]),
    "names apart by semicolons": (1, lambda names: [b";".join(names)]),
    "an open quote": (1, lambda names: [b'"' + names[0].strip(b'"'), *names[1:]]),
}


@pytest.mark.parametrize("mistake", HEADERS)
@examples(3)
@given(file=csv_files())
def test_a_mistake_in_the_first_line_is_named(api: Things, mistake: str, file: CsvFile) -> None:
    """What is wrong with the names is said of the first line, a cell without a name of its record."""
    line, change = HEADERS[mistake]
    answer = api.send(replace(file, header=change(file.header)).content(), CSV)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"][:2] == ["body", line], answer.text
    assert api.total() == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@examples(3)
@given(file=csv_files())
def test_another_encoding_is_refused(api: Things, file: CsvFile, encoding: str) -> None:
    """As far as it can be told: by the charset of the media type, else by what can be no UTF-8 or no name."""
    content = replace(file, start=b"").content().decode().encode(encoding)
    assert api.send(content, f"{CSV}; charset={encoding}").status_code == 415
    answer = api.send(content, CSV)
    assert answer.status_code == 422, answer.text
    assert api.total() == 0


@examples(20)
@given(data=st.data(), file=csv_files())
def test_a_record_that_is_there_already_is_named(api: Things, data: st.DataObject, file: CsvFile) -> None:
    """The database finds it after the whole batch was sent, and the line is known all the same."""
    things = [dict(thing) for thing in file.things] * 2
    first, second = sorted(data.draw(st.lists(st.integers(0, len(things) - 1), min_size=2, max_size=2, unique=True)))
    lines = [json.dumps({**thing, "code": f"c{number}"}) for number, thing in enumerate(things)]
    lines[second] = json.dumps({**things[second], "code": f"c{first}"})
    answer = api.send("\n".join(lines).encode(), NDJSON)
    assert answer.status_code == 409, answer.text
    assert answer.json()["errors"] == [
        {"loc": ["body", second + 1, "code"], "msg": "Another record has this value", "type": "unique"}
    ]
    assert api.total() == 0


LINES: dict[str, tuple[int, bytes]] = {
    "no JSON": (422, b"{"),
    "two records": (422, b"{} {}"),
    "a list": (422, b"[]"),
    "null": (422, b"null"),
    "a name twice the size of a line": (413, b'{"' + b"x" * LARGEST_LINE * 2 + b'": 1}'),
    "deep": (422, b"[" * 50_000),
    "not UTF-8": (422, b'{"name": "\xff"}'),
    "half a surrogate": (422, b'{"name": "\\ud800", "price": 1}'),
    "NUL": (422, b'{"name": "\\u0000", "price": 1}'),
    "a raw NUL": (422, b'{"name": "\x00", "price": 1}'),
    "an unknown name": (422, b'{"name": "a", "price": 1, "colour": "red"}'),
    "a large exponent": (422, b'{"name": "a", "price": 1e400}'),
    "Infinity": (422, b'{"name": "a", "price": 1, "weight": Infinity}'),
}


@pytest.mark.parametrize("mistake", LINES)
@examples(3)
@given(data=st.data(), records=things(), piece=st.sampled_from([0, 100_000]))
def test_a_mistake_in_an_ndjson_file_is_named_and_nothing_is_written(
    api: Things, mistake: str, data: st.DataObject, records: list[dict[str, object]], piece: int
) -> None:
    """The line is counted with those that are empty."""
    status, wrong = LINES[mistake]
    lines = [json.dumps(record).encode() for record in records]
    number = data.draw(st.integers(0, len(lines)))
    answer = api.send(b"\n\n".join([*lines[:number], wrong, *lines[number:]]), NDJSON, piece)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["loc"][:2] == ["body", 2 * number + 1], answer.text
    assert api.total() == 0


PARTS = [
    b'"', b",", b"\n", b"\r\n", b"\r", b"\x00", b"\xef\xbb\xbf", b"\xff", b"'", b"=", b"a", b"1", b"1.50", b" ", b"{",
    b"}", b"[",
    b'"name":"a"', b'"price":1', b'{"name":"a","price":1}\n', b"a,1\n", b'"a",1\r\n', b"name", b"price", b"count",
]  # fmt: skip


@examples(150)
@given(
    content=st.lists(st.sampled_from(PARTS), max_size=30).map(b"".join) | st.binary(max_size=100),
    start=st.sampled_from([b"", b"name,price\n", b'\xef\xbb\xbf"price","name"\r\n', b"name,price,count\n"]),
    media_type=st.sampled_from([CSV, NDJSON, "application/jsonl", f"{CSV}; charset=utf-8", f"{CSV}; header=absent"]),
)
def test_whatever_is_sent_is_stored_whole_or_not_at_all(
    api: Things, content: bytes, start: bytes, media_type: str
) -> None:
    """Never a 5xx: what is accepted is there, record for record, and what is refused left nothing."""
    answer = api.send(start + content, media_type)
    assert answer.status_code in {200, 400, 413, 422}, answer.text
    assert api.total() == (answer.json()["written"] if answer.status_code == 200 else 0)
