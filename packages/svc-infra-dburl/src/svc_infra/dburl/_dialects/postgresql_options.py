"""PostgreSQL: the parameters of libpq, of the drivers and of the platforms' URLs, under one name each."""

from __future__ import annotations

import re
from collections.abc import Callable

from svc_infra.dburl._dialects.reading import (
    PARTS_IN_QUERY,
    POOL_OPTIONS,
    flag,
    integer,
    is_behind_secret,
    one_of,
    put,
    seconds,
    unknown_option,
)
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import ConflictingOptions

__all__ = ["ASYNCPG_INTEGER", "ASYNCPG_QUERY", "LIBPQ", "SERVER_SETTINGS", "SSL_MODES", "TLS", "normalise", "ssl_mode"]

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""From the weakest to the strongest (https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION)."""

# Taken by libpq, so psycopg and psycopg2 get them as they are.
LIBPQ = words(
    "application_name channel_binding client_encoding fallback_application_name gssdelegation gssencmode gsslib "
    "hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname krbspn load_balance_hosts "
    "max_protocol_version min_protocol_version options passfile replication require_auth requirepeer requiressl "
    "scram_client_key scram_server_key service servicefile ssl_max_protocol_version ssl_min_protocol_version sslcert "
    "sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert "
    "sslsni target_session_attrs tcp_user_timeout"
)
TLS = words(
    "sslmode sslrootcert sslcert sslkey sslpassword sslcrl sslnegotiation ssl_min_protocol_version "
    "ssl_max_protocol_version"
)
# Arguments of asyncpg.connect() and of SQLAlchemy's asyncpg dialect.
ASYNCPG_QUERY = words("target_session_attrs passfile krbsrvname gsslib command_timeout prepared_statement_cache_size")
ASYNCPG_INTEGER = frozenset({"statement_cache_size", "max_cached_statement_lifetime", "max_cacheable_statement_size"})
_PSYCOPG_OWN = frozenset({"prepare_threshold", "autocommit"})
# Settings of the server that a client may send at the start of a session, as server_settings or options=-c.
SERVER_SETTINGS = words(
    "bytea_output datestyle default_transaction_isolation default_transaction_read_only extra_float_digits "
    "idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit lock_timeout role search_path "
    "statement_timeout synchronous_commit timezone transaction_timeout work_mem"
)
# https://www.postgresql.org/docs/current/runtime-config-custom.html
_CUSTOM_SETTING = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)
_ALIASES = {
    "applicationname": "application_name",
    "app_name": "application_name",
    "connecttimeout": "connect_timeout",
    "currentschema": "search_path",
    "currentschemas": "search_path",
    "encoding": "client_encoding",
    "charset": "client_encoding",
    "clientencoding": "client_encoding",
    "fallbackapplicationname": "fallback_application_name",
    "gssencmode": "gssencmode",
    "channelbinding": "channel_binding",
    "logintimeout": "connect_timeout",
    "schema": "search_path",
    "searchpath": "search_path",
    "ssl_mode": "sslmode",
    "ssl_cert": "sslcert",
    "ssl_key": "sslkey",
    "ssl_password": "sslpassword",
    "ssl_root_cert": "sslrootcert",
    "ssl_ca": "sslrootcert",
    "sslca": "sslrootcert",
    "targetservertype": "target_session_attrs",
    "timeout": "connect_timeout",
    "time_zone": "timezone",
    "transaction_read_only": "default_transaction_read_only",
}
# What other languages' clients and platforms put into their URLs and no Python driver needs.
_NOISE = words(
    "supa uselibpqcompat workaround prepared_statements statement_limit advisory_locks reaping_frequency "
    "checkout_timeout idle_timeout variables min_messages conn_max_age conn_health_checks atomic_requests "
    "socket_timeout sockettimeout binary_parameters binarytransfer preparethreshold preparedstatementcachequeries "
    "preparedstatementcachesizemib defaultrowfetchsize tcpkeepalive rewritebatchedinserts stringtype loggerlevel "
    "loglevel sslfactory sslhostnameverifier readonly allowencodingchanges autosave prefer_simple_protocol "
    "default_query_exec_mode statement_cache_capacity pool_max_conns pool_min_conns pool_max_conn_lifetime "
    "pool_max_conn_idle_time pool_health_check_period sslidentity connection_limit_idle unknownlength "
    "hidenonprivilegedtables loadbalancehosts hostrecheckseconds cancelsignaltimeout async_fallback "
    "sslresponsetimeout"
)
_POOLER_FLAGS = frozenset({"pgbouncer"})
_KNOWN = (
    LIBPQ
    | ASYNCPG_QUERY
    | ASYNCPG_INTEGER
    | _PSYCOPG_OWN
    | SERVER_SETTINGS
    | _POOLER_FLAGS
    | POOL_OPTIONS
    | {"connect_timeout"}
)
_TARGET_SERVER_TYPES = {
    "any": "any", "primary": "primary", "master": "primary", "secondary": "standby", "slave": "standby",
    "prefersecondary": "prefer-standby", "preferslave": "prefer-standby",
}  # fmt: skip


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Bring the parameters under the names and values of libpq and the drivers.

    Raises:
        InvalidOption: One is unknown or has a value that it can't have.
        ConflictingOptions: Two contradict each other.
    """
    options: dict[str, str] = {}
    ssl: str | None = None
    for name, value in given.items():
        key = name
        if key not in _KNOWN:
            key = name.lower().replace("-", "_")
            key = _ALIASES.get(key, key)
        if key in _KNOWN:
            put(options, key, _CONVERT[key](key, value, place) if key in _CONVERT else value, place)
        elif key in {"ssl", "use_ssl", "usessl", "requiressl"}:
            ssl = value
        elif key == "sslaccept":
            put(options, "sslmode", "verify-full" if value.lower() == "strict" else "require", place)
        elif key in {"connection_limit", "pool"}:
            put(options, "pool_size", str(integer(name, value, place, at_least=1)), place)
        elif _CUSTOM_SETTING.fullmatch(name) and not is_behind_secret(name, given):
            options[name] = value
        elif key in _NOISE:
            notes.append(f"{name}: dropped, means nothing to a Python driver")
        elif key not in PARTS_IN_QUERY:
            unknown_option(name, given, _KNOWN | _ALIASES.keys(), place)
    if ssl is not None:
        _apply_ssl(options, ssl, place)
    return options


