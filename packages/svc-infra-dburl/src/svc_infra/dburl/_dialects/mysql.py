"""MySQL and MariaDB: the defaults, and how each driver takes the parameters."""

from __future__ import annotations

from functools import partial

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.mysql_options import QUERY, TLS, normalise
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules, connect_timeout
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._words import words
from svc_infra.dburl.tls import TlsContext, Verification

__all__ = ["RULES", "tls_context"]

# Passed as text, these would be errors or always true.
_TAKES: dict[str, frozenset[str]] = {
    "asyncmy": QUERY - words("write_timeout compress collation bind_address") | words("max_allowed_packet autocommit"),
    "aiomysql": QUERY - words("read_timeout write_timeout compress collation bind_address") | words("autocommit"),
    "pymysql": QUERY | words("max_allowed_packet autocommit"),
    "mysqldb": QUERY - words("collation bind_address program_name") | words("autocommit"),
    "mysqlconnector": words("charset collation use_unicode client_flag compress init_command sql_mode autocommit"),
    "mariadbconnector": words(
        "init_command compress local_infile read_default_file read_default_group read_timeout write_timeout autocommit"
    ),
}


def _complete(parsed: ParsedUrl, environment: Environment, _place: str) -> None:
    """Fill in the connect timeout: DB_CONNECT_TIMEOUT, else 10 seconds. TLS is left to the URL and the driver.

    Raises:
        InvalidOption: DB_CONNECT_TIMEOUT is no number of seconds.
    """
    if "connect_timeout" not in parsed.options:
        parsed.options["connect_timeout"] = connect_timeout(environment)


def _common(parsed: ParsedUrl, driver: str, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {}
    arguments: Arguments = {}
    takes = _TAKES[driver]
    for name, value in parsed.options.items():
        if name == "connect_timeout":
            arguments["connection_timeout" if driver == "mysqlconnector" else name] = int(value)
        elif name in takes:
            if name == "autocommit":
                # Any text is true to the drivers, "false" too.
                arguments[name] = value == "true"
            elif name == "max_allowed_packet":
                arguments[name] = int(value)
            else:
                query[name] = value
        elif name not in TLS and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, {driver} has no such parameter")
    return query, arguments


def tls_context(options: dict[str, str]) -> TlsContext | None:
    """The context for the mode, or None for no TLS or what the driver does by itself."""
    mode = options.get("ssl_mode")
    if mode is None or mode in {"disabled", "preferred"}:
        return None
    verify: Verification = "full" if mode == "verify_identity" else "ca" if mode == "verify_ca" else "none"
    context = TlsContext(
        verify,
        cafile=options.get("ssl_ca"),
        capath=options.get("ssl_capath"),
        certfile=options.get("ssl_cert"),
        keyfile=options.get("ssl_key"),
        key_password=options.get("ssl_key_password"),
    )
    if "ssl_cipher" in options:
        context.set_ciphers(options["ssl_cipher"])
    return context


def _to_async(driver: str, parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query, arguments = _common(parsed, driver, notes)
    context = tls_context(parsed.options)
    if context is not None and parsed.socket is None:
        arguments["ssl"] = context
    elif parsed.options.get("ssl_mode") == "preferred":
        notes.append(f"ssl_mode: preferred is plain text on {driver}, which does not ask the server for TLS by itself")
    return query, arguments


def _to_pymysql(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query, arguments = _common(parsed, "pymysql", notes)
    context = tls_context(parsed.options)
    if context is not None and parsed.socket is None:
        arguments["ssl"] = context
    elif parsed.options.get("ssl_mode") == "disabled":
        # PyMySQL >= 1.2 tries TLS by itself.
        arguments["ssl_disabled"] = True
    return query, arguments


def _to_mysqldb(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query, arguments = _common(parsed, "mysqldb", notes)
    options = parsed.options
    if "ssl_mode" in options:
        arguments["ssl_mode"] = options["ssl_mode"].upper()
    files = {
        name[4:]: options[name]
        for name in ("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher")
        if name in options
    }
    if files:
        arguments["ssl"] = files
    return query, arguments


def _to_connector(driver: str, parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query, arguments = _common(parsed, driver, notes)
    options = parsed.options
    mode = options.get("ssl_mode")
    if mode == "disabled":
        arguments["ssl_disabled" if driver == "mysqlconnector" else "ssl"] = driver == "mysqlconnector"
    elif mode is not None and mode != "preferred":
        if driver == "mariadbconnector":
            arguments["ssl"] = True
        arguments["ssl_verify_cert"] = mode.startswith("verify")
        if driver == "mysqlconnector":
            arguments["ssl_verify_identity"] = mode == "verify_identity"
        arguments.update({name: options[name] for name in ("ssl_ca", "ssl_cert", "ssl_key") if name in options})
    return query, arguments


RULES = Rules(
    normalise,
    _complete,
    {
        "asyncmy": partial(_to_async, "asyncmy"),
        "aiomysql": partial(_to_async, "aiomysql"),
        "pymysql": _to_pymysql,
        "mysqldb": _to_mysqldb,
        "mysqlconnector": partial(_to_connector, "mysqlconnector"),
        "mariadbconnector": partial(_to_connector, "mariadbconnector"),
    },
)
