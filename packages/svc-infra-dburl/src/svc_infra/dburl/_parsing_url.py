"""Takes a URL that SQLAlchemy has parsed back to text, so that one reader serves both."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

from sqlalchemy import URL

__all__ = ["text_of"]


def text_of(url: URL) -> str:
    """The URL as text, percent-encoded throughout whichever SQLAlchemy made it.

    SQLAlchemy 2.0 does not encode the database when rendering, and neither version encodes the host.
    """
    text = f"{url.drivername}://"
    if url.username is not None or url.password is not None:
        text += quote(url.username or "", safe="")
        if url.password is not None:
            text += ":" + quote(str(url.password), safe="")
        text += "@"
    if url.host is not None:
        # An @ in it is the tail of a password that was not escaped, and is left for the reader to refuse.
        text += f"[{url.host}]" if ":" in url.host and "[" not in url.host else url.host
    if url.port is not None:
        text += f":{url.port}"
    if url.database is not None:
        text += "/" + quote(url.database, safe="/")
    pairs = []
    for name, value in url.query.items():
        pairs += [f"{quote_plus(name)}={quote_plus(one)}" for one in ((value,) if isinstance(value, str) else value)]
    return f"{text}?{'&'.join(pairs)}" if pairs else text
