"""PostgreSQL: the defaults, and how each driver takes the parameters."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.postgresql_options import (
    ASYNCPG_INTEGER,
    ASYNCPG_QUERY,
    LIBPQ,
    SERVER_SETTINGS,
    TLS,
    normalise,
    ssl_mode,
)
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules, connect_timeout
from svc_infra.dburl._environment import Environment
from svc_infra.dburl.errors import ConflictingOptions
from svc_infra.dburl.pooler import pooler_of
from svc_infra.dburl.tls import TlsContext, Verification

__all__ = ["RULES", "tls_context"]

_WEAK_MODES = frozenset({"disable", "allow", "prefer"})


def _complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Fill in the defaults that depend on the environment: TLS mode, connect timeout, pooler.

    ``sslmode``: DB_SSLMODE_DEFAULT, else libpq's own PGSSLMODE, else require; nothing over a Unix socket, where libpq
    ignores it. ``connect_timeout``: DB_CONNECT_TIMEOUT, else 10 seconds.

    Raises:
        InvalidOption: One of the variables has a value that it can't have.
        ConflictingOptions: A certificate is asked for that the mode would not check.
    """
    options = parsed.options
    if "sslmode" not in options and parsed.socket is None:
        options["sslmode"] = _default_mode(options, environment)
    if "sslrootcert" in options or "sslnegotiation" in options:
        _check_tls(options, place)
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


def _default_mode(options: dict[str, str], environment: Environment) -> str:
    if options.get("sslrootcert") == "system":
        # As in libpq since 16.
        return "verify-full"
    for variable in ("DB_SSLMODE_DEFAULT", "PGSSLMODE"):
        given = environment.get(variable)
        if given is not None:
            mode = ssl_mode(variable, given, environment.place(variable))
            break
    else:
        return "require"
    return "require" if mode in _WEAK_MODES and options.get("sslnegotiation") == "direct" else mode


def _check_tls(options: dict[str, str], place: str) -> None:
    mode = options.get("sslmode", "require")
    if options.get("sslrootcert") == "system" and mode != "verify-full":
        # As libpq does since 16: anyone can get a certificate that the system trusts.
        raise ConflictingOptions(
            place,
            f"sslrootcert=system contradicts sslmode={mode}, which does not check the host name",
            "Use sslmode=verify-full",
        )
    if options.get("sslnegotiation") == "direct" and mode in _WEAK_MODES:
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


def _to_asyncpg(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {}
    arguments: Arguments = {}
    settings: dict[str, str] = {}
    options = parsed.options
    if parsed.socket is None:
        arguments["ssl"] = _asyncpg_ssl(options)
    for name, value in options.items():
        if name in TLS:
            if name == "sslnegotiation" and value == "direct":
                arguments["direct_tls"] = True
        elif name == "connect_timeout":
            # 0 is no limit for libpq.
            arguments["timeout"] = int(value) or None
        elif name in ASYNCPG_INTEGER:
            arguments[name] = int(value)
        elif name in ASYNCPG_QUERY:
            query[name] = value
        elif name in {"application_name", "fallback_application_name"}:
            settings.setdefault("application_name", value)
        elif name == "options" or name in SERVER_SETTINGS or "." in name:
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
    if mode in _WEAK_MODES or (mode == "require" and (len(options) <= 2 or not options.keys() & _CONTEXT_OPTIONS)):
        return mode
    return tls_context(options)


_CONTEXT_OPTIONS = TLS - {"sslmode", "sslnegotiation"}


def tls_context(options: dict[str, str]) -> TlsContext:
    """The context for a mode that always encrypts: require or stronger."""
    mode = options["sslmode"]
    root = options.get("sslrootcert")
    verify: Verification = (
        "full" if mode == "verify-full" else "ca" if mode == "verify-ca" or root is not None else "none"
    )
    return TlsContext(
        verify,
        cafile=None if root == "system" else root,
        certfile=options.get("sslcert"),
        keyfile=options.get("sslkey"),
        key_password=options.get("sslpassword"),
        crlfile=options.get("sslcrl"),
    )


def _to_libpq(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {}
    arguments: Arguments = {}
    settings: list[str] = []
    for name, value in parsed.options.items():
        if name in LIBPQ:
            query[name] = value
        elif name == "connect_timeout":
            arguments[name] = int(value)
        elif name in SERVER_SETTINGS or "." in name:
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


def _to_psycopg(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query, arguments = _to_libpq(parsed, notes)
    threshold = parsed.options.get("prepare_threshold")
    if threshold is not None:
        arguments["prepare_threshold"] = None if threshold == "none" else int(threshold)
    elif parsed.options.get("pgbouncer") == "true":
        arguments["prepare_threshold"] = None
    return query, arguments


def _to_pg8000(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {}
    arguments: Arguments = {}
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
        elif name not in TLS and name != "pgbouncer" and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, pg8000 has no such parameter")
    return query, arguments


RULES = Rules(
    normalise,
    _complete,
    {
        "asyncpg": _to_asyncpg,
        "psycopg": _to_psycopg,
        "psycopg2": _to_libpq,
        "psycopg2cffi": _to_libpq,
        "pg8000": _to_pg8000,
    },
)
