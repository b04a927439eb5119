"""Reads the parameters of a URL against a database's table of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn, TypeAlias

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._environment import Environment
from svc_infra.dburl.errors import ConflictingOptions, InvalidOption
from svc_infra.dburl.redaction import is_secret_name

__all__ = [
    "PARTS_IN_QUERY",
    "POOL_OPTIONS",
    "Arguments",
    "Query",
    "Rules",
    "connect_timeout",
    "flag",
    "integer",
    "is_behind_secret",
    "one_of",
    "pool_settings",
    "put",
    "refuse_tail",
    "seconds",
    "unknown_option",
]

Query: TypeAlias = "dict[str, str | tuple[str, ...]]"
"""The parameters that stay in the URL."""

Arguments: TypeAlias = "dict[str, object]"
"""The arguments of the driver's `connect()`."""


class Rules(NamedTuple):
    """How the parameters of a database's URL are read.

    Attributes:
        normalise: Brings the parameters as given under one name each; takes also the place, and a list for notes.
        complete: Fills in, in place, the defaults that depend on the environment; takes also the place.
        translate: For each driver, makes of the completed parts what it takes; takes also a list for notes.
    """

    normalise: Callable[[dict[str, str], str, list[str]], dict[str, str]]
    complete: Callable[[ParsedUrl, Environment, str], None]
    translate: Mapping[str, Callable[[ParsedUrl, list[str]], tuple[Query, Arguments]]]


_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z_.-]{1,39}")

PARTS_IN_QUERY = {
    "user": "username", "username": "username", "uid": "username", "password": "password", "pwd": "password",
    "host": "host", "server": "host", "port": "port", "unix_socket": "host", "unixsocket": "host", "socket": "host",
    "dbname": "database", "database": "database", "databasename": "database",
}  # fmt: skip
"""Parts of the URL as JDBC and libpq allow them among the parameters; read before the parameters are."""

POOL_OPTIONS = frozenset({"pool_size", "max_overflow", "pool_timeout", "pool_recycle", "pool_pre_ping"})
"""Parameters that are for the engine's pool and not for the driver, on every database."""


def put(options: dict[str, str], name: str, value: str, place: str) -> None:
    """Set an option that may have been given under another of its names.

    Raises:
        ConflictingOptions: It was, with another value.
    """
    if options.setdefault(name, value) != value:
        raise ConflictingOptions(place, f"gives {name} two values, under different names", "Keep one of them")


def flag(name: str, value: str, place: str) -> bool:
    """Read a yes or no.

    Raises:
        InvalidOption: It is neither.
    """
    lowered = value.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise InvalidOption(place, f"the value of {name} is neither true nor false", f"Write {name}=true or {name}=false")


def integer(name: str, value: str, place: str, *, at_least: int = 0) -> int:
    """Read a whole number.

    Raises:
        InvalidOption: It is none, or too small or large.
    """
    text = value.strip()
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 10 and at_least <= (number := int(text)) < 2**31:
        return number
    raise InvalidOption(
        place, f"the value of {name} is not a whole number of at least {at_least}", f"Write e.g. {name}=10"
    )


def seconds(name: str, value: str, place: str, *, at_least: int = 0) -> int:
    """Read a time limit in whole seconds.

    Raises:
        InvalidOption: It is none.
    """
    try:
        return integer(name, value, place, at_least=at_least)
    except InvalidOption:
        pass
    raise InvalidOption(
        place,
        f"the value of {name} is not a whole number of seconds of at least {at_least}",
        f"Write e.g. {name}=10, without a unit",
    )


def one_of(name: str, value: str, words: Iterable[str], place: str) -> str:
    """Read one of the words, in any case.

    Raises:
        InvalidOption: It is none of them.
    """
    lowered = value.strip().lower()
    if lowered in words:
        return lowered
    raise InvalidOption(place, f"the value of {name} is none that it can have", f"Its values are {', '.join(words)}")


def unknown_option(name: str, options: Mapping[str, str], known: Iterable[str], place: str) -> NoReturn:
    """Raise for a parameter that the database does not have, with the nearest one that it has.

    The name is repeated only where it can't be the tail of a password with an unescaped ``&`` or ``?``.
    """
    position = list(options).index(name) + 1
    tail = is_behind_secret(name, options) or "@" in "".join(options.values())
    shown = f"the parameter {name}" if _PLAIN_NAME.fullmatch(name) and not tail else f"parameter number {position}"
    # It takes longer to import than the rest of this package.
    import difflib

    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.75) if len(name) <= 40 else []
    hint = f"Did you mean {near[0]}? " if near else ""
    raise InvalidOption(
        place,
        f"{shown} is none that the database or its drivers have",
        f"{hint}Correct or remove it; & in a value is written %26",
    )


def is_behind_secret(name: str, options: Mapping[str, str]) -> bool:
    """Whether a parameter follows a secret, so that its name may be the tail of one with an unescaped ``&``."""
    names = list(options)
    return any(map(is_secret_name, names[: names.index(name)]))


def refuse_tail(options: Mapping[str, str], known: frozenset[str], place: str) -> None:
    """Raise for an unknown parameter behind a secret: it is the secret's tail, cut off by an ``&`` in it.

    For the databases whose parameters are not all known; elsewhere each unknown parameter is refused.

    Raises:
        InvalidOption: There is one.
    """
    for position, name in enumerate(options, 1):
        if name.lower() not in known and is_behind_secret(name, options):
            raise InvalidOption(
                place, f"parameter number {position} stands behind a secret and is unknown", "Write & in a value as %26"
            )


def pool_settings(options: Mapping[str, str], place: str) -> dict[str, int | float | bool]:
    """The pool's settings among the options, for `create_async_engine`: sizes, and times in seconds.

    Raises:
        InvalidOption: A value is no number or no flag.
    """
    found: dict[str, int | float | bool] = {}
    for name, value in options.items():
        if name == "pool_pre_ping":
            found[name] = flag(name, value, place)
        elif name in POOL_OPTIONS:
            found[name] = integer(name, value, place, at_least=-1 if name in {"pool_recycle", "max_overflow"} else 0)
    return found


def connect_timeout(environment: Environment) -> str:
    """DB_CONNECT_TIMEOUT in seconds, 10 when it is unset."""
    value = environment.get("DB_CONNECT_TIMEOUT")
    if value is None:
        return "10"
    return str(seconds("DB_CONNECT_TIMEOUT", value, environment.place("DB_CONNECT_TIMEOUT"), at_least=1))
