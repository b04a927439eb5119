"""Says, for people and as JSON, how a URL was found and what was made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from svc_infra.dburl.redaction import redact

if TYPE_CHECKING:
    from svc_infra.dburl.resolved import ResolvedUrl

__all__ = ["as_dict", "describe", "explain", "table"]


def explain(resolved: ResolvedUrl) -> str:
    """The places in order, then the result, without secrets."""
    return redact("\n".join(["looked at:", *table(resolved.looks), "result:", *describe(resolved)]))


def describe(resolved: ResolvedUrl) -> list[str]:
    """The result, a line for each fact."""
    facts = [
        ("source", resolved.source),
        ("url", str(resolved.url)),
        ("driver", f"{resolved.driver} ({resolved.mode})"),
        *(("connect_args", f"{name}={value!r}") for name, value in resolved.connect_args.items()),
        *(("pool", f"{name}={value!r}") for name, value in resolved.pool_options.items()),
        *([("pooler", "in transaction mode: nothing is kept in a session")] if resolved.pooler else []),
        *([("password", f"read for each new connection: {resolved.password!r}")] if resolved.password else []),
        *(("note", note) for note in resolved.notes),
    ]
    return table(facts)


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Rows of two columns, the first one padded."""
    rows = list(rows)
    width = max((len(first) for first, _ in rows), default=0)
    return [f"  {first:<{width}}  {second}" for first, second in rows]


def as_dict(resolved: ResolvedUrl) -> dict[str, object]:
    """The same for JSON."""
    return {
        "source": resolved.source,
        "looked_at": [{"place": place, "found": found} for place, found in resolved.looks],
        "url": str(resolved.url),
        "dialect": resolved.dialect,
        "driver": resolved.driver,
        "mode": resolved.mode,
        "connect_args": {name: _plain(value) for name, value in resolved.connect_args.items()},
        "pool_options": resolved.pool_options,
        "pooler": resolved.pooler,
        "rotates_password": resolved.password is not None,
        "notes": list(resolved.notes),
    }


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return repr(value)
