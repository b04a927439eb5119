"""PostgreSQL: the parameters of libpq, of the drivers and of the platforms' URLs, and how each driver takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.options import POOL_OPTIONS, flag, integer, one_of, put, seconds, unknown_option
from svc_infra.dburl._environment import Environment
from svc_infra.dburl.errors import ConflictingOptions
from svc_infra.dburl.pooler import pooler_of
from svc_infra.dburl.tls import TlsContext, Verification

__all__ = ["TRANSLATORS", "complete", "normalise"]

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""From the weakest to the strongest (https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION)."""

# Taken by libpq, so psycopg and psycopg2 get them as they are.
_LIBPQ = frozenset(
    "application_name channel_binding client_encoding fallback_application_name gssdelegation gssencmode gsslib hostaddr "
    "keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname krbspn load_balance_hosts "
    "max_protocol_version min_protocol_version options passfile replication require_auth requirepeer requiressl scram_client_key scram_server_key "
    "service servicefile ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey "
    "sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni target_session_attrs tcp_user_timeout".split()
)
_TLS = frozenset(
    "sslmode sslrootcert sslcert sslkey sslpassword sslcrl sslnegotiation ssl_min_protocol_version ssl_max_protocol_version".split()
)
# Arguments of asyncpg.connect() and of SQLAlchemy's asyncpg dialect.
_ASYNCPG_QUERY = frozenset(
    {"target_session_attrs", "passfile", "krbsrvname", "gsslib", "command_timeout", "prepared_statement_cache_size"}
)
_ASYNCPG_INTEGER = frozenset({"statement_cache_size", "max_cached_statement_lifetime", "max_cacheable_statement_size"})
_PSYCOPG_OWN = frozenset({"prepare_threshold", "autocommit"})
# Settings of the server that a client may send at the start of a session, as server_settings or options=-c.
_SERVER_SETTINGS = frozenset(
    "bytea_output datestyle default_transaction_isolation default_transaction_read_only extra_float_digits "
    "idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit lock_timeout role search_path statement_timeout "
    "synchronous_commit timezone transaction_timeout work_mem".split()
)
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
_NOISE = frozenset(
    "supa uselibpqcompat workaround prepared_statements statement_limit advisory_locks reaping_frequency checkout_timeout "
    "idle_timeout variables min_messages conn_max_age conn_health_checks atomic_requests socket_timeout sockettimeout "
    "binary_parameters binarytransfer preparethreshold preparedstatementcachequeries preparedstatementcachesizemib defaultrowfetchsize tcpkeepalive "
    "rewritebatchedinserts stringtype loggerlevel loglevel sslfactory sslhostnameverifier readonly allowencodingchanges "
    "autosave prefer_simple_protocol default_query_exec_mode statement_cache_capacity pool_max_conns pool_min_conns "
    "pool_max_conn_lifetime pool_max_conn_idle_time pool_health_check_period sslidentity connection_limit_idle "
    "unknownlength hidenonprivilegedtables loadbalancehosts hostrecheckseconds cancelsignaltimeout async_fallback sslresponsetimeout".split()
)
_POOLER_FLAGS = frozenset({"pgbouncer"})
_KNOWN = (
    _LIBPQ
    | _ASYNCPG_QUERY
    | _ASYNCPG_INTEGER
    | _PSYCOPG_OWN
    | _SERVER_SETTINGS
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
        elif "." in key:
            options[name] = value
        elif key in _NOISE:
            notes.append(f"{name}: dropped, means nothing to a Python driver")
        else:
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


def _ssl_mode(name: str, value: str, place: str) -> str:
    mode = value.strip().lower().replace("_", "-")
    return "require" if mode == "no-verify" else one_of(name, mode, SSL_MODES, place)


_CONVERT: dict[str, Callable[[str, str, str], str]] = {
    "sslmode": _ssl_mode,
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
    "target_session_attrs": lambda name, value, place: _TARGET_SERVER_TYPES.get(value.lower(), value),
}


def complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Fill in the defaults that depend on the environment: TLS mode, connect timeout, pooler.

    ``sslmode``: DB_SSLMODE_DEFAULT, else libpq's own PGSSLMODE, else require; nothing over a Unix socket, where libpq
    ignores it. ``connect_timeout``: DB_CONNECT_TIMEOUT, else 10 seconds.

    Raises:
        InvalidOption: One of the variables has a value that it can't have.
        ConflictingOptions: A certificate is asked for that the mode would not check.
    """
    options = parsed.options
    if "sslrootcert" in options or "sslnegotiation" in options:
        _check_tls(options, place)
    if "sslmode" not in options and parsed.socket is None:
        for variable in ("DB_SSLMODE_DEFAULT", "PGSSLMODE"):
            mode = environment.get(variable)
            if mode is not None:
                options["sslmode"] = _ssl_mode(variable, mode, environment.place(variable))
                break
        else:
            options["sslmode"] = "require"
    if options.get("sslmode", "")[:6] == "verify" and "sslrootcert" not in options:
        root = _default_root_certificate(environment, options["sslmode"])
        if root is not None:
            options["sslrootcert"] = root
    if "connect_timeout" not in options:
        options["connect_timeout"] = connect_timeout(environment)
    if parsed.hosts and "pgbouncer" not in options:
        pooler = pooler_of(parsed.hosts)
        if pooler is not None and not pooler.keeps_statements:
            options["pgbouncer"] = "true"


def connect_timeout(environment: Environment) -> str:
    """DB_CONNECT_TIMEOUT in seconds, 10 when it is unset."""
    value = environment.get("DB_CONNECT_TIMEOUT")
    if value is None:
        return "10"
    return str(seconds("DB_CONNECT_TIMEOUT", value, environment.place("DB_CONNECT_TIMEOUT"), at_least=1))


def _check_tls(options: dict[str, str], place: str) -> None:
    mode = options.get("sslmode")
    if options.get("sslrootcert") == "system":
        if mode is None:
            options["sslmode"] = "verify-full"
        elif mode != "verify-full":
            # As libpq does since 16: anyone can get a certificate that the system trusts.
            raise ConflictingOptions(
                place,
                f"sslrootcert=system contradicts sslmode={mode}, which does not check the host name",
                "Use sslmode=verify-full",
            )
    if options.get("sslnegotiation") == "direct" and mode in {"disable", "allow", "prefer"}:
        raise ConflictingOptions(
            place, f"sslnegotiation=direct contradicts sslmode={mode}", "Use sslmode=require or stronger"
        )


def _default_root_certificate(environment: Environment, mode: str) -> str | None:
    named = environment.get("PGSSLROOTCERT")
    if named is not None:
        return named
    home = environment.get("HOME")
    if home is not None:
        path = Path(home, ".postgresql", "root.crt")
        if path.is_file():
            return str(path)
    return "system" if mode == "verify-full" else None


def _to_asyncpg(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query: dict[str, str | tuple[str, ...]] = {}
    arguments: dict[str, object] = {}
    settings: dict[str, str] = {}
    options = parsed.options
    if parsed.socket is None:
        arguments["ssl"] = _asyncpg_ssl(options)
    for name, value in options.items():
        if name in _TLS:
            if name == "sslnegotiation" and value == "direct":
                arguments["direct_tls"] = True
        elif name == "connect_timeout":
            # 0 is no limit for libpq.
            arguments["timeout"] = int(value) or None
        elif name in _ASYNCPG_INTEGER:
            arguments[name] = int(value)
        elif name in _ASYNCPG_QUERY:
            query[name] = value
        elif name in {"application_name", "fallback_application_name"}:
            settings.setdefault("application_name", value)
        elif name == "options" or name in _SERVER_SETTINGS or "." in name:
            if name != "search_path" or value != "public":
                settings[name] = value
        elif name == "service":
            # SQLAlchemy's dialect passes the keyword on and asyncpg ignores it; inside a DSN it is heeded.
            arguments["dsn"] = f"postgresql://?service={quote(value, safe='')}"
        elif name != "pgbouncer" and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, asyncpg has no such parameter")
    if options.get("pgbouncer") == "true":
        # Without a cache, asyncpg >= 0.31 prepares under no name, so that a transaction pooler may change the server
        # connection between transactions. Naming statements by a function instead fails in autocommit.
        arguments.setdefault("statement_cache_size", 0)
        if "prepared_statement_cache_size" not in query:
            arguments["prepared_statement_cache_size"] = 0
    if settings:
        arguments["server_settings"] = settings
    return query, arguments


def _asyncpg_ssl(options: dict[str, str]) -> str | TlsContext:
    mode = options["sslmode"]
    if len(options) > 2 and (options.keys() & _CONTEXT_OPTIONS) and mode not in {"disable", "allow", "prefer"}:
        return tls_context(options)
    return mode


_CONTEXT_OPTIONS = _TLS - {"sslmode", "sslnegotiation"}


def tls_context(options: dict[str, str]) -> TlsContext:
    """The context for a mode that always encrypts: require or stronger."""
    mode = options["sslmode"]
    root = options.get("sslrootcert")
    verify: Verification = (
        "full" if mode == "verify-full" else "ca" if mode == "verify-ca" or root is not None else "none"
    )
    context = TlsContext(
        verify,
        cafile=None if root == "system" else root,
        certfile=options.get("sslcert"),
        keyfile=options.get("sslkey"),
        key_password=options.get("sslpassword"),
        crlfile=options.get("sslcrl"),
    )
    return context


def _to_libpq(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query: dict[str, str | tuple[str, ...]] = {}
    arguments: dict[str, object] = {}
    settings: list[str] = []
    for name, value in parsed.options.items():
        if name in _LIBPQ:
            query[name] = value
        elif name == "connect_timeout":
            arguments[name] = int(value)
        elif name in _SERVER_SETTINGS or "." in name:
            if name != "search_path" or value != "public":
                settings.append(f"-c {name}={_escape_setting(value)}")
        elif name == "autocommit":
            # Any text is true to the driver, "false" too.
            arguments[name] = value == "true"
        elif name not in {"pgbouncer", "prepare_threshold"} and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, only asyncpg has it")
    if settings:
        query["options"] = " ".join([*([parsed.options["options"]] if "options" in parsed.options else []), *settings])
    return query, arguments


def _escape_setting(value: str) -> str:
    # https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _to_psycopg(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query, arguments = _to_libpq(parsed, notes)
    threshold = parsed.options.get("prepare_threshold")
    if threshold is not None:
        arguments["prepare_threshold"] = None if threshold == "none" else int(threshold)
    elif parsed.options.get("pgbouncer") == "true":
        arguments["prepare_threshold"] = None
    return query, arguments


def _to_pg8000(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query: dict[str, str | tuple[str, ...]] = {}
    arguments: dict[str, object] = {}
    options = parsed.options
    mode = options.get("sslmode")
    if mode in {"disable", "allow"}:
        arguments["ssl_context"] = False
    elif mode is not None and mode != "prefer":
        arguments["ssl_context"] = tls_context(options)
    for name, value in options.items():
        if name == "connect_timeout":
            arguments["timeout"] = int(value) or None
        elif name == "application_name":
            arguments[name] = value
        elif name not in _TLS and name != "pgbouncer" and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, pg8000 has no such parameter")
    return query, arguments


TRANSLATORS = {
    "asyncpg": _to_asyncpg,
    "psycopg": _to_psycopg,
    "psycopg2": _to_libpq,
    "psycopg2cffi": _to_libpq,
    "pg8000": _to_pg8000,
}
"""How each driver takes the options: the query that stays in the URL, and the arguments of `connect()`."""
