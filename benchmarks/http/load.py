"""A load generator: kept-alive connections that each send one request after the other, on sockets without a library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Result:
    """What one run of load found.

    Attributes:
        seconds: How long it took.
        latencies: Seconds of each request.
        statuses: Number of answers by status code.
        per_client: Number of answers that each connection got.
    """

    seconds: float
    latencies: list[float]
    statuses: dict[int, int] = field(default_factory=dict)
    per_client: list[int] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, part: float) -> float:
        """Return the latency in seconds that *part* (0..1) of the requests stay under."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def run(
    port: int, make: Callable[[int], bytes], *, seconds: float, clients: int, requests: int = 1 << 62
) -> Result:
    """Send requests for *seconds*, or that many *requests*, over *clients* connections.

    `make(number)` gives the bytes of each.
    """
    result = Result(0.0, [])
    numbers = iter(range(requests))
    deadline = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        answered = 0
        while (start := time.perf_counter()) < deadline and (number := next(numbers, None)) is not None:
            writer.write(make(number))
            head = await reader.readuntil(b"\r\n\r\n")
            lowered = head.lower()
            place = lowered.find(b"content-length:")
            if place >= 0:
                length = int(lowered[place + 15 : lowered.index(b"\r", place)])
                if length:
                    await reader.readexactly(length)
            status = int(head[9:12])
            result.statuses[status] = result.statuses.get(status, 0) + 1
            result.latencies.append(time.perf_counter() - start)
            answered += 1
        result.per_client.append(answered)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = time.perf_counter() - began
    return result
