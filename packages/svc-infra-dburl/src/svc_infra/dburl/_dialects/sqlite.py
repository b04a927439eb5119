"""SQLite: its parameters stay in the URL, where SQLAlchemy reads them."""

from __future__ import annotations

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._dialects.reading import POOL_OPTIONS, Arguments, Query, Rules, flag, put, unknown_option
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import InvalidOption

__all__ = ["RULES"]

_DRIVER = words("uri timeout isolation_level detect_types check_same_thread cached_statements")
# https://www.sqlite.org/uri.html#recognized_query_parameters; they count with uri=true only.
_URI = words("cache immutable mode modeof nolock psow vfs")
# What Rails, Prisma and Django put into SQLite URLs.
_NOISE = words("pool connection_limit conn_max_age socket_timeout encoding conn_health_checks")
_KNOWN = _DRIVER | _URI | POOL_OPTIONS


def _normalise(given: dict[str, str], place: str, notes: list[str]) -> dict[str, str]:
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
            raise InvalidOption(
                place,
                f"the parameter {name} counts in a file URI only",
                f"Write sqlite:///file:path?{name}=...&uri=true",
            )
        else:
            unknown_option(name, given, _KNOWN, place)
    return options


def _complete(_parsed: ParsedUrl, _environment: Environment, _place: str) -> None:
    """Nothing: a file needs neither TLS nor a connect timeout; SQLite's ``timeout`` is that of a locked file."""


def _to_sqlite(parsed: ParsedUrl, _notes: list[str]) -> tuple[Query, Arguments]:
    return {name: value for name, value in parsed.options.items() if name not in POOL_OPTIONS}, {}


RULES = Rules(_normalise, _complete, {"aiosqlite": _to_sqlite, "": _to_sqlite, "pysqlite": _to_sqlite})
