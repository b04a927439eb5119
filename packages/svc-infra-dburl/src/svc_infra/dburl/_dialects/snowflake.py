"""Snowflake: its parameters stay in the URL, where its dialect reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules, connect_timeout
from svc_infra.dburl._environment import Environment
from svc_infra.dburl.errors import InvalidUrl

__all__ = ["RULES"]


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Keep all: warehouse, role and the session parameters, which the connector knows."""
    return given


def complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Take the login timeout from DB_CONNECT_TIMEOUT if it is set; the connector's own is 60 seconds.

    Raises:
        InvalidUrl: The URL names no account.
    """
    if not parsed.hosts and "account" not in parsed.options:
        raise InvalidUrl(
            place, "names no account", "Write snowflake://user:password@account/database/schema?warehouse=name"
        )
    if "login_timeout" not in parsed.options and environment.get("DB_CONNECT_TIMEOUT") is not None:
        parsed.options["login_timeout"] = connect_timeout(environment)


def _to_snowflake(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {
        name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS and name != "login_timeout"
    }
    timeout = parsed.options.get("login_timeout")
    return query, {"login_timeout": int(timeout)} if timeout is not None and timeout.isdecimal() else {}


RULES = Rules(normalise, complete, {"": _to_snowflake})
