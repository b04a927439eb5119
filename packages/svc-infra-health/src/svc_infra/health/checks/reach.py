"""Why a server can't be reached, where its driver says it in a text only."""

from __future__ import annotations

import asyncio

from svc_infra.health.check import seconds_left
from svc_infra.health.classify import classify
from svc_infra.health.report import Reason

__all__ = ["why_unreachable"]


async def why_unreachable(host: str, port: int) -> Reason | None:
    """Return why a TCP connection fails ("refused", "dns", "timeout" ...), or None when it succeeds.

    libpq and PyMongo describe a failed connection in a text, the former in the server's language, and texts are nothing
    to decide by. So the first step is tried again.
    """
    try:
        async with asyncio.timeout(seconds_left(2.0)):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as cause:  # TimeoutError and gaierror are OSErrors
        return classify(cause)
    writer.close()
    return None
