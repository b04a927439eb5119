"""MySQL and MariaDB: the parameters of the drivers and of the platforms' URLs, and how each driver takes them."""

from __future__ import annotations

from collections.abc import Callable

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.options import POOL_OPTIONS, flag, integer, one_of, put, seconds, unknown_option
from svc_infra.dburl._dialects.postgresql import connect_timeout
from svc_infra.dburl._environment import Environment
from svc_infra.dburl.errors import ConflictingOptions
from svc_infra.dburl.tls import TlsContext, Verification

__all__ = ["TRANSLATORS", "complete", "normalise"]

SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
"""From the weakest to the strongest (https://dev.mysql.com/doc/refman/en/connection-options.html#option_general_ssl-mode)."""

_LIBPQ_MODES = {
    "disable": "disabled",
    "allow": "preferred",
    "prefer": "preferred",
    "require": "required",
    "verify_full": "verify_identity",
}
# Read by SQLAlchemy's dialects from the URL, with the right type.
_QUERY = frozenset(
    {"charset", "use_unicode", "local_infile", "client_flag", "read_timeout", "write_timeout", "compress", "init_command", "sql_mode",
     "read_default_file", "read_default_group", "program_name", "collation", "bind_address"}
)  # fmt: skip
_TLS = frozenset(
    {"ssl_mode", "ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_key_password", "ssl_cipher", "ssl_check_hostname"}
)
_OWN = frozenset({"connect_timeout", "autocommit", "max_allowed_packet"})
_KNOWN = _QUERY | _TLS | _OWN | POOL_OPTIONS
# Passed as text, these would be errors or always true.
_TAKES: dict[str, frozenset[str]] = {
    "asyncmy": _QUERY - {"write_timeout", "compress", "collation", "bind_address"} | {"max_allowed_packet", "autocommit"},
    "aiomysql": _QUERY - {"read_timeout", "write_timeout", "compress", "collation", "bind_address"} | {"autocommit"},
    "pymysql": _QUERY | {"max_allowed_packet", "autocommit"},
    "mysqldb": _QUERY - {"collation", "bind_address", "program_name"} | {"autocommit"},
    "mysqlconnector": frozenset({"charset", "collation", "use_unicode", "client_flag", "compress", "init_command", "sql_mode", "autocommit"}),
    "mariadbconnector": frozenset({"init_command", "compress", "local_infile", "read_default_file", "read_default_group", "read_timeout",
                                   "write_timeout", "autocommit"}),
}  # fmt: skip
_ALIASES = {
    "applicationname": "program_name",
    "characterencoding": "charset",
    "connectioncollation": "collation",
    "connecttimeout": "connect_timeout",
    "encoding": "charset",
    "readtimeout": "read_timeout",
    "ssl_client_cert": "ssl_cert",
    "sslca": "ssl_ca",
    "sslcapath": "ssl_capath",
    "sslcert": "ssl_cert",
    "sslcipher": "ssl_cipher",
    "sslkey": "ssl_key",
    "sslkeypassword": "ssl_key_password",
    "sslmode": "ssl_mode",
    "sslrootcert": "ssl_ca",
    "ssl_keypass": "ssl_key_password",
    "sslpassword": "ssl_key_password",
    "timeout": "connect_timeout",
    "writetimeout": "write_timeout",
}
# What other languages' clients and platforms put into their URLs and no Python driver needs.
_NOISE = frozenset(
    "allowcleartextpasswords allowfallbacktoplaintext allowmultiqueries allownativepasswords allowpublickeyretrieval autoreconnect "
    "cachecallablestmts cacheprepstmts cacheresultsetmetadata cacheserverconfiguration checkconnliveness clientfoundrows columnswithalias "
    "connectiontimezone conn_health_checks conn_max_age defaultfetchsize elidesetautocommits failoverreadonly forceconnectiontimezonetosession "
    "interpolateparams jdbccomplianttruncation loc logger maintaintimestats maxallowedpacket maxreconnects multistatements "
    "nullcatalogmeanscurrent nulldatabasemeanscurrent parsetime paranoid pool_timeout preparedstmtcachesize prepstmtcachesize prepstmtcachesqllimit "
    "reaping_frequency reconnect rejectreadonly rewritebatchedstatements servertimezone serverrsapublickeyfile sockettimeout socket_timeout "
    "statement_cache_size timezone tinyint1isbit tlsversions tls_version transformedbitisboolean usealiasmetadatabehavior useaffectedrows "
    "usecompression usecursorfetch usejdbccomplianttimezoneshift uselegacydatetimecode uselocalsessionstate uselocaltransactionstate "
    "useoldaliasmetadatabehavior useserverprepstmts useunicode zerodatetimebehavior enabledtlsprotocols sslverify sslidentity".split()
)
_SSL_WORDS = frozenset(
    {"ssl", "usessl", "use_ssl", "requiressl", "verifyservercertificate", "tls", "sslaccept", "ssl_disabled", "ssl_verify_cert",
     "ssl_verify_identity"}
)  # fmt: skip
_CHARSETS = {"utf_8": "utf8mb4", "utf8": "utf8mb4", "iso_8859_1": "latin1", "iso8859_1": "latin1"}


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Bring the parameters under one name each, and all that is said about TLS into ``ssl_mode`` and its files.

    Raises:
        InvalidOption: One is unknown or has a value that it can't have.
        ConflictingOptions: Two contradict each other.
    """
    options: dict[str, str] = {}
    words: dict[str, str] = {}
    for name, value in given.items():
        key = name
        if key not in _KNOWN:
            key = name.lower().replace("-", "_")
            key = _ALIASES.get(key, key)
        if key in _KNOWN:
            if name == "connectTimeout":
                # JDBC counts in milliseconds.
                value = str(-(-integer(name, value, place, at_least=1) // 1000))
            elif name == "characterEncoding":
                value = _CHARSETS.get(value.lower().replace("-", "_"), value.lower())
            put(options, key, _CONVERT[key](key, value, place) if key in _CONVERT else value, place)
        elif key in _SSL_WORDS:
            words[key] = value
        elif key in {"connection_limit", "pool"}:
            put(options, "pool_size", str(integer(name, value, place, at_least=1)), place)
        elif key in _NOISE:
            notes.append(f"{name}: dropped, means nothing to a Python driver")
        else:
            unknown_option(name, given, _KNOWN | _ALIASES.keys(), place)
    mode = _mode(options, words, place)
    options.pop("ssl_check_hostname", None)
    if mode is not None:
        options["ssl_mode"] = mode
    return options


def _mode(options: dict[str, str], words: dict[str, str], place: str) -> str | None:
    """The TLS mode, from ``ssl_mode``, the words of other clients, or the files that are given."""
    stated = options.get("ssl_mode")
    said = [mode for mode in (_mode_of(word, value, place) for word, value in words.items()) if mode is not None]
    if "disabled" in said and (len(set(said)) > 1 or stated not in {None, "disabled"}):
        raise ConflictingOptions(
            place, "turns TLS off by one parameter and on by another", "Keep one of them, best ssl-mode"
        )
    if stated == "disabled" and said and "disabled" not in said:
        raise ConflictingOptions(place, "turns TLS off by ssl-mode and on by another parameter", "Keep ssl-mode")
    mode = max([*said, *([stated] if stated else [])], key=SSL_MODES.index, default=None)
    has_ca = "ssl_ca" in options or "ssl_capath" in options
    if mode is None and (has_ca or "ssl_cert" in options):
        mode = "verify_identity" if has_ca else "required"
    elif mode == "required" and has_ca:
        # As libpq does: whoever gives a certificate authority wants it to be checked.
        mode = "verify_ca"
    hostname = options.get("ssl_check_hostname")
    if hostname is not None and mode != "disabled":
        if not flag("ssl_check_hostname", hostname, place):
            if mode == "verify_identity" and stated is None:
                mode = "verify_ca"
            elif mode == "verify_identity":
                raise ConflictingOptions(
                    place, "ssl_check_hostname=false contradicts ssl-mode=VERIFY_IDENTITY", "Keep ssl-mode"
                )
        elif mode is not None:
            mode = "verify_identity"
    return mode


def _mode_of(word: str, value: str, place: str) -> str | None:
    lowered = value.strip().lower()
    if word == "sslaccept":
        return "verify_identity" if lowered == "strict" else "required"
    if word == "tls":
        # https://github.com/go-sql-driver/mysql#tls
        named = {"skip-verify": "required", "preferred": "preferred"}.get(lowered)
        return named or ("verify_identity" if flag(word, value, place) else "disabled")
    if word == "ssl" and lowered[:1] == "{":
        # PlanetScale: ssl={"rejectUnauthorized":true}
        return "required" if "false" in lowered else "verify_identity"
    if word == "ssl" and (named := _named_mode(lowered)) is not None:
        return named
    on = flag(word, value, place)
    if word == "ssl_disabled":
        return "disabled" if on else None
    if word in {"verifyservercertificate", "ssl_verify_cert"}:
        return "verify_ca" if on else None
    if word == "ssl_verify_identity":
        return "verify_identity" if on else None
    if word == "requiressl":
        return "required" if on else None
    return "required" if on else "disabled"


def _named_mode(value: str) -> str | None:
    mode = value.replace("-", "_")
    mode = _LIBPQ_MODES.get(mode, mode)
    return mode if mode in SSL_MODES else None


def _ssl_mode(name: str, value: str, place: str) -> str:
    mode = _named_mode(value.strip().lower())
    return mode if mode is not None else one_of("ssl-mode", value, SSL_MODES, place)


def _flag(name: str, value: str, place: str) -> str:
    return "true" if flag(name, value, place) else "false"


def _integer(name: str, value: str, place: str) -> str:
    return str(integer(name, value, place))


def _seconds(name: str, value: str, place: str) -> str:
    return str(seconds(name, value, place, at_least=1))


_CONVERT: dict[str, Callable[[str, str, str], str]] = {
    "ssl_mode": _ssl_mode,
    "connect_timeout": _seconds,
    "read_timeout": _seconds,
    "write_timeout": _seconds,
    "max_allowed_packet": _integer,
    "client_flag": _integer,
    "autocommit": _flag,
    "local_infile": _flag,
    "use_unicode": _flag,
    "compress": _flag,
}


def complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Fill in the connect timeout: DB_CONNECT_TIMEOUT, else 10 seconds. TLS is left to the URL and the driver.

    Raises:
        InvalidOption: DB_CONNECT_TIMEOUT is no number of seconds.
    """
    if "connect_timeout" not in parsed.options:
        parsed.options["connect_timeout"] = connect_timeout(environment)


