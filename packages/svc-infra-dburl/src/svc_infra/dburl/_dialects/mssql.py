"""Microsoft SQL Server: the keywords of ODBC, JDBC and the platforms' URLs, and how each driver takes them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.postgresql_options import SSL_MODES
from svc_infra.dburl._dialects.reading import (
    PARTS_IN_QUERY,
    POOL_OPTIONS,
    Arguments,
    Query,
    Rules,
    connect_timeout,
    flag,
    integer,
    put,
    seconds,
    unknown_option,
)
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import InvalidOption

__all__ = ["RULES"]

ODBC_DRIVER = "ODBC Driver 18 for SQL Server"
"""The ODBC driver that is named when the URL names none; it encrypts and verifies by default."""

# https://learn.microsoft.com/sql/connect/odbc/dsn-connection-string-attribute, with FreeTDS's own behind.
_KEYWORDS = {
    name.lower().replace("_", ""): name
    for name in words(
        "Addr Address AnsiNPW APP ApplicationIntent AttachDBFileName AutoTranslate ClientCertificate ClientKey "
        "ColumnEncryption ConnectRetryCount ConnectRetryInterval Encrypt Failover_Partner HostNameInCertificate "
        "IpAddressPreference KeepAlive KeepAliveInterval KeystoreAuthentication KeystoreLocation KeystorePrincipalId "
        "KeystoreSecret Language LongAsMax MARS_Connection MultiSubnetFailover Network PacketSize QuotedId Regional "
        "Replication ServerCertificate ServerSPN TransparentNetworkIPResolution Trusted_Connection "
        "TrustServerCertificate UseFMTONLY WSID TDS_Version ClientCharset"
    )
}
# Read by SQLAlchemy's ODBC connector itself, in small letters.
_CONNECTOR = frozenset(
    {"driver", "odbc_connect", "dsn", "authentication", "ansi", "unicode_results", "autocommit", "odbc_autotranslate"}
)
# https://pymssql.readthedocs.io/en/stable/ref/pymssql.html#pymssql.connect
_PYMSSQL = words("charset appname encryption read_only use_datetime2 conn_properties")
# https://github.com/microsoft/mssql-python: any other keyword is refused by the driver, and driver and app are its own.
_MSSQLPYTHON = words(
    "addr address applicationintent authentication connectretrycount connectretryinterval encrypt "
    "hostnameincertificate ipaddresspreference keepalive keepaliveinterval multisubnetfailover packetsize "
    "servercertificate serverspn trustedconnection trustservercertificate"
)
_ALIASES = {
    "applicationname": "APP",
    "connectiontimeout": "connect_timeout",
    "connecttimeout": "connect_timeout",
    "integratedsecurity": "Trusted_Connection",
    "logintimeout": "connect_timeout",
    "mars": "MARS_Connection",
    "marsconnection": "MARS_Connection",
    "multipleactiveresultsets": "MARS_Connection",
    "timeout": "connect_timeout",
    "workstationid": "WSID",
}
_NOISE = words(
    "connectionlimit pooltimeout schema sockettimeout querytimeout selectmethod sendstringparametersasunicode "
    "socketfactoryclass disablestatementpooling lastupdatecount locktimeout loglevel log responsebuffering "
    "statementpoolingcachesize xopenstates gssencmode packetsizebytes connmaxage hostnameincertificatevalidation "
    "dialtimeout failoverpartnerport encryptpassword"
)
_YES_NO = frozenset({"TrustServerCertificate", "Trusted_Connection", "MARS_Connection", "MultiSubnetFailover"})


def _normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Bring the parameters under the keywords of ODBC.

    Raises:
        InvalidOption: One is unknown or has a value that it can't have.
        ConflictingOptions: Two contradict each other.
    """
    options: dict[str, str] = {}
    for name, value in given.items():
        key = name.lower()
        plain = key.replace("-", "").replace("_", "").replace(" ", "")
        if key in _CONNECTOR or key in _PYMSSQL or key in POOL_OPTIONS:
            put(options, key, value, place)
        elif plain in _ALIASES or plain in _KEYWORDS:
            keyword = _ALIASES.get(plain) or _KEYWORDS[plain]
            put(options, keyword, _convert(keyword, value, place), place)
        elif plain in {"sslmode", "ssl"}:
            _put_ssl(options, name, value, place)
        elif plain in {"connectionlimit", "pool"}:
            put(options, "pool_size", str(integer(name, value, place, at_least=1)), place)
        elif plain in _NOISE:
            notes.append(f"{name}: dropped, means nothing to a Python driver")
        elif key not in PARTS_IN_QUERY:
            unknown_option(name, given, {*_KEYWORDS, *_CONNECTOR, *_PYMSSQL, *_ALIASES}, place)
    return options


