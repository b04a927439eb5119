"""The table of capabilities for the manual, made of the data that the compliance suite proves.

`python -m sql.compliance.table FILE` (with tests-integration in the path) puts it into FILE between its two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sql.compliance.capabilities import CAPABILITIES, TARGETS, Target, missing

__all__ = ["BEGIN", "END", "insert_table", "lines"]

BEGIN = "<!-- made by tests-integration/sql/compliance/table.py: begin -->"
END = "<!-- made by tests-integration/sql/compliance/table.py: end -->"


def lines() -> Iterator[str]:
    """Yield the table's lines as Markdown, with the reasons of what is missing below it."""
    databases: dict[str, list[Target]] = {}
    for target in TARGETS:
        databases.setdefault(target.database, []).append(target)
    notes: list[str] = []
    yield "| | " + " | ".join(databases) + " |"
    yield "|---|" + "---|" * len(databases)
    yield "| Drivers | " + " | ".join(", ".join(one.driver for one in targets) for targets in databases.values()) + " |"
    for capability, title in CAPABILITIES.items():
        cells = []
        for targets in databases.values():
            reasons = {target.driver: missing(target, capability) for target in targets}
            lacking = {driver: reason for driver, reason in reasons.items() if reason is not None}
            notes += [reason for reason in dict.fromkeys(lacking.values()) if reason not in notes]
            marks = [f"no ({notes.index(reason) + 1})" for reason in dict.fromkeys(lacking.values())]
            partly = f"yes, {' and '.join(lacking)} " if lacking and len(lacking) < len(targets) else ""
            cells.append(partly + ", ".join(marks) if lacking else "yes")
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""
    for number, reason in enumerate(notes, 1):
        yield f"{number}. {reason[0].upper()}{reason[1:]}."
    yield ""
    yield "PostgreSQL, MySQL and MariaDB, SQLite and DuckDB are proved in every run; SQL Server and Snowflake are what"
    yield "the suite expects of them, proved in runs that are given a server (`TEST_MSSQL_URL`, `TEST_SNOWFLAKE_URL`)."


def insert_table(text: str) -> str:
    """Return `text` with the table between its two markers.

    Raises:
        ValueError: When there are no markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"there is no place for the table; put these two lines there:\n{BEGIN}\n{END}")
    return "\n".join([before + BEGIN, "", *lines(), "", END + after])


def main(arguments: list[str]) -> int:
    """Write the table to stdout, or into the file that is named."""
    if not arguments:
        sys.stdout.write("\n".join(lines()) + "\n")
        return 0
    path = Path(arguments[0])
    path.write_text(insert_table(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
