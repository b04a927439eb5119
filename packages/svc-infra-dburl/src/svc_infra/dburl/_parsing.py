"""Takes the text of a database URL apart, in every platform's way of writing one.

The rules are those of libpq (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS) and of
SQLAlchemy's `make_url`; where the two differ, the reading that the writer must have meant, or an error that says so.
No error repeats any text of the URL: a password that was not escaped can end up in any part of it.
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import unquote, unquote_plus

from svc_infra.dburl._database_url import Dialect, Host, ParsedUrl
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import ConflictingOptions, InvalidUrl, UnknownScheme
from svc_infra.dburl.redaction import is_secret_name

__all__ = ["MAX_CHARACTERS", "parse", "parse_hosts", "parse_port", "parse_query"]

MAX_CHARACTERS = 65_536
"""Longest text that is taken for a URL; the longest real ones, with a token of RDS, have some thousands."""

DIALECTS: dict[str, Dialect] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "pgsql": "postgresql",
    "psql": "postgresql",
    "postgis": "postgresql",
    "mysql": "mysql",
    "mysql2": "mysql",
    "mariadb": "mariadb",
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "mssql": "mssql",
    "sqlserver": "mssql",
    "snowflake": "snowflake",
    "duckdb": "duckdb",
}
"""The schemes that are understood, and the database that each means."""

# Hints for URLs of other systems that are often set by mistake. Other unknown schemes are not repeated.
_OTHER_SCHEMES = words(
    "redis rediss mongodb mongodb+srv amqp amqps http https kafka nats oracle cockroachdb redshift bigquery "
    "clickhouse trino elasticsearch ftp file s3 memcached ldap db2 firebird sybase cassandra neo4j bolt"
)
_FILE_DIALECTS = frozenset({"sqlite", "duckdb"})
# The plain form of a URL of a server, in which no character has to be read twice: most URLs, in one step.
_PLAIN = re.compile(
    r"([a-z0-9]+)(?:\+([a-z0-9_]+))?://(?:([\w.~-]+)(?::([\w.~!*-]*))?@)?([\w.~-]+)(?::([1-9][0-9]{0,3}))?(?:/([\w.~-]*))?(?:\?([\w.~=&-]*))?",
    re.ASCII,
)
_HOST = re.compile(r"[\w.~-]+")
_HOST_MSSQL = re.compile(r"[\w.~\\()\- ]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(?:%[\w.~-]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_KEY_VALUE_DSN = re.compile(r"\s*\w+\s*=")
_ADDRESS_HEAD = re.compile(r"[^:]*(?::[0-9]+)?|\[[^\]]*\](?::[0-9]+)?")
_NAME_AND_VALUE = re.compile(r"[A-Za-z][\w.-]*=.*")

_ESCAPE = (
    "Percent-encode the special characters of user and password: "
    "@ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"
)


def parse(text: str, place: str) -> ParsedUrl:
    """Take a URL apart.

    Args:
        text: The URL; blanks, line ends and quotes around it are dropped.
        place: Where it was found, for the error.

    Raises:
        InvalidUrl: The text is not a database URL.
        UnknownScheme: It is a URL of something else.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None and len(text) <= MAX_CHARACTERS:
        name, driver, username, password, host, port, database, query = plain.groups()
        dialect = DIALECTS.get(name)
        if dialect is not None and dialect not in _FILE_DIALECTS:
            hosts = ((host, int(port) if port else None),)
            options = parse_query(query, place) if query else {}
            return ParsedUrl(dialect, driver, username, password, hosts, None, None, database, options)
    text = clean(text, place)
    scheme, separator, rest = text.partition("://")
    if not separator:
        _not_a_url(text, place)
    if scheme[:5].lower() == "jdbc:":
        scheme = scheme[5:]
    name, plus, driver = scheme.partition("+")
    dialect = DIALECTS.get(name)
    if dialect is None:
        dialect = DIALECTS.get(name.lower())
        if dialect is None:
            _unknown_scheme(scheme, place)
    parsed = ParsedUrl(dialect, driver.lower() if plus and driver else None)
    if dialect == "mssql" and ";" in rest:
        rest = _join_properties(rest)
    if dialect in _FILE_DIALECTS:
        _parse_file(parsed, rest, place)
    else:
        _parse_server(parsed, rest, place)
    return parsed


