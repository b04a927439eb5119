"""SQLite: its parameters stay in the URL, where SQLAlchemy reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.options import POOL_OPTIONS, flag, put, unknown_option
from svc_infra.dburl._environment import Environment

__all__ = ["TRANSLATORS", "complete", "normalise"]

_DRIVER = frozenset("uri timeout isolation_level detect_types check_same_thread cached_statements".split())
# https://www.sqlite.org/uri.html#recognized_query_parameters; they count with uri=true only.
_URI = frozenset("cache immutable mode modeof nolock psow vfs".split())
# What Rails, Prisma and Django put into SQLite URLs.
_NOISE = frozenset("pool connection_limit conn_max_age socket_timeout encoding conn_health_checks".split())
_KNOWN = _DRIVER | _URI | POOL_OPTIONS


def normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
    """Keep SQLite's own parameters.

    Raises:
        InvalidOption: One is unknown and the file name is not a URI, which could have any.
    """
    is_uri = "uri" in given and flag("uri", given["uri"], place)
    options: dict[str, str] = {}
    for name, value in given.items():
        if is_uri or name in _DRIVER or name in POOL_OPTIONS:
            put(options, name, value, place)
        elif name.lower() in _NOISE:
            notes.append(f"{name}: dropped, means nothing to SQLite")
        elif name in _URI:
            unknown_option(name, given, (*_KNOWN, "uri=true"), place)
        else:
            unknown_option(name, given, _KNOWN, place)
    return options


def complete(parsed: ParsedUrl, environment: Environment, place: str) -> None:
    """Nothing: a file needs neither TLS nor a connect timeout; SQLite's ``timeout`` is that of a locked file."""


def _to_sqlite(parsed: ParsedUrl, notes: list[str]) -> tuple[dict[str, str | tuple[str, ...]], dict[str, object]]:
    return {name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS}, {}


TRANSLATORS = {"aiosqlite": _to_sqlite, "": _to_sqlite, "pysqlite": _to_sqlite}
"""How each driver takes the options: the query that stays in the URL, and the arguments of `connect()`."""
