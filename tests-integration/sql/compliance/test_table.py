"""The table of capabilities in the manual is the one that the suite proves."""

from __future__ import annotations

from pathlib import Path

from sql.compliance.capabilities import CAPABILITIES, MISSING, TARGETS
from sql.compliance.table import insert_table, lines

MANUAL = Path(__file__).parents[3] / "docs" / "capabilities.md"


def test_the_manual_shows_what_is_proved() -> None:
    """The manual's table is the present one; `python -m sql.compliance.table docs/capabilities.md` renews it."""
    text = MANUAL.read_text(encoding="utf-8")
    assert insert_table(text) == text


def test_every_missing_capability_is_one_of_a_known_database() -> None:
    """No entry of the data is dead."""
    known = {target.backend for target in TARGETS} | {str(target) for target in TARGETS}
    assert set(MISSING) <= known
    assert {name for reasons in MISSING.values() for name in reasons} <= set(CAPABILITIES)


def test_every_capability_has_a_line() -> None:
    """The table has a line per capability and a column per database."""
    table = list(lines())
    for title in CAPABILITIES.values():
        assert sum(line.startswith(f"| {title} |") for line in table) == 1
    assert {line.count("|") for line in table if line.startswith("|")} == {len({t.database for t in TARGETS}) + 2}
