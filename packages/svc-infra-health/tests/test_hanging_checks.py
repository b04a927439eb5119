"""Checks that hang: the report comes in time, and nothing piles up behind them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from svc_infra.health import HealthRegistry


async def test_a_check_that_swallows_cancellation_is_reported_in_time_and_left_alone() -> None:
    """`wait_for` would wait for it; the registry gives the report when the time is up."""
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    registry = HealthRegistry()
    registry.add("stubborn", stubborn, timeout=0.1, cache_seconds=0)
    began = time.monotonic()
    report = await registry.run()
    assert time.monotonic() - began < 0.6
    assert report.checks["stubborn"].reason == "timeout"
    release.set()


async def test_while_a_check_hangs_no_second_run_of_it_is_started() -> None:
    """A hanging database must not collect one more connection with every probe."""
    release = asyncio.Event()
    runs = 0

    async def stubborn() -> None:
        nonlocal runs
        runs += 1
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    registry = HealthRegistry()
    registry.add("stubborn", stubborn, timeout=0.05, cache_seconds=0)
    for _ in range(5):
        assert (await registry.run()).checks["stubborn"].reason == "timeout"
    assert runs == 1
    release.set()
    await asyncio.sleep(0)
    assert (await eventually(registry)).healthy
    assert runs == 2


async def eventually(registry: HealthRegistry):
    """Run until healthy, for at most 2 s."""
    deadline = time.monotonic() + 2
    while True:
        report = await registry.run(fresh=True)
        if report.healthy or time.monotonic() > deadline:
            return report
        await asyncio.sleep(0.01)


@pytest.fixture
def release_thread() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_a_sync_check_that_hangs_blocks_neither_the_loop_nor_the_report(release_thread: threading.Event) -> None:
    """It runs in a thread of its own, at most one of which can be stuck."""
    runs = 0

    def hang() -> None:
        nonlocal runs
        runs += 1
        release_thread.wait(10)

    registry = HealthRegistry()
    registry.add("hang", hang, timeout=0.1, cache_seconds=0)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    for _ in range(3):
        assert (await registry.run()).checks["hang"].reason == "timeout"
    ticking.cancel()
    assert runs == 1
    assert ticks >= 3


async def test_a_hanging_sync_check_does_not_delay_the_end_of_the_program() -> None:
    """`asyncio.run` returns while the thread is stuck."""
    release = threading.Event()

    async def main() -> None:
        registry = HealthRegistry()
        registry.add("hang", lambda: release.wait(20) and None, timeout=0.05)
        await registry.run()

    began = time.monotonic()
    await asyncio.to_thread(asyncio.run, main())
    assert time.monotonic() - began < 5
    release.set()
