"""MySQL and MariaDB: the parameters of the drivers and of the platforms' URLs, under one name each."""

from __future__ import annotations

from collections.abc import Callable

from svc_infra.dburl._dialects.reading import (
    PARTS_IN_QUERY,
    POOL_OPTIONS,
    flag,
    integer,
    one_of,
    put,
    seconds,
    unknown_option,
)
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import ConflictingOptions

__all__ = ["QUERY", "TLS", "normalise"]

SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
"""From the weakest to the strongest (MySQL's reference manual, "Command Options for Encrypted Connections")."""

_LIBPQ_MODES = {
    "disable": "disabled",
    "allow": "preferred",
    "prefer": "preferred",
    "require": "required",
    "verify_full": "verify_identity",
}
# Read by SQLAlchemy's dialects from the URL, with the right type.
QUERY = words(
    "charset use_unicode local_infile client_flag read_timeout write_timeout compress init_command sql_mode "
    "read_default_file read_default_group program_name collation bind_address"
)
TLS = words("ssl_mode ssl_ca ssl_capath ssl_cert ssl_key ssl_key_password ssl_cipher ssl_check_hostname")
_OWN = frozenset({"connect_timeout", "autocommit", "max_allowed_packet"})
_KNOWN = QUERY | TLS | _OWN | POOL_OPTIONS
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
_NOISE = words(
    "allowcleartextpasswords allowfallbacktoplaintext allowmultiqueries allownativepasswords allowpublickeyretrieval "
    "autoreconnect cachecallablestmts cacheprepstmts cacheresultsetmetadata cacheserverconfiguration "
    "checkconnliveness clientfoundrows columnswithalias connectiontimezone conn_health_checks conn_max_age "
    "defaultfetchsize elidesetautocommits failoverreadonly forceconnectiontimezonetosession interpolateparams "
    "jdbccomplianttruncation loc logger maintaintimestats maxallowedpacket maxreconnects multistatements "
    "nullcatalogmeanscurrent nulldatabasemeanscurrent parsetime paranoid pool_timeout preparedstmtcachesize "
    "prepstmtcachesize prepstmtcachesqllimit reaping_frequency reconnect rejectreadonly rewritebatchedstatements "
    "servertimezone serverrsapublickeyfile sockettimeout socket_timeout statement_cache_size timezone tinyint1isbit "
    "tlsversions tls_version transformedbitisboolean usealiasmetadatabehavior useaffectedrows usecompression "
    "usecursorfetch usejdbccomplianttimezoneshift uselegacydatetimecode uselocalsessionstate "
    "uselocaltransactionstate useoldaliasmetadatabehavior useserverprepstmts useunicode zerodatetimebehavior "
    "enabledtlsprotocols sslverify sslidentity"
)
_SSL_WORDS = words(
    "ssl usessl use_ssl requiressl verifyservercertificate tls sslaccept ssl_disabled ssl_verify_cert "
    "ssl_verify_identity"
)
_CHARSETS = {"utf_8": "utf8mb4", "utf8": "utf8mb4", "iso_8859_1": "latin1", "iso8859_1": "latin1"}


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Bring the parameters under one name each, and all that is said about TLS into ``ssl_mode`` and its files.

    Raises:
        InvalidOption: One is unknown or has a value that it can't have.
        ConflictingOptions: Two contradict each other.
    """
    options: dict[str, str] = {}
    said: dict[str, str] = {}
    for name, value in given.items():
        key = name
        if key not in _KNOWN:
            key = name.lower().replace("-", "_")
            key = _ALIASES.get(key, key)
        if key in _KNOWN:
            convert = _JDBC.get(name) or _CONVERT.get(key)
            put(options, key, convert(key, value, place) if convert is not None else value, place)
        elif key in _SSL_WORDS:
            said[key] = value
        elif key in {"connection_limit", "pool"}:
            put(options, "pool_size", str(integer(name, value, place, at_least=1)), place)
        elif key in _NOISE:
            notes.append(f"{name}: dropped, means nothing to a Python driver")
        elif key not in PARTS_IN_QUERY:
            unknown_option(name, given, _KNOWN | _ALIASES.keys(), place)
    mode = _mode(options, said, place)
    options.pop("ssl_check_hostname", None)
    if mode is not None:
        options["ssl_mode"] = mode
    return options


def _mode(options: dict[str, str], said: dict[str, str], place: str) -> str | None:
    """The TLS mode, from ``ssl_mode``, the words of other clients, or the files that are given."""
    modes = [mode for mode in (_mode_of(word, value, place) for word, value in said.items()) if mode is not None]
    if "ssl_mode" in options:
        modes.append(options["ssl_mode"])
    if "disabled" in modes and set(modes) != {"disabled"}:
        raise ConflictingOptions(place, "turns TLS off by one parameter and on by another", "Keep ssl-mode alone")
    mode: str | None = max(modes, key=SSL_MODES.index) if modes else None
    has_ca = "ssl_ca" in options or "ssl_capath" in options
    if mode is None and (has_ca or "ssl_cert" in options):
        mode = "verify_identity" if has_ca else "required"
    elif mode == "required" and has_ca:
        # As libpq does: whoever gives a certificate authority wants it to be checked.
        mode = "verify_ca"
    hostname = options.get("ssl_check_hostname")
    if hostname is not None and mode != "disabled":
        if not flag("ssl_check_hostname", hostname, place):
            if mode == "verify_identity" and "ssl_mode" not in options:
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
        # As PlanetScale writes it: a JSON object with rejectUnauthorized.
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
    return mode if mode is not None else one_of(name.replace("_", "-"), value, SSL_MODES, place)


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


def _milliseconds(name: str, value: str, place: str) -> str:
    return str(-(-integer(name, value, place, at_least=1) // 1000))


def _charset(_name: str, value: str, _place: str) -> str:
    return _CHARSETS.get(value.lower().replace("-", "_"), value.lower())


# JDBC counts in milliseconds and has Java's names of character sets.
_JDBC: dict[str, Callable[[str, str, str], str]] = {"connectTimeout": _milliseconds, "characterEncoding": _charset}