def _common(
    parsed: ParsedUrl, driver: str, notes: list[str]
) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query: dict[str, str | tuple[str, ...]] = {}
    arguments: dict[str, object] = {}
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
        elif name not in _TLS and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, {driver} has no such parameter")
    return query, arguments


def _context(options: dict[str, str]) -> TlsContext | None:
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


def _to_asyncmy(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    return _to_async("asyncmy", parsed, notes)


def _to_aiomysql(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    return _to_async("aiomysql", parsed, notes)


def _to_async(
    driver: str, parsed: ParsedUrl, notes: list[str]
) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query, arguments = _common(parsed, driver, notes)
    context = _context(parsed.options)
    if context is not None and parsed.socket is None:
        arguments["ssl"] = context
    elif parsed.options.get("ssl_mode") == "preferred":
        notes.append(f"ssl_mode: preferred is plain text on {driver}, which does not ask the server for TLS by itself")
    return query, arguments


def _to_pymysql(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    query, arguments = _common(parsed, "pymysql", notes)
    context = _context(parsed.options)
    if context is not None and parsed.socket is None:
        arguments["ssl"] = context
    elif parsed.options.get("ssl_mode") == "disabled":
        # PyMySQL >= 1.2 tries TLS by itself.
        arguments["ssl_disabled"] = True
    return query, arguments


def _to_mysqldb(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
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


def _to_connector(
    driver: str, parsed: ParsedUrl, notes: list[str]
) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
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


def _to_mysqlconnector(
    parsed: ParsedUrl, notes: list[str]
) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    return _to_connector("mysqlconnector", parsed, notes)


def _to_mariadbconnector(
    parsed: ParsedUrl, notes: list[str]
) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    return _to_connector("mariadbconnector", parsed, notes)


TRANSLATORS = {
    "asyncmy": _to_asyncmy,
    "aiomysql": _to_aiomysql,
    "pymysql": _to_pymysql,
    "mysqldb": _to_mysqldb,
    "mysqlconnector": _to_mysqlconnector,
    "mariadbconnector": _to_mariadbconnector,
}
"""How each driver takes the options: the query that stays in the URL, and the arguments of `connect()`."""
