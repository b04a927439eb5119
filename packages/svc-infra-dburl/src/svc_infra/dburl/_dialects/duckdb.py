"""DuckDB: its settings stay in the URL, where its dialect reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules, refuse_tail
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._words import words

__all__ = ["RULES"]


# What stands beside a token of MotherDuck; DuckDB's own settings are many, and its extensions bring more.
_KNOWN = POOL_OPTIONS | words(
    "access_mode attach_mode custom_user_agent dbinstance_inactivity_ttl max_memory memory_limit motherduck_host "
    "motherduck_token saas_mode schema session_hint session_name temp_directory threads user user_agent"
)


def _normalise(given: dict[str, str], place: str, _notes: list[str]) -> dict[str, str]:
    """Keep all: DuckDB refuses an unknown one by itself."""
    refuse_tail(given, _KNOWN, place)
    return given


def _complete(_parsed: ParsedUrl, _environment: Environment, _place: str) -> None:
    """Nothing: a file needs neither TLS nor a connect timeout."""


def _to_duckdb(parsed: ParsedUrl, _notes: list[str]) -> tuple[Query, Arguments]:
    return {name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS}, {}


RULES = Rules(_normalise, _complete, {"": _to_duckdb})
