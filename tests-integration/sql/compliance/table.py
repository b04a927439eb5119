"""The table of capabilities for the manual, made of the data that the compliance suite proves.

`python -m sql.compliance.table FILE` (with tests-integration in the path) puts it into FILE between its two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sql.compliance.capabilities import CAPABILITIES, TARGETS, missing

__all__ = ["BEGIN", "END", "insert_table", "lines"]

BEGIN = "<!-- made by tests-integration/sql/compliance/table.py: begin -->"
END = "<!-- made by tests-integration/sql/compliance/table.py: end -->"


def lines() -> Iterator[str]:
    """Yield the table's lines as Markdown, with the reasons of what is missing below it."""
    databases = {target.database: target for target in TARGETS}
    notes: list[str] = []
    yield "| | " + " | ".join(databases) + " |"
    yield "|---|" + "---|" * len(databases)
    drivers = [", ".join(target.driver for target in TARGETS if target.database == name) for name in databases]
    yield "| Drivers | " + " | ".join(drivers) + " |"
    for capability, title in CAPABILITIES.items():
        cells = []
        for target in databases.values():
            reason = missing(target, capability)
            if reason is None:
                cells.append("yes")
                continue
            if reason not in notes:
                notes.append(reason)
            cells.append(f"no ({notes.index(reason) + 1})")
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""
    for number, reason in enumerate(notes, 1):
        yield f"{number}. {reason[0].upper()}{reason[1:]}."


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
