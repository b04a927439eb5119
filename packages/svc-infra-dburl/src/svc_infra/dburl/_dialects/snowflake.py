"""Snowflake: its parameters stay in the URL, where its dialect reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules, connect_timeout, refuse_tail
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import InvalidUrl

__all__ = ["RULES"]


_TAKEN = words("user username uid password pwd")
# What stands beside a password or token; the connector has some hundred parameters more.
_KNOWN = POOL_OPTIONS | words(
    "account application authenticator autocommit cache_column_metadata case_sensitive_identifiers "
    "client_session_keep_alive database host insecure_mode login_timeout network_timeout oauth_client_id "
    "oauth_client_secret ocsp_fail_open passcode passcode_in_password password port private_key private_key_file "
    "private_key_file_pwd private_key_passphrase protocol region role schema timezone token user username warehouse "
    "workload_identity_provider"
)


def _normalise(given: dict[str, str], place: str, _notes: list[str]) -> dict[str, str]:
    """Keep all: warehouse, role and the session parameters, which the connector knows."""
    refuse_tail(given, _KNOWN, place)
    return {name: value for name, value in given.items() if name.lower() not in _TAKEN}


def _complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
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


def _to_snowflake(parsed: ParsedUrl, _notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {
        name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS and name != "login_timeout"
    }
    timeout = parsed.options.get("login_timeout")
    return query, {"login_timeout": int(timeout)} if timeout is not None and timeout.isdecimal() else {}


RULES = Rules(_normalise, _complete, {"": _to_snowflake})
