"""The cases and who takes part in them; the modules of the contenders fill the table when they are imported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

Call = Callable[[Any, int], Awaitable[object]]
Ground = Literal["session", "driver", "piccolo"]
Role = Literal["hand", "ours", "peer", "floor"]

ORDER = (
    "get", "list 50", "total", "create", "update", "delete", "deep page", "deep, all", "1,000 returned", "1,000 sent",
)  # fmt: skip
"""The cases in order; each but the last four also as `... rows`, which build no objects."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do what a case asks for.

    Attributes:
        name: How it is printed.
        call: Does it once, given what its ground opened and the number of a row.
        ground: What it runs on: a SQLAlchemy session, a connection of the driver, or a transaction of Piccolo.
        role: Hand-written code is what the others are divided by; a peer must not be faster than ours; the floor is
            there to be seen.
        limit: What the ratio must not exceed, or None.
    """

    name: str
    call: Call
    ground: Ground
    role: Role
    limit: float | None


@dataclass
class Deep:
    """Where the deep page begins."""

    depth: int = 0
    cursor: str | None = None
    place: tuple[Any, int] | None = None


deep = Deep()
CASES: dict[str, list[Contender]] = {}


def contender(
    case: str, name: str, role: Role, *, limit: float | None = None, ground: Ground = "session"
) -> Callable[[Call], Call]:
    """Register a contender of a case."""

    def register(call: Call) -> Call:
        CASES.setdefault(case, []).append(Contender(name, call, ground, role, limit))
        return call

    return register


def place_of(case: str) -> tuple[int, bool]:
    """Sort key of a case: objects before rows."""
    name = case.removesuffix(" rows")
    return ORDER.index(name), name != case


def calls_of(case: str) -> int:
    """How many calls make one measurement: fewer of what is slow."""
    if case.startswith("1,000"):
        return 1
    return 5 if case.startswith(("deep", "total")) else 20