def _apply_ssl(options: dict[str, str], value: str, place: str) -> None:
    lowered = value.strip().lower()
    if lowered in SSL_MODES or lowered == "no-verify":
        mode = "require" if lowered == "no-verify" else lowered
        put(options, "sslmode", mode, place)
        return
    given = options.get("sslmode")
    if flag("ssl", value, place):
        if given in {"disable", "allow", "prefer"}:
            raise ConflictingOptions(place, f"ssl=true contradicts sslmode={given}", "Keep sslmode and remove ssl")
        if given is None and options.get("sslrootcert") != "system":
            options["sslmode"] = "require"
    else:
        if given not in {None, "disable"}:
            raise ConflictingOptions(place, f"ssl=false contradicts sslmode={given}", "Keep sslmode and remove ssl")
        options["sslmode"] = "disable"


def ssl_mode(name: str, value: str, place: str) -> str:
    mode = value.strip().lower().replace("_", "-")
    return "require" if mode == "no-verify" else one_of(name, mode, SSL_MODES, place)


_CONVERT: dict[str, Callable[[str, str, str], str]] = {
    "sslmode": ssl_mode,
    "connect_timeout": lambda name, value, place: str(seconds(name, value, place)),
    "pgbouncer": lambda name, value, place: "true" if flag(name, value, place) else "false",
    "autocommit": lambda name, value, place: "true" if flag(name, value, place) else "false",
    "sslnegotiation": lambda name, value, place: one_of(name, value, ("postgres", "direct"), place),
    "statement_cache_size": lambda name, value, place: str(integer(name, value, place)),
    "prepared_statement_cache_size": lambda name, value, place: str(integer(name, value, place)),
    "max_cached_statement_lifetime": lambda name, value, place: str(integer(name, value, place)),
    "max_cacheable_statement_size": lambda name, value, place: str(integer(name, value, place)),
    "prepare_threshold": lambda name, value, place: (
        "none" if value.strip().lower() == "none" else str(integer(name, value, place))
    ),
    "target_session_attrs": lambda _name, value, _place: _TARGET_SERVER_TYPES.get(value.lower(), value),
}
