"""Fourth source: variables that hold host, name and the rest of a URL."""

from __future__ import annotations

from svc_infra.dburl._database_url import Dialect, Host, ParsedUrl
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._parsing import DIALECTS, MAX_CHARACTERS, clean, parse_hosts, parse_port, parse_query
from svc_infra.dburl._sources.files import read_secret, shown_path
from svc_infra.dburl._sources.finding import Finding, Look
from svc_infra.dburl.errors import ConflictingOptions, IncompleteParts, InvalidOption, InvalidUrl

__all__ = ["PLACE", "VARIABLES", "find"]

VARIABLES = ("DB_DIALECT", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD", "DB_PASSWORD_FILE")
"""Any of these, when set, means that the URL is to be composed; DB_DRIVER and DB_PARAMS alone do not."""

PLACE = "DB_* variables"
"""What errors and explanations call this source."""

_FILE_DIALECTS = frozenset({"sqlite", "duckdb"})


def find(environment: Environment, looks: list[Look]) -> Finding | None:
    """Compose a URL of the DB_* variables, if any is set.

    Raises:
        IncompleteParts: DB_NAME or, where the database has a server, DB_HOST is missing.
        InvalidOption: One has a value that it can't have.
        ConflictingOptions: Two contradict each other.
        UnreadableSource: The file of DB_PASSWORD_FILE can't be read.
    """
    given = [name for name in VARIABLES if environment.get(name) is not None]
    if not given:
        looks.append(Look("DB_HOST, DB_NAME and the other DB_* variables", "not set"))
        return None
    looks.append(Look(PLACE, f"{', '.join(given)} set"))
    dialect = _dialect(environment)
    name, host = _text(environment, "DB_NAME"), _text(environment, "DB_HOST")
    is_file = dialect in _FILE_DIALECTS
    missing = [
        variable
        for variable, value in (("DB_HOST", host), ("DB_NAME", name))
        if value is None and not (is_file and variable == "DB_HOST")
    ]
    if missing:
        raise IncompleteParts(
            f"{', '.join(given)}",
            f"set, but not {' and '.join(missing)}, so that there is no URL to compose",
            f"Set {' and '.join(missing)}, or SQL_URL to the whole URL",
        )
    parsed = ParsedUrl(dialect, database=name)
    read_password: _PasswordFile | None = None
    if is_file:
        if host is not None:
            raise ConflictingOptions(
                "DB_HOST", f"is set, and DB_DIALECT={dialect} is a file without a host", "Unset DB_HOST"
            )
    else:
        _set_server(parsed, host or "", environment)
        parsed.username = _text(environment, "DB_USER")
        parsed.password, read_password = _password(environment)
        if parsed.password is not None and parsed.username is None:
            parsed.username = ""
    params = _text(environment, "DB_PARAMS")
    if params is not None:
        parsed.options = parse_query(params.removeprefix("?"), environment.place("DB_PARAMS"))
    return Finding(parsed, PLACE, read_password)


def _dialect(environment: Environment) -> Dialect:
    value = environment.get("DB_DIALECT")
    if value is None:
        return "postgresql"
    dialect = DIALECTS.get(value.strip().lower())
    if dialect is None:
        raise InvalidOption(
            environment.place("DB_DIALECT"),
            "is no database that is known here",
            "Set it to postgresql, mysql, mariadb, sqlite, mssql, snowflake or duckdb; the driver goes into DB_DRIVER",
        )
    return dialect


def _text(environment: Environment, name: str) -> str | None:
    value = environment.get(name)
    return None if value is None else clean(value, environment.place(name))


def _set_server(parsed: ParsedUrl, host: str, environment: Environment) -> None:
    place = environment.place("DB_HOST")
    port_text = (environment.get("DB_PORT") or "").strip()
    if host[0] in "/@":
        parsed.socket = host
        parsed.socket_port = parse_port(port_text, environment.place("DB_PORT"))
        return
    if "://" in host or "@" in host:
        raise InvalidUrl(place, "holds more than a host", "Set SQL_URL to the whole URL, or DB_HOST to the host alone")
    if host.count(":") > 1 and host[0] != "[" and "," not in host:
        host = f"[{host}]"
    hosts = parse_hosts(host, parsed.dialect, place)
    ports = [parse_port(one.strip(), environment.place("DB_PORT")) for one in port_text.split(",")]
    if len(ports) not in {1, len(hosts)}:
        raise ConflictingOptions(
            "DB_PORT", "has another number of ports than DB_HOST has hosts", "Give one port, or one for each host"
        )
    ports *= len(hosts) if len(ports) == 1 else 1
    parsed.hosts = tuple(_merge(one, port) for one, port in zip(hosts, ports, strict=True))


def _merge(host: Host, port: int | None) -> Host:
    if host[1] is not None and port is not None and host[1] != port:
        raise ConflictingOptions("DB_PORT", "contradicts the port in DB_HOST", "Keep one of them")
    return host if port is None else (host[0], port)


def _password(environment: Environment) -> tuple[str | None, _PasswordFile | None]:
    value = environment.get("DB_PASSWORD")
    if value is not None:
        place = environment.place("DB_PASSWORD")
        if len(value) > MAX_CHARACTERS or "\x00" in value:
            raise InvalidOption(
                place, "is too long for a password or holds a NUL character", "Set it to the password alone"
            )
        return value.strip("\r\n"), None
    path = environment.get("DB_PASSWORD_FILE")
    if path is None:
        return None, None
    file = _PasswordFile(path.strip(), environment.place("DB_PASSWORD_FILE"))
    return file(), file


class _PasswordFile:
    """Reads the password anew from the file of DB_PASSWORD_FILE."""

    def __init__(self, path: str, place: str) -> None:
        self._path = path
        self._place = place

    def __call__(self) -> str:
        return read_secret(self._path, self._place, line_ends_only=True)

    def __repr__(self) -> str:
        return f"<password in {shown_path(self._path)}>"
