"""Renders the parts of a URL as one text that resolves to the same again."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

from svc_infra.dburl._database_url import ParsedUrl
from svc_infra.dburl._drivers import Driver
from svc_infra.dburl.redaction import MASK, is_secret_name, redact_odbc

__all__ = ["render"]


def render(parsed: ParsedUrl, driver: Driver, *, hide_secrets: bool) -> str:
    """Render with every option in the query, under the names that all drivers of the database share."""
    text = f"{parsed.dialect}+{driver.name}://" if driver.name else f"{parsed.dialect}://"
    if parsed.username is not None:
        text += quote(parsed.username, safe="")
        if parsed.password is not None:
            text += ":" + (MASK if hide_secrets else quote(parsed.password, safe=""))
        text += "@"
    text += ",".join(_host(host, port) for host, port in parsed.hosts)
    if parsed.database is not None:
        text += "/" + quote(parsed.database, safe="/")
    pairs = []
    if parsed.socket is not None:
        name = "host" if parsed.dialect == "postgresql" else "unix_socket"
        pairs.append(f"{name}={quote(parsed.socket, safe='/')}")
        if parsed.socket_port is not None:
            pairs.append(f"port={parsed.socket_port}")
    for name, value in parsed.options.items():
        if hide_secrets:
            shown = MASK if is_secret_name(name) else redact_odbc(value) if name == "odbc_connect" else value
        else:
            shown = value
        pairs.append(f"{quote_plus(name)}={quote_plus(shown, safe='/*')}")
    return f"{text}?{'&'.join(pairs)}" if pairs else text


def _host(host: str, port: int | None) -> str:
    shown = f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")
    return shown if port is None else f"{shown}:{port}"
