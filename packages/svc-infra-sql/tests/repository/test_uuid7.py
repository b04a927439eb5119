"""UUIDs of version 7."""

from __future__ import annotations

import uuid

from svc_infra.db.sql.uuid7 import Uuid7, uuid7


def test_it_carries_version_variant_and_milliseconds() -> None:
    """RFC 9562, section 5.7: 48 bits of Unix milliseconds, version 7, variant 10."""
    made = Uuid7(lambda: 1_645_557_742_000 * 1_000_000, lambda number: b"\xff" * number)()
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, 1_645_557_742_000)


def test_it_grows_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    """Also when the counter of the millisecond runs over."""
    times = iter([5, 5, 4, 4, 6, 1] * 2000)
    make = Uuid7(lambda: next(times) * 1_000_000, lambda number: b"\xff" * number)
    made = [make() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == 10_000
    make._counter = (1 << 42) - 1
    assert make() > made[-1]


def test_many_are_different_and_in_order() -> None:
    """With the real clock."""
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))
