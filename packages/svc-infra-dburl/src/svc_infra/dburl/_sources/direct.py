"""First source: variables that hold a URL."""

from __future__ import annotations

from svc_infra.dburl._environment import Environment
from svc_infra.dburl._sources.finding import DIRECT_VARIABLES, Finding, Look, parse_text

__all__ = ["find"]


def find(environment: Environment, looks: list[Look]) -> Finding | None:
    """The URL of the first direct variable that is set and not blank."""
    for name in DIRECT_VARIABLES:
        text = environment.get(name)
        if text is not None:
            place = environment.place(name)
            looks.append(Look(place, "a URL"))
            return Finding(parse_text(text, place, environment), place)
        looks.append(Look(name, "not set"))
    return None