def clean(text: str, place: str) -> str:
    """Drop what surrounds a URL (blanks, line ends, a byte order mark, quotes) and refuse what can't be in one.

    Raises:
        InvalidUrl: The text is too long or has control characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidUrl(
            place,
            f"holds {len(text):,} characters, and a database URL has at most {MAX_CHARACTERS:,}",
            "Set it to the URL alone",
        )
    text = text.strip("\ufeff \t\r\n\v\f")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        # `docker run --env-file` and unit files keep the quotes that a shell would have taken away.
        text = text[1:-1].strip()
    if not text.isprintable():
        found = _CONTROL.search(text)
        if found is not None:
            raise InvalidUrl(
                place,
                f"has a control character ({_name_of(found[0])}) at position {found.start() + 1}",
                "Set it to the URL on one line; a control character of a password is percent-encoded",
            )
    return text


def _name_of(character: str) -> str:
    return {"\x00": "NUL", "\n": "line feed", "\r": "carriage return", "\t": "tab"}.get(
        character, f"U+{ord(character):04X}"
    )


def _not_a_url(text: str, place: str) -> NoReturn:
    if _KEY_VALUE_DSN.match(text):
        problem = "holds a list of key=value pairs, not a URL"
    elif text[:1] in {"/", "."} or text[1:3] == ":\\":
        variable = place.split(" ", 1)[0]
        raise InvalidUrl(
            place,
            "holds a path, not a URL",
            f"Set {variable}_FILE to have the URL read from a file, or write sqlite:///path",
        )
    elif re.match(
        r"(?:jdbc:)?(?:sqlite3?|duckdb|postgres(?:ql)?|mysql|mariadb|mssql|sqlserver|snowflake):", text, re.IGNORECASE
    ):
        problem = "is not a URL: the // after the scheme's colon is missing"
    else:
        problem = "is not a URL: it has no ://"
    raise InvalidUrl(
        place, problem, "Write dialect://user:password@host:port/database, e.g. postgresql://app@db:5432/app"
    )


def _unknown_scheme(scheme: str, place: str) -> NoReturn:
    scheme = scheme.lower()
    shown = f"the scheme {scheme}://" if scheme in _OTHER_SCHEMES else "the scheme, the text before ://,"
    raise UnknownScheme(
        place,
        f"{shown} is of no database that is known here",
        "Known are postgresql, postgres, mysql, mariadb, sqlite, mssql, sqlserver, snowflake, duckdb, or with +driver",
    )


def _join_properties(rest: str) -> str:
    """Turn the ;name=value properties of JDBC and Prisma URLs for SQL Server into query parameters."""
    authority, _, properties = rest.partition(";")
    if "?" in authority:
        return rest
    pairs = (item.replace("%", "%25").replace("&", "%26").replace("+", "%2B") for item in properties.split(";") if item)
    return authority + "?" + "&".join(pairs)


def _parse_file(parsed: ParsedUrl, rest: str, place: str) -> None:
    path, _, query = rest.partition("?")
    if path and path[0] != "/":
        raise InvalidUrl(
            place,
            "has a host, and a file needs three slashes",
            f"Write {parsed.dialect}:///relative/path, {parsed.dialect}:////absolute/path or {parsed.dialect}:///:memory:",
        )
    if path:
        parsed.database = _decode(path[1:], place)
    if query:
        parsed.options = parse_query(query, place)


def _parse_server(parsed: ParsedUrl, rest: str, place: str) -> None:
    userinfo, authority, path, query = _split(rest, place)
    if userinfo is not None:
        username, colon, password = userinfo.partition(":")
        parsed.username = _decode(username, place)
        if colon:
            parsed.password = _decode(password, place)
    if authority:
        if authority[:3].lower() == "%2f":
            socket, _, port = authority.partition(":")
            parsed.socket = _decode(socket, place)
            parsed.socket_port = parse_port(port, place)
        else:
            parsed.hosts = parse_hosts(authority, parsed.dialect, place)
    if path is not None:
        parsed.database = _decode(path, place)
    if query:
        parsed.options = parse_query(query, place)


def _split(rest: str, place: str) -> tuple[str | None, str, str | None, str]:
    """Split into user info, authority, path and query, or refuse what can be read in two ways.

    A password with an unescaped / ? or # is accepted where no other reading makes sense, as SQLAlchemy does; one with
    an unescaped @ is refused, because its tail would be taken for the host and printed by every error of the driver.
    """
    userinfo: str | None = None
    if "@" in rest:
        end = _end_of_authority(rest)
        head = rest[:end]
        at_signs = head.count("@")
        if at_signs == 1:
            at = head.index("@")
        elif at_signs > 1:
            _unescaped_at(place)
        else:
            at = _at_after_authority(rest, head, place)
        if at >= 0:
            userinfo, rest = rest[:at], rest[at + 1 :]
            tail_end = _end_of_authority(rest)
            path, _, query = rest[tail_end:].partition("?")
            if "@" in path or ("@" in query and (not path or not _in_values_only(query))):
                _unescaped_at(place)
    authority, slash, path_and_query = rest.partition("/")
    if "?" in authority:
        authority, _, query = rest.partition("?")
        return userinfo, authority, None, query
    path, _, query = path_and_query.partition("?")
    return userinfo, authority, path if slash else None, query


def _end_of_authority(text: str) -> int:
    ends = [at for at in (text.find("/"), text.find("?"), text.find("#")) if at >= 0]
    return min(ends) if ends else len(text)


def _at_after_authority(rest: str, head: str, place: str) -> int:
    """Position of the @ that ends the user info, when it comes after a / ? or #, or -1 if it belongs to the query."""
    before_query, _, query = rest[len(head) :].partition("?")
    if "@" not in before_query and _ADDRESS_HEAD.fullmatch(head) and _in_values_only(query):
        return -1
    if ":" not in head or head[-1] == ":" or rest.count("@") > 1:
        _unescaped_at(place)
    return rest.index("@")


