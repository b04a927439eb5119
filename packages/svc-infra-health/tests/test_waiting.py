"""Waiting until a service is healthy: what ends it, and when."""

from __future__ import annotations

import asyncio
import time

import pytest

from svc_infra.health import CheckFailed, HealthRegistry, NotHealthy


async def passing() -> None:
    pass


async def failing() -> None:
    raise CheckFailed("refused", "nobody there")


async def test_waiting_ends_when_critical_checks_pass() -> None:
    """A dependency that comes up later ends the wait; one that is not critical does not hold it up."""
    attempts = 0

    async def third_time_lucky() -> bool:
        nonlocal attempts
        attempts += 1
        return attempts >= 3

    registry = HealthRegistry()
    registry.add("database", third_time_lucky)
    registry.add("cache", failing, critical=False)
    report = await registry.wait_until_healthy(timeout=10, interval=0.02)
    assert report.status == "degraded"
    assert attempts == 3


async def test_waiting_in_vain_raises_in_time_with_the_last_report() -> None:
    """A service must not start without its database because a return value was ignored."""
    registry = HealthRegistry()
    registry.add("database", failing)
    began = time.monotonic()
    with pytest.raises(NotHealthy, match=r"database \(refused\)") as caught:
        await registry.wait_until_healthy(timeout=0.3, interval=0.05)
    assert 0.25 < time.monotonic() - began < 1.0
    assert caught.value.report.checks["database"].reason == "refused"


async def test_a_check_that_hangs_is_cut_at_the_deadline_of_the_wait() -> None:
    """The last attempt does not run past the deadline."""
    registry = HealthRegistry()
    registry.add("database", lambda: asyncio.sleep(60), timeout=0.5)
    began = time.monotonic()
    with pytest.raises(NotHealthy, match="timeout"):
        await registry.wait_until_healthy(timeout=0.8, interval=0.05)
    assert time.monotonic() - began < 1.6


async def test_a_timeout_of_zero_asks_once() -> None:
    """Whether it is healthy now is a question with an answer."""
    registry = HealthRegistry()
    registry.add("database", passing)
    assert (await registry.wait_until_healthy(timeout=0)).healthy


async def test_waiting_ends_at_once_for_what_waiting_cannot_mend() -> None:
    """An address that is not set stays not set."""

    async def unset() -> None:
        raise CheckFailed("configuration", "SQL_URL is not set")

    registry = HealthRegistry()
    registry.add("database", unset)
    began = time.monotonic()
    with pytest.raises(NotHealthy, match="SQL_URL is not set"):
        await registry.wait_until_healthy(timeout=60, interval=2)
    assert time.monotonic() - began < 1


async def test_waiting_can_be_cancelled() -> None:
    """A service that is told to stop while it waits, stops."""
    registry = HealthRegistry()
    registry.add("database", failing)
    waiting = asyncio.create_task(registry.wait_until_healthy(timeout=60, interval=2))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
