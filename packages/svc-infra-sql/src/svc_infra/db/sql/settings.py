"""The settings of a `Database`: pool sizes, waits and timeouts, from arguments, the URL and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from svc_infra.db.sql.errors import InvalidSetting

__all__ = ["DatabaseSettings", "read_urls"]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

#: Field of `DatabaseSettings` to its environment variable.
_VARIABLES = {
    "pool_size": "DB_POOL_SIZE",
    "max_overflow": "DB_MAX_OVERFLOW",
    "pool_timeout": "DB_POOL_TIMEOUT",
    "pool_recycle": "DB_POOL_RECYCLE",
    "pool_pre_ping": "DB_POOL_PRE_PING",
    "statement_timeout_ms": "DB_STATEMENT_TIMEOUT_MS",
    "answer_timeout": "DB_ANSWER_TIMEOUT",
    "max_replica_lag_seconds": "DB_MAX_REPLICA_LAG",
}


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """How a `Database` uses its connections.

    Attributes:
        pool_size: Connections kept open, per process; at least 1, default 5.
        max_overflow: Connections opened above `pool_size` under load and closed after use; default 10.
        pool_timeout: Seconds that a session waits for a free connection before `PoolTimeout`; default 30.
        pool_recycle: Seconds after which a connection is replaced at its next checkout; -1 never, default 3600.
        pool_pre_ping: Whether a connection is tested at each checkout, so that a restarted server is not noticed by
            the application; default true.
        statement_timeout_ms: Milliseconds that one statement may run, or None, the default, for the server's own
            limit. 0 means no limit, as in PostgreSQL.
        answer_timeout: Seconds that a server may be silent on a statement without a limit, or on the next rows of a
            stream, before its connection is given up; 0 waits for ever, default 600. It is there for frozen servers
            and proxies; a dead network is noticed within a minute by TCP keep-alive.
        max_replica_lag_seconds: Seconds that a read replica may be behind and still answer read-only sessions; default
            10.

    Raises:
        InvalidSetting: When a value is out of range.
    """

    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout: float = 30.0
    pool_recycle: int = 3600
    pool_pre_ping: bool = True
    statement_timeout_ms: int | None = None
    answer_timeout: float = 600.0
    max_replica_lag_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values that SQLAlchemy would take and that mean something else than they say."""
        limits: tuple[tuple[str, float, float], ...] = (
            ("pool_size", self.pool_size, 1),
            ("max_overflow", self.max_overflow, 0),
            ("pool_timeout", self.pool_timeout, 0),
            ("pool_recycle", self.pool_recycle, -1),
            ("answer_timeout", self.answer_timeout, 0),
            ("max_replica_lag_seconds", self.max_replica_lag_seconds, 0),
            ("statement_timeout_ms", self.statement_timeout_ms or 0, 0),
        )
        for name, value, least in limits:
            if value < least:
                raise InvalidSetting(f"{name} ({_VARIABLES[name]}) is {value!r}; it must be {least} or more")

    @classmethod
    def resolve(
        cls,
        url_options: Mapping[str, float | bool],
        environ: Mapping[str, str] = os.environ,
        **arguments: float | bool | None,
    ) -> DatabaseSettings:
        """Collect the settings: an argument beats the URL's parameter, which beats the environment.

        Args:
            url_options: What the URL's parameters say (`ResolvedUrl.pool_options`).
            environ: Where `DB_POOL_SIZE` and the other variables are looked up; a blank value counts as unset.
            arguments: Settings by name; None counts as not given.

        Raises:
            InvalidSetting: When a value is not of its setting's kind or out of range; the message names the place.
        """
        values: dict[str, float | bool] = {}
        for name, variable in _VARIABLES.items():
            argument = arguments.get(name)
            if argument is not None:
                values[name] = argument
            elif name in url_options:
                values[name] = url_options[name]
            elif text := environ.get(variable, "").strip():
                values[name] = _parse(name, text, variable)
        return cls(**values)  # type: ignore[arg-type]  # each value was parsed as its field's type


def _parse(name: str, text: str, place: str) -> float | bool:
    if name == "pool_pre_ping":
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise InvalidSetting(f"{place} is {text!r}; use true or false")
    kind = float if name in ("answer_timeout", "max_replica_lag_seconds", "pool_timeout") else int
    try:
        return kind(text)
    except ValueError:
        raise InvalidSetting(
            f"{place} is {text!r}; it must be a {'number' if kind is float else 'whole number'}"
        ) from None


def read_urls(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the read replicas' URLs in the environment, each with the variable that it came from.

    `DB_READ_URLS` holds several, separated by blanks, line ends or commas; `READ_DB_URL` holds one.
    """
    several = environ.get("DB_READ_URLS", "").strip()
    if several:
        # A comma may also stand between the hosts of one URL, so it separates only before a scheme.
        return tuple((url, "DB_READ_URLS") for url in re.split(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+]*://)", several))
    one = environ.get("READ_DB_URL", "").strip()
    return ((one, "READ_DB_URL"),) if one else ()
