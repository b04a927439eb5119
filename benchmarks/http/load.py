"""A load generator: kept-alive connections that each send one request after the other, on sockets without a library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast


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


class _Client(asyncio.Protocol):
    """One connection: the next request leaves in the moment in which the answer to the last one is whole."""

    def __init__(self, result: Result, following: Callable[[], bytes | None]) -> None:
        self._result = result
        self._following = following
        self._received = bytearray()
        self._wanted = 0
        self._answered = 0
        self._sent = 0.0
        self._is_done = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        message = self._following()
        if message is None:
            self._is_done = True
            self._result.per_client.append(self._answered)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._received += data
        if not self._wanted:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._received[:end]).lower() + b"\r"
            place = head.find(b"content-length:")
            length = 0 if place < 0 else int(head[place + 15 : head.index(b"\r", place)])
            self._wanted = end + 4 + length
        if len(self._received) < self._wanted:
            return
        now, status = time.perf_counter(), int(self._received[9:12])
        self._result.statuses[status] = self._result.statuses.get(status, 0) + 1
        self._result.latencies.append(now - self._sent)
        self._answered += 1
        del self._received[: self._wanted]
        self._wanted = 0
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, with an error when the server closed the connection."""
        if self._is_done:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(exc or ConnectionResetError("the server closed the connection"))


async def run(
    port: int, make: Callable[[int], bytes], *, seconds: float, clients: int, requests: int = 1 << 62
) -> Result:
    """Send requests for *seconds*, or that many *requests*, over *clients* connections.

    `make(number)` gives the bytes of each.
    """
    result = Result(0.0, [])
    numbers = iter(range(requests))
    began = time.perf_counter()
    deadline = began + seconds

    def following() -> bytes | None:
        number = next(numbers, None) if time.perf_counter() < deadline else None
        return None if number is None else make(number)

    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: _Client(result, following), "127.0.0.1", port))[1] for _ in range(clients)
    ]
    await asyncio.gather(*(client.ended for client in opened))
    result.seconds = time.perf_counter() - began
    return result
