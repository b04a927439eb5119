"""DuckDB: its settings stay in the URL, where its dialect reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules
from svc_infra.dburl._environment import Environment

__all__ = ["RULES"]


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Keep all: DuckDB's settings come from its extensions too, and it refuses an unknown one by itself."""
    return given


def complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Nothing: a file needs neither TLS nor a connect timeout."""


def _to_duckdb(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    return {name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS}, {}


RULES = Rules(normalise, complete, {"": _to_duckdb})
