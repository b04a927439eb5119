"""DuckDB: its settings stay in the URL, where its dialect reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.options import POOL_OPTIONS
from svc_infra.dburl._environment import Environment

__all__ = ["TRANSLATORS", "complete", "normalise"]


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Keep all: DuckDB's settings come from its extensions too, and it refuses an unknown one by itself."""
    return given


def complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Nothing: a file needs neither TLS nor a connect timeout."""


def _to_duckdb(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    return {name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS}, {}


TRANSLATORS = {"": _to_duckdb}
"""How each driver takes the options: the query that stays in the URL, and the arguments of `connect()`."""
