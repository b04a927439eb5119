"""Ready-made guards for the page, for applications that have no sign-in of their own.

A guard is any FastAPI dependency that raises when the caller may not see the page; that of the application's own
sign-in is the best one.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final

from starlette.requests import Request

from fastapi.exceptions import HTTPException

__all__ = ["basic_auth", "loopback_only"]

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


async def loopback_only(request: Request) -> None:
    """Let nobody in but a browser on the machine itself: for development.

    A request that a proxy passed on is refused, because it comes from this machine whoever sent it; so is one whose
    `Host` is a name other than localhost, because a page of the web can point its own name at this machine.

    Raises:
        HTTPException: 403.
    """
    if request.client is None or not _is_loopback(request.client.host):
        raise HTTPException(403, "This page is for a browser on the same machine.")
    if any(name in request.headers for name in _FORWARDED):
        raise HTTPException(403, "This page is not served through a proxy.")
    host = request.headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() != "localhost" and not _is_loopback(name):
        raise HTTPException(403, "Open this page by the name localhost.")


def basic_auth(password: str, *, username: str = "admin", realm: str = "admin") -> Callable[[Request], Awaitable[None]]:
    """Return a guard that asks for a name and a password (HTTP Basic, RFC 7617). Only behind HTTPS.

    Args:
        password: The password, at least 12 characters.
        username: The name.
        realm: What the browser's dialog shows.

    Raises:
        ValueError: The password is too short to stand guessing.
    """
    if len(password) < 12:
        raise ValueError("basic_auth: the password of the page needs at least 12 characters")
    expected = f"{username}:{password}".encode()

    async def guard(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            found = b64decode(given, validate=True) if scheme.lower() == "basic" else b""
        except ValueError:
            found = b""
        if not hmac.compare_digest(found, expected):
            challenge = {"WWW-Authenticate": f'Basic realm="{realm}", charset="UTF-8"'}
            raise HTTPException(401, "Sign in to see this page.", headers=challenge)

    return guard


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
