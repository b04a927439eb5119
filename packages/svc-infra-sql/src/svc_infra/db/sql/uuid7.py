"""UUIDs of version 7 (RFC 9562, section 5.7): ordered by time, so that an index on them grows at its end."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable

__all__ = ["Uuid7", "uuid7"]


class Uuid7:
    """Makes UUIDs of version 7 that grow strictly within the process.

    48 bits of milliseconds, 12 bits of `rand_a` and 30 of `rand_b` as a counter that is seeded at random each
    millisecond (RFC 9562, section 6.2, method 1), and 32 random bits.

    Args:
        clock_ns: Gives the time since the epoch in nanoseconds.
        random_bytes: Gives as many random bytes as asked for.
    """

    def __init__(
        self, clock_ns: Callable[[], int] = time.time_ns, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock_ns = clock_ns
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._last_ms = -1
        self._counter = 0

    def __call__(self) -> uuid.UUID:
        """A new UUID, greater than all made before, even when the clock steps back."""
        random = self._random_bytes(10)
        with self._lock:
            now = self._clock_ns() // 1_000_000
            if now > self._last_ms:
                self._last_ms = now
                # The highest bit stays clear, so that the counter has room to grow within the millisecond.
                self._counter = int.from_bytes(random[:6]) & ((1 << 41) - 1)
            else:
                self._counter += 1
                if self._counter >> 42:
                    self._last_ms += 1
                    self._counter = int.from_bytes(random[:6]) & ((1 << 41) - 1)
            ms, counter = self._last_ms, self._counter
        tail = int.from_bytes(random[6:])
        high, low = counter >> 30, counter & ((1 << 30) - 1)
        return uuid.UUID(int=(ms << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | (low << 32) | tail)


uuid7: Uuid7 = Uuid7()
"""Make a UUID of version 7.

>>> first, second = uuid7(), uuid7()
>>> first.version, first < second
(7, True)
"""
