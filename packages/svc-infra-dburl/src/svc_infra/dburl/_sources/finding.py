"""What a source finds, and the record of the places that were looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._parsing import clean, parse
from svc_infra.dburl._sources.secret_json import parse_secret_json

__all__ = ["DIRECT_VARIABLES", "Finding", "Look", "parse_text"]

DIRECT_VARIABLES = ("SQL_URL", "DB_URL", "DATABASE_URL", "DATABASE_URL_PRIVATE", "PRIVATE_SQL_URL")
"""The variables that hold a URL, in the order in which they count."""


class Look(NamedTuple):
    """A place that was looked at and what was found there, without secrets."""

    place: str
    found: str


class Finding(NamedTuple):
    """A URL and where it was found.

    Attributes:
        url: Its parts.
        place: The variable or file, for errors and explanations.
        read_password: Reads the password again from its file, or None if it did not come from one.
    """

    url: ParsedUrl
    place: str
    read_password: Callable[[], str] | None = None


def parse_text(text: str, place: str, environment: Environment) -> ParsedUrl:
    """Take a URL apart, or the JSON in which AWS Secrets Manager keeps what a URL holds."""
    if text.lstrip("\ufeff \t\r\n")[:1] == "{":
        return parse_secret_json(clean_json(text), place, environment)
    return parse(text, place)


def clean_json(text: str) -> str:
    """Drop a byte order mark and blanks around JSON, whose line ends are no control characters."""
    return text.strip("\ufeff \t\r\n")


__all__ += ["clean", "clean_json"]
