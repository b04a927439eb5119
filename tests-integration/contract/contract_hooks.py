"""What Schemathesis can't read from an OpenAPI document, loaded by it through `schemathesis.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies

# A cursor is opaque: beside the empty one, which asks for the first page, only those that the API gave are valid.
schemathesis.openapi.format("cursor", strategies.just(""))

# What a CSV or NDJSON file may hold depends on the resource; the empty one is valid for each.
schemathesis.openapi.media_type("text/csv", strategies.sampled_from([b"", b"\r\n"]))
schemathesis.openapi.media_type("application/x-ndjson", strategies.sampled_from([b"", b"\n"]))


@schemathesis.hook
def map_case(_context: object, case: Any) -> Any:
    """Make a case that is meant to be valid so."""
    if not is_positive(case):
        return case
    if case.query and "cursor" in case.query:
        # OpenAPI has no way to say that two parameters exclude each other.
        case.query.pop("offset", None)
    if case.media_type == "text/csv":
        # OpenAPI has no words for what makes a text CSV.
        case.body = "\r\n"
    if case.headers and case.headers.get("If-Match") == "0":
        # Schemathesis 4.32 starts with this value for every header that has a pattern, whatever the pattern says.
        case.headers["If-Match"] = '"v1"'
    return case


@schemathesis.hook
def filter_case(_context: object, case: Any) -> bool:
    """Whether a case is what it is meant to be."""
    if case.media_type == "text/csv" and not is_positive(case):
        return False  # a text that is not meant to be one may be CSV all the same
    if is_positive(case):
        return names_each_record_once(case.body) and all(
            has_64_bits(value) and is_in_a_year(value) for value in scalars_in([case.body, case.query])
        )
    emptied = emptied_lists(case)
    # Without them it would still be meant to be invalid only if what was made so is another parameter.
    return not emptied or case.meta.phase.data.parameter not in {*emptied, None}


def is_positive(case: Any) -> bool:
    """Whether *case* keeps to the document."""
    return case.meta is None or bool(case.meta.generation.mode.is_positive)


def emptied_lists(case: Any) -> set[str]:
    """Return the lists in the query that arrive as `name=`.

    That is the text of a list that is empty, which is valid, and of one with an empty name, which is not.
    """
    lists = {each.name for each in case.operation.query if each.definition.get("schema", {}).get("type") == "array"}
    return {name for name, value in (case.query or {}).items() if name in lists and value in ("", [""], [])}


def names_each_record_once(body: object) -> bool:
    """Whether no two items of a bulk request name the same record, which JSON Schema can't ask of their ids alone."""
    if not isinstance(body, list) or not all(isinstance(item, Mapping) for item in body):
        return True
    keys = [(item.get("id"), item.get("row"), item.get("column"), item.get("code")) for item in body]
    named = [key for key in keys if any(part is not None for part in key)]
    # JSON has one kind of number and 1.0 is 1; the two cases of a hexadecimal digit are one UUID.
    return len({tuple(part.lower() if isinstance(part, str) else part for part in key) for key in named}) == len(named)


def has_64_bits(value: object) -> bool:
    """Whether an integer fits into 64 bits; Schemathesis compares with the limits as floating-point numbers."""
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def is_in_a_year(value: object) -> bool:
    """Whether a date and time with an offset is in the years 1 to 9999 of UTC, for which JSON Schema has no word."""
    try:
        if isinstance(value, str):
            datetime.fromisoformat(value).astimezone(UTC)
    except OverflowError:
        return False
    except ValueError:
        pass  # no date
    return True


def scalars_in(value: object) -> Iterator[object]:
    """Yield every number, text and so on in a JSON value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from scalars_in(each)
    else:
        yield value
