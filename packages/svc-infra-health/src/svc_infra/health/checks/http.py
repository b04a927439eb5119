"""Whether an HTTP service answers."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Collection, Mapping
from urllib.parse import unquote, urlsplit

from svc_infra.health.check import Check, Worker
from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import Outcome

__all__ = ["check_http"]


def check_http(
    url: str | None,
    *,
    method: str = "GET",
    expected_status: Collection[int] = range(200, 400),
    headers: Mapping[str, str] | None = None,
    connect_timeout: float = 5.0,
    ssl_context: ssl.SSLContext | None = None,
) -> Check:
    """Return a check that sends one request and looks at the status. Redirects are not followed.

    Args:
        url: An http or https address; a user and password in it are sent as Basic authentication.
        method: The request method.
        expected_status: The status codes that mean healthy.
        headers: More headers.
        connect_timeout: Seconds that connecting, and each read, may take. The check's own timeout bounds the whole.
        ssl_context: For a private certificate authority; by default the system's is used and names are verified.
    """
    worker = Worker()

    def ask() -> Outcome:
        if not url:
            raise CheckFailed(
                "configuration", "check_http was given no address; set the variable that you read it from"
            )
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CheckFailed("configuration", f"check_http needs http://host or https://host, not {parts.scheme!r}")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl_context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=connect_timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=connect_timeout)
        sent = {"User-Agent": "svc-infra-health", "Accept": "*/*", "Connection": "close", **(headers or {})}
        if parts.username is not None and "Authorization" not in sent:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            sent["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, headers=sent)
            status = connection.getresponse().status
        finally:
            connection.close()
        detail = f"{parts.hostname} answered {status}"
        if status in expected_status:
            return Outcome("healthy", None, detail, float(status), "status")
        if status in (401, 407):
            return Outcome("unhealthy", "auth", detail, float(status), "status")
        return Outcome("unhealthy", "overloaded" if status in (429, 503) else "failed", detail, float(status), "status")

    async def check() -> Outcome:
        return await worker.run(ask)

    return check
