"""Turns the parts of a URL into what an engine needs: a SQLAlchemy URL and connect arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy.util import immutabledict

from svc_infra.dburl._database_url import Dialect, Mode, ParsedUrl
from svc_infra.dburl._dialects import duckdb, mssql, mysql, postgresql, snowflake, sqlite
from svc_infra.dburl._dialects.reading import PARTS_IN_QUERY, POOL_OPTIONS, Query, Rules, pool_settings
from svc_infra.dburl._drivers import Driver, choose_driver, drivers_of, is_driver
from svc_infra.dburl._environment import Environment
from svc_infra.dburl._parsing import parse_hosts, parse_port
from svc_infra.dburl.errors import ConflictingOptions, InvalidOption
from svc_infra.dburl.secret_url import SecretURL

__all__ = ["Wish", "build_url", "complete_url", "wish_of", "wished_driver"]

_NO_QUERY: immutabledict[str, str | tuple[str, ...]] = immutabledict()
_RULES: dict[Dialect, Rules] = {
    "postgresql": postgresql.RULES,
    "mysql": mysql.RULES,
    "mariadb": mysql.RULES,
    "sqlite": sqlite.RULES,
    "mssql": mssql.RULES,
    "snowflake": snowflake.RULES,
    "duckdb": duckdb.RULES,
}


def complete_url(parsed: ParsedUrl, environment: Environment, place: str, notes: list[str]) -> None:
    """Bring the options of a URL into one form and fill in the defaults of its database, in place."""
    rules = _RULES[parsed.dialect]
    if parsed.options:
        if parsed.dialect not in {"sqlite", "duckdb"}:
            _take_parts_from_query(parsed, place)
        options = rules.normalise(parsed.options, place, notes)
        parsed.options = (
            {name: value for name, value in options.items() if value} if "" in options.values() else options
        )
        if not POOL_OPTIONS.isdisjoint(parsed.options):
            pool_settings(parsed.options, place)
    rules.complete(parsed, environment, place)


def _take_parts_from_query(parsed: ParsedUrl, place: str) -> None:
    found: dict[str, str] = {}
    for name in parsed.options:
        part = PARTS_IN_QUERY.get(name.lower())
        if (
            part is None
            or not parsed.options[name]
            or (parsed.dialect == "snowflake" and part not in {"username", "password"})
        ):
            continue
        value = parsed.options[name]
        if found.setdefault(part, value) != value:
            raise ConflictingOptions(place, f"gives the {part} twice in its query", "Keep one of them")
    for part in ("username", "password", "database"):
        if part in found:
            if (getattr(parsed, part) or found[part]) != found[part]:
                raise ConflictingOptions(place, f"gives the {part} both before and after the ?", "Keep one of them")
            setattr(parsed, part, found[part])
    if parsed.password is not None and parsed.username is None:
        parsed.username = ""
    host, port = found.get("host"), found.get("port")
    if host is not None or port is not None:
        _take_host(parsed, host, port, place)


def _take_host(parsed: ParsedUrl, host: str | None, port: str | None, place: str) -> None:
    if host is not None and host[0] in "/@":
        if parsed.hosts:
            raise ConflictingOptions(place, "gives both a host and a socket", "Keep one of them")
        parsed.socket, parsed.socket_port = host, parse_port(port or "", place)
        return
    if host is not None:
        names = [f"[{one}]" if one.count(":") > 1 and one[0] != "[" else one for one in host.split(",")]
        hosts = parse_hosts(",".join(names), parsed.dialect, place)
        if parsed.hosts and parsed.hosts != hosts:
            raise ConflictingOptions(place, "gives the host both before and after the ?", "Keep one of them")
        parsed.hosts = hosts
    if port is None:
        return
    ports = [parse_port(one, place) for one in port.split(",")]
    hosts = parsed.hosts or (("", None),)
    if len(ports) not in {1, len(hosts)}:
        raise ConflictingOptions(
            place, "gives another number of ports than hosts", "Give one port, or one for each host"
        )
    ports *= len(hosts) if len(ports) == 1 else 1
    for (_, own), one in zip(hosts, ports, strict=True):
        if own is not None and one is not None and own != one:
            raise ConflictingOptions(place, "gives two ports for a host", "Keep one of them")
    parsed.hosts = tuple((name, one if own is None else own) for (name, own), one in zip(hosts, ports, strict=True))


class Wish(NamedTuple):
    """The driver that someone asks for.

    Attributes:
        driver: Its name, or None if nobody asks for one.
        place: Who asks for it, for errors.
    """

    driver: str | None
    place: str


def wish_of(parsed: ParsedUrl, environment: Environment, place: str, *, is_composed: bool) -> Wish:
    """The driver asked for: by DB_FORCE_DRIVER, else by the URL, else by DB_DRIVER.

    Beside a whole URL of another database, DB_DRIVER is a left-over of parts that are not used, and does not count.
    """
    forced = environment.get("DB_FORCE_DRIVER")
    if forced is not None:
        return Wish(_driver_name(forced), environment.place("DB_FORCE_DRIVER"))
    if parsed.driver is None:
        preferred = environment.get("DB_DRIVER")
        if preferred is not None:
            name = _driver_name(preferred)
            if is_composed or name in drivers_of(parsed.dialect) or not is_driver(name):
                return Wish(name, environment.place("DB_DRIVER"))
    return Wish(parsed.driver, place)


def _driver_name(value: str) -> str | None:
    name = value.strip().lower().rpartition("+")[2]
    return None if name == "auto" else name


def wished_driver(parsed: ParsedUrl, wish: Wish, mode: Mode, installed: Callable[[str], bool]) -> Driver:
    """The driver for a mode: the one asked for, its counterpart, or the best that is installed."""
    return choose_driver(parsed.dialect, wish.driver, mode, wish.place, installed)


def build_url(parsed: ParsedUrl, driver: Driver, place: str, notes: list[str]) -> tuple[SecretURL, dict[str, object]]:
    """Translate to the driver: its URL, and the arguments of its `connect()`."""
    query, arguments = _RULES[parsed.dialect].translate[driver.name](parsed, notes)
    host: str | None = None
    port: int | None = None
    hosts = parsed.hosts
    if len(hosts) == 1:
        host, port = hosts[0]
        host = host or None
    elif hosts:
        query.update(_multihost(parsed, place))
    if parsed.socket is not None:
        _set_socket(parsed, query, place)
    name = f"{parsed.dialect}+{driver.name}" if driver.name else parsed.dialect
    url = SecretURL(
        name,
        parsed.username,
        parsed.password,
        host,
        port,
        parsed.database,
        immutabledict(query) if query else _NO_QUERY,
    )
    return url, arguments


def _multihost(parsed: ParsedUrl, place: str) -> Query:
    if parsed.dialect != "postgresql":
        raise InvalidOption(place, f"gives several hosts, and {parsed.dialect} takes one", "Keep one host")
    # asyncpg wants a port for each; SQLAlchemy's host=name:port form can't hold the colons of IPv6.
    ports = [port or 5432 for _, port in parsed.hosts]
    names = [name for name, _ in parsed.hosts]
    if any(":" in name for name in names):
        return {"host": ",".join(names), "port": ",".join(map(str, ports))}
    return {"host": tuple(f"{name}:{port}" for name, port in zip(names, ports, strict=True))}


def _set_socket(parsed: ParsedUrl, query: Query, place: str) -> None:
    if parsed.dialect == "postgresql":
        query["host"] = parsed.socket or ""
        if parsed.socket_port is not None:
            query["port"] = str(parsed.socket_port)
    elif parsed.dialect in {"mysql", "mariadb"}:
        query["unix_socket"] = parsed.socket or ""
    else:
        raise InvalidOption(place, f"gives a socket, and {parsed.dialect} has none", "Give a host")
