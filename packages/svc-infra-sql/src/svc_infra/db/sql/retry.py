"""How often and how long a transaction that lost against concurrent ones is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from svc_infra.db.sql.errors import LockTimeout, RetryableError

__all__ = ["DEFAULT_RETRIES", "RetryPolicy", "is_retryable"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounded retries with exponential backoff and full jitter.

    The wait before the n-th retry is a random part of `first_wait * 2 ** (n - 1)` seconds, at most of `longest_wait`:
    transactions that met once must not meet again. See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    Attributes:
        attempts: How often the transaction is run at most, the first time included; default 20.
        first_wait: Seconds that the first retry waits at most; default 0.01.
        longest_wait: Seconds that any retry waits at most; default 1.
        random: Gives a number from 0 to 1.

    Example:
        >>> list(RetryPolicy(attempts=5, first_wait=0.1, longest_wait=0.3, random=lambda: 1.0).waits())
        [0.1, 0.2, 0.3, 0.3]
    """

    attempts: int = 20
    first_wait: float = 0.01
    longest_wait: float = 1.0
    random: Callable[[], float] = random.random

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait before each retry."""
        for retry in range(self.attempts - 1):
            yield self.random() * min(self.first_wait * 2**retry, self.longest_wait)


DEFAULT_RETRIES = RetryPolicy()
"""What `Database.run_in_transaction` does unless told otherwise."""


def is_retryable(error: BaseException) -> bool:
    """Whether the same transaction may succeed when all of it is run again.

    A lost connection is not: whether its commit took place is unknown.
    """
    return isinstance(error, (RetryableError, LockTimeout))