def _in_values_only(query: str) -> bool:
    return all("@" not in item or _NAME_AND_VALUE.fullmatch(item) for item in query.split("&"))


def _unescaped_at(place: str) -> NoReturn:
    raise InvalidUrl(place, "has an @ that is not escaped, so that the host can't be told from the password", _ESCAPE)


def parse_hosts(authority: str, dialect: Dialect, place: str) -> tuple[Host, ...]:
    """Read ``host``, ``host:port``, ``[address]:port`` or several of them between commas.

    Raises:
        InvalidUrl: A host name or port can't be one.
    """
    if "," not in authority:
        return (_parse_host(authority, dialect, place),) if authority != ":" else ()
    return tuple(_parse_host(one, dialect, place) for one in authority.split(","))


def _parse_host(text: str, dialect: Dialect, place: str) -> Host:
    if text[:1] == "[":
        address, bracket, port = text[1:].partition("]")
        address = _decode(address, place)
        if not bracket or ":" not in address or not _IPV6.fullmatch(address) or port[:1] not in {"", ":"}:
            _bad_host(place)
        return address, parse_port(port[1:], place)
    host, _, port = text.partition(":")
    if ":" in port:
        raise InvalidUrl(
            place, "the host has several colons", f"An IPv6 address stands in brackets: [::1]:5432. {_ESCAPE}"
        )
    if "%" in host:
        host = _decode(host, place)
    if not (_HOST_MSSQL if dialect == "mssql" else _HOST).fullmatch(host) and (host or not port):
        _bad_host(place)
    return host, parse_port(port, place)


def _bad_host(place: str) -> NoReturn:
    raise InvalidUrl(
        place,
        "the host has a character that no host name has, such as a blank, $, { or #, or is empty",
        f"Fill in placeholders such as ${{DB_HOST}}; write an IPv6 address in brackets. {_ESCAPE}",
    )


def parse_port(text: str, place: str) -> int | None:
    """Read a port number; an empty text is None, the database's usual port.

    Raises:
        InvalidUrl: It is not a number from 1 to 65535.
    """
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < (port := int(text)) < 65_536:
        return port
    raise InvalidUrl(place, "the port is not a number from 1 to 65535", f"Write host:port, e.g. db:5432. {_ESCAPE}")


def parse_query(query: str, place: str) -> dict[str, str]:
    """Read ``name=value`` pairs; the last of repeated names wins, ``+`` is a blank, blank values are dropped.

    Repeated ``host`` parameters are joined by commas, since that is SQLAlchemy's way to write several hosts.
    """
    options: dict[str, str] = {}
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if not value:
            # Kept as a mark: behind it may stand the tail of a secret that begins with an &.
            if is_secret_name(name):
                options.setdefault(name, "")
            continue
        if "%" in item or "+" in item:
            name, value = _decode_plus(name, place), _decode_plus(value, place)
            if not value.strip():
                continue
        if name == "host" and "host" in options:
            value = f"{options['host']},{value}"
        options[name] = value
    return options


def _decode(text: str, place: str) -> str:
    if "%" not in text:
        return text
    try:
        text = unquote(text, errors="strict")
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        _bad_escape(place)
    return text


def _decode_plus(text: str, place: str) -> str:
    try:
        text = unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        text = "\x00"
    if "\x00" in text:
        _bad_escape(place)
    return text


def _bad_escape(place: str) -> NoReturn:
    raise InvalidUrl(
        place,
        "a percent escape stands for NUL or for bytes that are not UTF-8",
        f"{_ESCAPE}; other characters as UTF-8",
    )


def conflict(place: str, one: str, other: str, remedy: str) -> NoReturn:
    """Raise for two parameters that contradict each other."""
    raise ConflictingOptions(place, f"{one} contradicts {other}", remedy)
