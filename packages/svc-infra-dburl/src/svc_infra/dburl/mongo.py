"""Finds the MongoDB URL of a service, and the client options that the environment asks for.

MongoDB URLs have their own grammar (https://www.mongodb.com/docs/manual/reference/connection-string/), so they never go
through the reader of SQL URLs, and come out as they went in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

from svc_infra.dburl._dialects.reading import integer, refuse_tail
from svc_infra.dburl._environment import Environment, load_environment
from svc_infra.dburl._parsing import clean, parse_port
from svc_infra.dburl._sources.files import read_secret, shown_path
from svc_infra.dburl._sources.finding import Look
from svc_infra.dburl._words import words
from svc_infra.dburl.errors import ConflictingOptions, IncompleteParts, InvalidOption, InvalidUrl, UnknownScheme
from svc_infra.dburl.redaction import redact

__all__ = ["ResolvedMongoUrl", "resolve_mongo_url"]

DEFAULT_URL = "mongodb://localhost:27017"
_SCHEMES = ("mongodb://", "mongodb+srv://")
_MAX_APPNAME_BYTES = 128
# https://www.mongodb.com/docs/manual/reference/connection-string-options/ and PyMongo's own; another name behind a
# secret is the tail of one with an unescaped &.
_OPTIONS = words(
    "appname authmechanism authmechanismproperties authsource compressors connect connecttimeoutms directconnection "
    "document_class enableoverloadretargeting fsync gssapiservicename heartbeatfrequencyms j journal loadbalanced "
    "localthresholdms maxconnecting maxidletimems maxpoolsize maxstalenessseconds minpoolsize proxyhost "
    "proxypassword proxyport proxyusername readconcernlevel readpreference readpreferencetags replicaset retryreads "
    "retrywrites servermonitoringmode serverselectiontimeoutms serverselectiontryonce sockettimeoutms srvmaxhosts "
    "srvservicename ssl timeoutms tls tlsallowinvalidcertificates tlsallowinvalidhostnames tlscafile "
    "tlscertificatekeyfile tlscertificatekeyfilepassword tlscrlfile tlsdisableocspendpointcheck tlsinsecure "
    "tz_aware unicode_decode_error_handler uuidrepresentation w waitqueuetimeoutms wtimeoutms wtimeout "
    "zlibcompressionlevel"
)
_FORBIDDEN_IN_NAME = frozenset('/\\. "$*<>:|?')
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_ESCAPE = "Percent-encode user and password: @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"


@dataclass(frozen=True, slots=True)
class ResolvedMongoUrl:
    """A MongoDB URL, and what has to be passed to the client beside it.

    Attributes:
        url: The URL as it was given. It holds the password; `repr` of this object hides it.
        client_kwargs: ``appname``, ``minPoolSize`` and ``maxPoolSize``, each only when the URL does not set it, because
            PyMongo lets a keyword win over the URL.
        db_name: The database.
        source: The variable or file that the URL came from, or "default".
    """

    url: str
    client_kwargs: dict[str, object]
    db_name: str
    source: str
    _looks: tuple[Look, ...] = ()

    def explain(self) -> str:
        """Every place that was looked at, in order, and what came of it, as lines of text without secrets."""
        width = max([len(look.place) for look in self._looks], default=0)
        lines = ["looked at:", *(f"  {look.place:<{width}}  {look.found}" for look in self._looks), "result:"]
        lines += [
            f"  source         {self.source}",
            f"  url            {redact(self.url)}",
            f"  database       {self.db_name}",
        ]
        lines += [f"  client_kwargs  {name}={value!r}" for name, value in self.client_kwargs.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ResolvedMongoUrl({redact(self.url)!r}, db_name={self.db_name!r}, source={self.source!r})"


def resolve_mongo_url(
    environ: Mapping[str, str] = os.environ,
    *,
    env_file: str | os.PathLike[str] | None = ".env",
    secrets_dir: str | os.PathLike[str] | None = "/run/secrets",
) -> ResolvedMongoUrl:
    """Find the MongoDB URL of this service.

    It is that of MONGO_URL, else of the file of MONGO_URL_FILE, else of ``mongo_url`` in `secrets_dir`, else localhost.
    MONGO_DB names the database, else the URL's path does. MONGO_APPNAME (svc-infra), MONGO_MIN_POOL (0) and
    MONGO_MAX_POOL (100 connections) count where the URL does not say it.

    Args:
        environ: The process environment; each of its variables beats the one in `env_file`.
        env_file: A .env file, by default the project's, or None for none.
        secrets_dir: Where Docker and Kubernetes mount secrets, or None to look at none.

    Raises:
        InvalidUrl: The text is no MongoDB URL.
        UnreadableSource: A file that is named can't be read, or is blank.
        IncompleteParts: Neither MONGO_DB nor the URL names the database.
        InvalidOption: A variable has a value that it can't have.

    Example:
        >>> found = resolve_mongo_url({"MONGO_URL": "mongodb://u:secret@h/app"}, env_file=None, secrets_dir=None)
        >>> found.db_name, found
        ('app', ResolvedMongoUrl('mongodb://u:***@h/app', db_name='app', source='MONGO_URL'))
    """
    environment = load_environment(environ, env_file)
    looks: list[Look] = []
    text, source = _find(environment, secrets_dir, looks)
    url = clean(text, source)
    path, options = _check(url, source)
    db_name = _database(environment, path, source)
    arguments: dict[str, object] = {}
    if "appname" not in options:
        arguments["appname"] = _appname(environment)
    for variable, option, default in (("MONGO_MIN_POOL", "minPoolSize", 0), ("MONGO_MAX_POOL", "maxPoolSize", 100)):
        if option.lower() not in options:
            value = environment.get(variable)
            arguments[option] = default if value is None else integer(variable, value, environment.place(variable))
    _check_sizes(options, arguments, source)
    return ResolvedMongoUrl(url, arguments, db_name, source, tuple(looks))


def _find(environment: Environment, secrets_dir: str | os.PathLike[str] | None, looks: list[Look]) -> tuple[str, str]:
    text = environment.get("MONGO_URL")
    if text is not None:
        place = environment.place("MONGO_URL")
        looks.append(Look(place, "a URL"))
        return text, place
    looks.append(Look("MONGO_URL", "not set"))
    path = environment.get("MONGO_URL_FILE")
    if path is not None:
        place = environment.place("MONGO_URL_FILE")
        text = read_secret(path.strip(), place)
        looks.append(Look(place, f"the file {shown_path(path.strip())}"))
        return text, place
    looks.append(Look("MONGO_URL_FILE", "not set"))
    if secrets_dir is not None:
        file = Path(secrets_dir, "mongo_url")
        if file.exists():
            text = read_secret(str(file), None)
            looks.append(Look(str(file), "a URL"))
            return text, str(file)
        looks.append(Look(str(file), "no such file"))
    looks.append(Look("default", DEFAULT_URL))
    return DEFAULT_URL, "default"


def _check(url: str, place: str) -> tuple[str, dict[str, str]]:
    """The database in the path, percent-decoded, and the options with their names in small letters."""
    scheme = next((scheme for scheme in _SCHEMES if url[: len(scheme)].lower() == scheme), None)
    if scheme is None:
        raise UnknownScheme(
            place,
            "has not the scheme of a MongoDB URL",
            "Write mongodb://user:password@host:27017/database or mongodb+srv://...",
        )
    rest = url[len(scheme) :]
    before_query, _, query = rest.partition("?")
    authority, _, path = before_query.partition("/")
    if authority.count("@") > 1 or "@" in path or ("@" in query and "@" not in authority and "/" not in before_query):
        _invalid(place, "has an @, / or ? in user or password that is not escaped", _ESCAPE)
    userinfo, at, hosts = authority.rpartition("@")
    if at and (not userinfo or userinfo.startswith(":") or userinfo.count(":") > 1):
        _invalid(place, "has no user before the @, or a colon that is not escaped", _ESCAPE)
    if not hosts:
        _invalid(place, "names no host", "Write mongodb://host:27017/database")
    for host in hosts.split(","):
        _check_host(host, place, srv=scheme == _SCHEMES[1])
    if scheme == _SCHEMES[1] and "," in hosts:
        _invalid(
            place,
            "names several hosts, and mongodb+srv:// takes one",
            "Write one host name, or mongodb:// with all hosts",
        )
    options = {}
    for item in query.replace(";", "&").split("&"):
        name, equals, value = item.partition("=")
        if item and not equals:
            _invalid(place, "has an option without a value, or a ? in the password that is not escaped", _ESCAPE)
        options[name.lower()] = unquote(value)
    refuse_tail(options, _OPTIONS, place)
    return unquote(path), {name: value for name, value in options.items() if value}


def _check_host(host: str, place: str, *, srv: bool) -> None:
    if host[:3].lower() == "%2f":
        return
    address = _ADDRESS.match(host)
    name, colon, port = host[address.end() :].partition(":") if address is not None else host.partition(":")
    if colon and not port:
        _invalid(place, "has a colon and no port behind it", f"Write host:27017. {_ESCAPE}")
    if srv and port:
        _invalid(place, "names a port, and mongodb+srv:// finds it by DNS", "Remove the port")
    parse_port(port, place)
    if bool(name) is (address is not None) or any(character in ' #$<>{}[]"`\\' for character in name):
        _invalid(
            place, "the host is empty or has a character that no host name has", f"Fill in placeholders. {_ESCAPE}"
        )


def _invalid(place: str, problem: str, remedy: str) -> NoReturn:
    raise InvalidUrl(place, problem, remedy)


def _database(environment: Environment, path: str, source: str) -> str:
    name = environment.get("MONGO_DB")
    place = environment.place("MONGO_DB") if name is not None else source
    name = name.strip() if name is not None else path
    if not name:
        raise IncompleteParts(
            "MONGO_DB",
            f"is not set, and the URL ({source}) names no database",
            "Set MONGO_DB, or end the URL in /database",
        )
    if len(name.encode()) > 63 or not name.isprintable() or _FORBIDDEN_IN_NAME & set(name):
        # https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
        raise InvalidOption(
            place,
            "the database's name is longer than 63 bytes or has one of / \\ . \" $ * < > : | ? or a blank",
            "Correct it",
        )
    return name


def _appname(environment: Environment) -> str:
    name = (environment.get("MONGO_APPNAME") or "svc-infra").strip()
    if len(name.encode()) > _MAX_APPNAME_BYTES:
        raise InvalidOption(
            environment.place("MONGO_APPNAME"), f"has more than {_MAX_APPNAME_BYTES} bytes", "Shorten it"
        )
    return name


def _check_sizes(options: dict[str, str], arguments: dict[str, object], place: str) -> None:
    sizes = []
    for option in ("minPoolSize", "maxPoolSize"):
        size = arguments.get(option)
        sizes.append(size if isinstance(size, int) else integer(option, options[option.lower()], place))
    if sizes[1] and sizes[0] > sizes[1]:
        raise ConflictingOptions(
            "MONGO_MIN_POOL, MONGO_MAX_POOL",
            f"the smallest pool ({sizes[0]}) is larger than the largest ({sizes[1]})",
            "Correct one of them",
        )
