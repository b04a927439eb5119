"""From an exception to the one fixed word that a report shows, by class and code, never by text."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import Reason

__all__ = ["classify"]

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: dict[str, Reason] = {
    "28000": "auth",
    "28P01": "auth",
    "3D000": "missing",
    "42P01": "missing",
    "53300": "overloaded",
    "57P01": "unreachable",
    "57P02": "unreachable",
    "57P03": "starting",
    "57014": "timeout",
    "25006": "readonly",
    "42501": "permission",
}

# https://dev.mysql.com/doc/mysql-errors/en/
_BY_MYSQL_CODE: dict[int, Reason] = {
    1040: "overloaded",
    1044: "permission",
    1045: "auth",
    1049: "missing",
    1146: "missing",
    1203: "overloaded",
    1226: "overloaded",
    1290: "readonly",
    1698: "auth",
    2002: "unreachable",
    2003: "unreachable",
    2005: "dns",
    2006: "unreachable",
    2013: "unreachable",
    2026: "tls",
}

# https://www.mongodb.com/docs/manual/reference/error-codes/
_BY_MONGO_CODE: dict[int, Reason] = {
    13: "permission",
    18: "auth",
    50: "timeout",
    8000: "auth",
    11600: "starting",
    13435: "starting",
}

_BY_CLASS: dict[tuple[str, str], Reason] = {
    ("sqlalchemy", "TimeoutError"): "pool",
    ("sqlalchemy", "NoSuchModuleError"): "driver",
    ("sqlalchemy", "ArgumentError"): "configuration",
    ("svc_infra", "MissingDriver"): "driver",
    ("svc_infra", "DatabaseUrlError"): "configuration",
    ("redis", "AuthenticationError"): "auth",
    ("redis", "AuthorizationError"): "auth",
    ("redis", "NoPermissionError"): "permission",
    ("redis", "BusyLoadingError"): "starting",
    ("redis", "ReadOnlyError"): "readonly",
    ("redis", "MaxConnectionsError"): "pool",
    ("redis", "TimeoutError"): "timeout",
    ("pymongo", "WaitQueueTimeoutError"): "pool",
    ("pymongo", "NetworkTimeout"): "timeout",
    ("pymongo", "InvalidURI"): "configuration",
    ("pymongo", "ConfigurationError"): "configuration",
    ("pymongo", "NotPrimaryError"): "readonly",
}

# Weaker than what any cause in the chain says.
_BY_CLASS_AT_LAST: dict[tuple[str, str], Reason] = {
    ("redis", "ConnectionError"): "unreachable",
    ("pymongo", "ServerSelectionTimeoutError"): "unreachable",
    ("pymongo", "AutoReconnect"): "unreachable",
    ("psycopg", "ConnectionTimeout"): "timeout",
    ("psycopg", "OperationalError"): "unreachable",
}

_BY_ERRNO: dict[int, Reason] = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ECONNRESET: "unreachable",
    errno.EPIPE: "unreachable",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ENOENT: "missing",
    errno.EROFS: "readonly",
    errno.ENOSPC: "threshold",
}


def classify(error: BaseException) -> Reason:
    """Return why a check failed, looking through wrappers, causes and groups for the most telling error."""
    chain = list(_chain(error))
    for link in chain:
        reason = _own_reason(link)
        if reason is not None:
            return reason
    for link in chain:
        for name in _names(link):
            if name in _BY_CLASS_AT_LAST:
                return _BY_CLASS_AT_LAST[name]
        if isinstance(link, ConnectionError) or _mysql_reason(link) is not None:
            return "unreachable"
    return "failed"


def _own_reason(error: BaseException) -> Reason | None:
    if isinstance(error, CheckFailed):
        return error.reason
    for attribute in ("sqlstate", "pgcode"):
        state = getattr(error, attribute, None)
        if isinstance(state, str) and state in _BY_SQLSTATE:
            return _BY_SQLSTATE[state]
    names = list(_names(error))
    for name in names:
        if name in _BY_CLASS:
            return _BY_CLASS[name]
    modules = {module for module, _ in names}
    code = getattr(error, "code", None)
    if "pymongo" in modules and isinstance(code, int) and code in _BY_MONGO_CODE:
        return _BY_MONGO_CODE[code]
    mysql = _mysql_reason(error)
    if mysql is not None and mysql != "unreachable":  # the cause behind it says more: refused, dns, timeout
        return mysql
    return _standard_reason(error)


def _mysql_reason(error: BaseException) -> Reason | None:
    modules = {module for module, _ in _names(error)}
    if modules & {"pymysql", "asyncmy", "aiomysql", "MySQLdb"} and error.args and isinstance(error.args[0], int):
        return _BY_MYSQL_CODE.get(error.args[0])
    return None


def _standard_reason(error: BaseException) -> Reason | None:
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, socket.gaierror):
        return "dns"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ImportError):
        return "driver"
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return None


def _names(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield (top-level package, class name) for the error's class and its bases, the class first."""
    for cls in type(error).__mro__:
        yield cls.__module__.partition(".")[0], cls.__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that stands behind it, each once, nearest first."""
    queue: list[BaseException] = [error]
    seen: set[int] = set()
    while queue:
        link = queue.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        behind = [getattr(link, "orig", None), link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            behind.extend(link.exceptions)
        queue.extend(other for other in behind if isinstance(other, BaseException))
