"""Hides the secrets of a URL, wherever they stand in it."""

from __future__ import annotations

import re
from urllib.parse import quote_plus

from sqlalchemy import URL

__all__ = ["MASK", "is_secret_name", "redact", "redact_url"]

MASK = "***"
"""What stands in the place of a secret."""

_NAMES = (
    r"[\w.-]*(?:password|passwd|passphrase|passcode|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]*"
    r"|pwd|pass|pw|authmechanismproperties|proxypassword|tlscertificatekeyfilepassword"
)
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_SCHEME = re.compile(r"(?:(?<=[\s\"'(,;=<>])|^)(?=(?:jdbc:)?[a-z][a-z0-9+]*://)", re.IGNORECASE | re.MULTILINE)
# Each has the secret as its first group. A value runs over an unescaped & when what follows is not another name=.
_SECRETS = (
    re.compile(r"://[^:/@\s?#]*:(.*)@"),
    re.compile(rf"[?&;](?:{_NAMES})=([^&\n]*(?:&(?![\w.-]+=)[^&\n]*)*)", re.IGNORECASE),
    re.compile(r"[?&]odbc_connect=([^&\n]*)", re.IGNORECASE),
    re.compile(rf"\"(?:{_NAMES})\"\s*:\s*\"((?:[^\"\\]|\\.)*)(?:\"|$)", re.IGNORECASE),
    re.compile(
        rf"(?<![\w?&.-])(?:{_NAMES})\s*=\s*('(?:[^'\\]|\\.)*'|\{{(?:[^}}]|}}}})*}}?[^;\s]*|[^\s;&]+)", re.IGNORECASE
    ),
)
_ODBC_SECRET = re.compile(
    r"((?:^|;)\s*(?:pwd|password|[\w ]*token|[\w ]*secret|[\w ]*password)\s*=\s*)"
    r"(?:\{(?:[^}]|\}\})*(?:\}|$)[^;]*|[^;]*)(?:;[^=;]*(?=;|$))*",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether a parameter or variable of this name holds a password, token or key.

    Example:
        >>> is_secret_name("sslpassword"), is_secret_name("motherduck_token"), is_secret_name("sslkey")
        (True, True, False)
    """
    return _SECRET_NAME.fullmatch(name) is not None


def redact_odbc(text: str) -> str:
    """Hide the secrets of an ODBC connection string, e.g. ``PWD=...``."""
    return _ODBC_SECRET.sub(rf"\g<1>{MASK}", text)


def redact_url(url: URL) -> str:
    """Render a URL with ``***`` in the place of the password and of each secret parameter."""
    hidden: dict[str, str | tuple[str, ...]] = {}
    for name, value in url.query.items():
        if is_secret_name(name):
            hidden[name] = MASK
        elif name == "odbc_connect":
            values = (value,) if isinstance(value, str) else value
            hidden[name] = tuple(redact_odbc(one) for one in values)
    shown = URL.create(
        url.drivername,
        url.username,
        None if url.password is None else MASK,
        url.host,
        url.port,
        url.database,
        {**url.query, **hidden},
    )
    text = shown.render_as_string()
    if hidden:
        text = text.replace(quote_plus(MASK), MASK)
    # A host can't have an @: it is the tail of a password in which the @ was not escaped.
    return redact(text) if url.host is not None and "@" in url.host else text


def redact(text: str | URL) -> str:
    """Hide every secret that stands in a text as part of a URL, key=value list, ODBC string or JSON.

    Meant for text of any origin, so it hides rather too much: from the first colon after ``://`` to the last ``@``.

    Example:
        >>> redact("connecting to postgresql://u:p@ss@h/db?sslpassword=x&sslmode=require")
        'connecting to postgresql://u:***@h/db?sslpassword=***&sslmode=require'
    """
    if isinstance(text, URL):
        return redact_url(text)
    return "".join(_redact_segment(segment) for segment in _SCHEME.split(text))


def _redact_segment(text: str) -> str:
    spans = sorted(match.span(1) for pattern in _SECRETS for match in pattern.finditer(text))
    shown: list[str] = []
    position = 0
    for start, end in spans:
        # What two patterns claim is hidden as a whole: each may have found the other's secret only in part.
        if start > position or not shown:
            shown += [text[position:start], MASK]
        position = max(position, end)
    return "".join([*shown, text[position:]])
