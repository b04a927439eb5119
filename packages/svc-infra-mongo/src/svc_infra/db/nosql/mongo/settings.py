"""Where the MongoDB deployment is and how it is used: explicit arguments over the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast

from svc_infra.db.nosql.mongo.errors import MongoSettingsError
from svc_infra.dburl import redact
from svc_infra.dburl.mongo import resolve_mongo_url

__all__ = ["DriverName", "MongoSettings"]

DriverName: TypeAlias = Literal["motor", "pymongo"]
"""Motor, or its successor: the asyncio client of PyMongo itself."""

_DRIVERS: Final = ("motor", "pymongo")


class MongoSettings:
    """An immutable configuration. What is not given is read from the environment, once, here.

    | Argument | Variable | Default |
    |---|---|---|
    | `url` | `MONGO_URL`, `MONGO_URL_FILE`, `/run/secrets/mongo_url` | mongodb://localhost:27017 |
    | `db_name` | `MONGO_DB` | the database in the URL's path, else an error |
    | `appname` | `MONGO_APPNAME` | svc-infra |
    | `min_pool_size` | `MONGO_MIN_POOL` | 0 |
    | `max_pool_size` | `MONGO_MAX_POOL` | 100 |
    | `driver` | `MONGO_DRIVER` | motor |

    An argument wins over an option in the URL, an option in the URL over a variable.

    Args:
        url: `mongodb://` or `mongodb+srv://`.
        db_name: The database that `acquire_db` gives.
        appname: Shown in the server's log and profiler; up to 128 bytes.
        min_pool_size: Connections per server that are kept open.
        max_pool_size: Connections per server at most.
        driver: "motor", or "pymongo" for PyMongo's own asyncio client.
        server_selection_timeout_seconds: How long an operation waits for a suitable server. PyMongo's default is 30 s,
            longer than a request should hang.
        wait_queue_timeout_seconds: How long an operation waits for a connection of a full pool. PyMongo's default is
            for ever.
        options: More options of PyMongo's client, by their PyMongo names, such as `{"compressors": "zstd"}`.
        environ: The environment.
        env_file: A file of more variables, which the environment outranks; None for no file.
        secrets_dir: Where Docker and Kubernetes mount secrets.

    Raises:
        svc_infra.dburl.errors.DatabaseUrlError: The URL is malformed, a named file is missing or empty, or no database
            is named.
        MongoSettingsError: A number is out of range, or the driver is unknown.
    """

    __slots__ = (
        "_url",
        "client_kwargs",
        "db_name",
        "driver",
        "options",
        "server_selection_timeout_seconds",
        "source",
        "wait_queue_timeout_seconds",
    )

    _url: str
    db_name: str
    driver: DriverName
    client_kwargs: Mapping[str, object]
    options: Mapping[str, object]
    server_selection_timeout_seconds: float
    wait_queue_timeout_seconds: float
    source: str

    def __init__(
        self,
        url: str | None = None,
        db_name: str | None = None,
        *,
        appname: str | None = None,
        min_pool_size: int | None = None,
        max_pool_size: int | None = None,
        driver: DriverName | None = None,
        server_selection_timeout_seconds: float = 5.0,
        wait_queue_timeout_seconds: float = 10.0,
        options: Mapping[str, object] | None = None,
        environ: Mapping[str, str] = os.environ,
        env_file: str | os.PathLike[str] | None = ".env",
        secrets_dir: str | os.PathLike[str] = "/run/secrets",
    ) -> None:
        overlaid = dict(environ)
        if url is not None:
            overlaid["MONGO_URL"] = url
        if db_name is not None:
            overlaid["MONGO_DB"] = db_name
        resolved = resolve_mongo_url(overlaid, env_file=env_file, secrets_dir=secrets_dir)
        explicit = {"appname": appname, "minPoolSize": min_pool_size, "maxPoolSize": max_pool_size}
        kwargs = {**resolved.client_kwargs, **{name: value for name, value in explicit.items() if value is not None}}
        _require_sizes(kwargs)
        values: dict[str, object] = {
            "_url": resolved.url,
            "db_name": resolved.db_name,
            "driver": _driver(driver or _driver_variable(overlaid, env_file)),
            "client_kwargs": kwargs,
            "options": dict(options or {}),
            "server_selection_timeout_seconds": server_selection_timeout_seconds,
            "wait_queue_timeout_seconds": wait_queue_timeout_seconds,
            "source": "argument" if url is not None else resolved.source,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def url(self) -> str:
        """The URL with its password; `repr(settings)` and `redacted_url` hide it."""
        return self._url

    @property
    def redacted_url(self) -> str:
        """The URL with every secret hidden, for messages."""
        return redact(self._url)

    @property
    def max_pool_size(self) -> int | None:
        """Connections per server at most; None when the URL says it."""
        return cast("int | None", self.client_kwargs.get("maxPoolSize"))

    @property
    def min_pool_size(self) -> int | None:
        """Connections per server that are kept open; None when the URL says it."""
        return cast("int | None", self.client_kwargs.get("minPoolSize"))

    @property
    def appname(self) -> str | None:
        """The name shown by the server; None when the URL says it."""
        return cast("str | None", self.client_kwargs.get("appname"))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"MongoSettings is immutable; make another one instead of setting {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MongoSettings) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self._url, self.db_name, self.driver))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.client_kwargs.items())
        return f"MongoSettings(url={self.redacted_url!r}, db_name={self.db_name!r}, driver={self.driver!r}, {shown})"

    def _key(self) -> tuple[object, ...]:
        return (
            self._url,
            self.db_name,
            self.driver,
            self.client_kwargs,
            self.options,
            self.server_selection_timeout_seconds,
            self.wait_queue_timeout_seconds,
        )


def _driver_variable(environ: Mapping[str, str], env_file: str | os.PathLike[str] | None) -> str:
    found = environ.get("MONGO_DRIVER")
    if not found and env_file is not None:
        from dotenv import dotenv_values

        found = dotenv_values(env_file, interpolate=False).get("MONGO_DRIVER")
    return (found or "").strip().lower() or "motor"


def _driver(name: str) -> DriverName:
    if name not in _DRIVERS:
        raise MongoSettingsError(f"MONGO_DRIVER is {name!r}; it can be {' or '.join(_DRIVERS)}")
    return cast("DriverName", name)


def _require_sizes(kwargs: Mapping[str, object]) -> None:
    low, high = kwargs.get("minPoolSize"), kwargs.get("maxPoolSize")
    if isinstance(low, int) and low < 0:
        raise MongoSettingsError(f"the minimum pool size is {low}; it can't be negative")
    if isinstance(high, int) and high < 1:
        raise MongoSettingsError(f"the maximum pool size is {high}; it must be at least 1")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        raise MongoSettingsError(f"the minimum pool size {low} is more than the maximum {high}")
    name = kwargs.get("appname")
    if isinstance(name, str) and len(name.encode()) > 128:
        raise MongoSettingsError(f"the application name has {len(name.encode())} bytes; MongoDB takes 128 at most")