def _convert(keyword: str, value: str, place: str) -> str:
    if keyword == "connect_timeout":
        return str(seconds(keyword, value, place, at_least=1))
    if keyword in _YES_NO or (keyword == "Encrypt" and value.strip().lower() in {"true", "false"}):
        return "yes" if value.strip().lower() == "sspi" or flag(keyword, value, place) else "no"
    return value


def _put_ssl(options: dict[str, str], name: str, value: str, place: str) -> None:
    mode = value.strip().lower().replace("_", "-")
    if mode not in SSL_MODES:
        mode = "require" if flag(name, value, place) else "disable"
    put(options, "Encrypt", "yes" if mode in {"require", "verify-ca", "verify-full"} else "no", place)
    if mode == "require":
        put(options, "TrustServerCertificate", "yes", place)
    elif mode.startswith("verify"):
        put(options, "TrustServerCertificate", "no", place)


def _complete(parsed: ParsedUrl, environment: Environment, _place: str) -> None:
    """Fill in the connect timeout: DB_CONNECT_TIMEOUT, else 10 seconds where the driver has one to set.

    Raises:
        InvalidOption: DB_CONNECT_TIMEOUT is no number of seconds.
    """
    if "connect_timeout" not in parsed.options and environment.get("DB_CONNECT_TIMEOUT") is not None:
        parsed.options["connect_timeout"] = connect_timeout(environment)


def _timeout(parsed: ParsedUrl) -> int:
    return int(parsed.options.get("connect_timeout", "10"))


def _to_odbc(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {}
    options = parsed.options
    is_dsn = "dsn" in options or (parsed.hosts and not parsed.database)
    if "odbc_connect" not in options and "driver" not in options and not is_dsn:
        query["driver"] = ODBC_DRIVER
    for name, value in options.items():
        if name in _PYMSSQL:
            notes.append(f"{name}: dropped, only pymssql has it")
        elif name != "connect_timeout" and name not in POOL_OPTIONS:
            query[name] = value
    return query, {"timeout": _timeout(parsed)}


def _to_mssqlpython(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    options = parsed.options
    if "odbc_connect" in options:
        raise InvalidOption(
            "odbc_connect",
            "is a parameter of pyodbc and aioodbc, which mssql-python does not have",
            "Write mssql+aioodbc://",
        )
    query: Query = {}
    for name, value in options.items():
        if name.lower().replace("_", "") in _MSSQLPYTHON:
            query[name] = value
        elif name != "connect_timeout" and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, mssql-python sets it by itself or has no such parameter")
    return query, {"timeout": int(options["connect_timeout"])} if "connect_timeout" in options else {}


def _to_pymssql(parsed: ParsedUrl, notes: list[str]) -> tuple[Query, Arguments]:
    query: Query = {}
    for name, value in parsed.options.items():
        if name in _PYMSSQL:
            query[name] = value
        elif name == "TDS_Version":
            query["tds_version"] = value
        elif name == "APP":
            query["appname"] = value
        elif name == "Encrypt":
            query["encryption"] = {"yes": "require", "mandatory": "require", "no": "off", "optional": "request"}.get(
                value.lower(), "require"
            )
        elif name != "connect_timeout" and name not in POOL_OPTIONS:
            notes.append(f"{name}: dropped, pymssql has no such parameter")
    return query, {"login_timeout": _timeout(parsed)}


RULES = Rules(
    _normalise,
    _complete,
    {
        "aioodbc": _to_odbc,
        "pyodbc": _to_odbc,
        "mssqlpython": _to_mssqlpython,
        "pymssql": _to_pymssql,
    },
)
