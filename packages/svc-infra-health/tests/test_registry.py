"""The registry: parallel, bounded, single-flight checks and their aggregation."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

import pytest

from svc_infra.health import CheckFailed, DuplicateCheck, HealthRegistry, Outcome, UnknownCheck


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


async def passing() -> None:
    pass


async def failing() -> None:
    raise CheckFailed("refused", "nobody there")


async def test_no_checks_are_healthy() -> None:
    """A process without dependencies that answers is healthy."""
    assert (await HealthRegistry().run()).status == "healthy"


@pytest.mark.parametrize(
    ("check", "status"),
    [
        pytest.param(lambda: None, "healthy", id="None"),
        pytest.param(lambda: True, "healthy", id="True"),
        pytest.param(lambda: False, "unhealthy", id="False"),
        pytest.param(lambda: Outcome("degraded", "threshold"), "degraded", id="an outcome"),
        pytest.param(lambda: 1 / 0, "unhealthy", id="raises"),
        pytest.param(lambda: "fine", "unhealthy", id="not a verdict"),
        pytest.param(lambda: next(iter(())), "unhealthy", id="raises StopIteration"),
        pytest.param(passing, "healthy", id="async"),
        pytest.param(partial(passing), "healthy", id="a partial of an async function"),
        pytest.param(lambda: asyncio.sleep(0), "healthy", id="a function that returns a coroutine"),
    ],
)
async def test_a_check_of_any_kind_gives_a_status(check: object, status: str) -> None:
    """Sync and async functions, partials and lambdas can all be checks, and whatever they raise means unhealthy."""
    registry = HealthRegistry()
    registry.add("it", check)  # type: ignore[arg-type]
    assert (await registry.run()).checks["it"].status == status


@pytest.mark.parametrize(
    ("critical", "status"), [(True, "unhealthy"), (False, "degraded")], ids=["critical", "not critical"]
)
async def test_only_a_critical_failure_takes_the_whole_down(critical: bool, status: str) -> None:
    """A dependency that the service can do without degrades it."""
    registry = HealthRegistry()
    registry.add("good", passing)
    registry.add("bad", failing, critical=critical)
    report = await registry.run()
    assert report.status == status
    assert [result.name for result in report.failing] == ["bad"]
    assert report.checks["bad"].reason == "refused"


async def test_checks_run_in_parallel() -> None:
    """The report takes as long as the slowest check, not as all together."""
    registry = HealthRegistry()
    for number in range(10):
        registry.add(f"slow {number}", lambda: asyncio.sleep(0.2))
    began = time.monotonic()
    assert (await registry.run()).healthy
    assert time.monotonic() - began < 1.0


async def test_concurrent_reports_share_one_run() -> None:
    """Fifty probes at once are one question to the database."""
    runs = 0

    async def count() -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)

    registry = HealthRegistry()
    registry.add("count", count, cache_seconds=0)
    reports = await asyncio.gather(*(registry.run() for _ in range(50)))
    assert runs == 1
    assert all(report.healthy for report in reports)


async def test_cancelling_the_first_of_many_waiters_leaves_the_run_to_the_others() -> None:
    """A client that hangs up must not fail everybody else's probe."""
    registry = HealthRegistry()
    registry.add("slow", lambda: asyncio.sleep(0.1), cache_seconds=0)
    waiters = [asyncio.create_task(registry.run()) for _ in range(50)]
    await asyncio.sleep(0.02)
    waiters[0].cancel()
    reports = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(reports[0], asyncio.CancelledError)
    assert all(report.healthy for report in reports[1:])  # type: ignore[union-attr]


async def test_a_success_is_reused_for_its_time_and_a_failure_for_half_of_it() -> None:
    """A flood of probes is no load, and recovery is seen sooner than failure."""
    clock = Clock()
    registry = HealthRegistry(clock=clock)
    runs: list[str] = []
    verdict = {"good": True, "bad": False}
    for name in verdict:
        registry.add(name, lambda name=name: runs.append(name) or verdict[name], cache_seconds=2.0)  # type: ignore[misc]
    await registry.run()
    clock.time += 0.9
    report = await registry.run()
    assert runs == ["good", "bad"]
    assert report.checks["good"].age_seconds == pytest.approx(0.9)
    clock.time += 0.2
    await registry.run()
    assert runs == ["good", "bad", "bad"]
    clock.time += 1.0
    await registry.run()
    assert runs[3:] == ["good", "bad"]


async def test_an_old_success_is_never_reported_as_the_present() -> None:
    """A refresh that died leaves "unknown" behind, and unknown of a critical check is unhealthy."""
    clock = Clock()
    registry = HealthRegistry(clock=clock)
    registry.add("it", passing)
    assert registry.latest(max_age=10).status == "unhealthy"
    await registry.run()
    clock.time += 9
    assert registry.latest(max_age=10).status == "healthy"
    clock.time += 2
    report = registry.latest(max_age=10)
    assert report.status == "unhealthy"
    assert report.checks["it"].status == "unknown"
    assert report.checks["it"].reason == "stale"


async def test_refresh_keeps_the_latest_results_recent() -> None:
    """The background task runs every check at its interval until it is cancelled."""
    runs = 0

    async def count() -> None:
        nonlocal runs
        runs += 1

    registry = HealthRegistry()
    registry.add("count", count)
    refreshing = asyncio.create_task(registry.refresh(0.01))
    deadline = time.monotonic() + 5
    while runs < 3 and time.monotonic() < deadline:  # noqa: ASYNC110 - the task that runs knows of no event
        await asyncio.sleep(0.01)
    refreshing.cancel()
    assert runs >= 3
    assert registry.latest(max_age=5).healthy


async def test_groups_choose_the_checks_of_a_probe() -> None:
    """By default a check is for readiness and start-up and never for liveness."""
    registry = HealthRegistry()
    registry.add("database", failing)
    registry.add("deadlock", passing, groups=("live",))
    assert list((await registry.run(group="live")).checks) == ["deadlock"]
    assert (await registry.run(group="live")).status == "healthy"
    assert (await registry.run(group="ready")).status == "unhealthy"


async def test_draining_makes_readiness_unhealthy_and_leaves_liveness() -> None:
    """On shutdown no new traffic should come, and nothing should restart the process."""
    registry = HealthRegistry()
    registry.add("database", passing)
    registry.start_draining()
    assert (await registry.run(group="ready")).status == "unhealthy"
    assert (await registry.run(group="live")).status == "healthy"


def test_a_name_is_registered_once() -> None:
    """Metrics and reports are keyed by name."""
    registry = HealthRegistry()
    registry.add("database", passing)
    with pytest.raises(DuplicateCheck, match="database"):
        registry.add("database", passing)
    assert registry.names == ("database",)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"cache_seconds": -1}, "cache_seconds"),
        ({"name": ""}, "name"),
    ],
)
def test_limits_out_of_range_are_refused(arguments: dict[str, float], word: str) -> None:
    """A wrong number fails where it is written."""
    with pytest.raises(ValueError, match=word):
        HealthRegistry().add(**{"name": "it", "check": passing, **arguments})  # type: ignore[arg-type]


async def test_a_result_in_the_place_of_a_check_is_refused() -> None:
    """The mistake of calling the check when registering it is named."""
    coroutine = passing()
    with pytest.raises(TypeError, match="coroutine, not a function"):
        HealthRegistry().add("it", coroutine)  # type: ignore[arg-type]
    await coroutine


async def test_an_unknown_name_is_refused() -> None:
    """A typo must not look like health."""
    registry = HealthRegistry()
    registry.add("database", passing)
    with pytest.raises(UnknownCheck, match="database"):
        await registry.run(names=["databse"])


def test_a_registry_can_be_used_in_one_loop_after_another() -> None:
    """Scripts and tests call `asyncio.run` more than once."""
    registry = HealthRegistry()
    registry.add("it", passing, cache_seconds=0)
    for _ in range(3):
        assert asyncio.run(registry.run()).healthy


async def test_changes_of_state_are_logged_once_with_secrets_hidden(caplog: pytest.LogCaptureFixture) -> None:
    """Operators read why, once, and never a password."""
    healthy = False

    async def check() -> None:
        if not healthy:
            raise RuntimeError("no route to postgresql://app:s3cret@db/shop")

    registry = HealthRegistry()
    registry.add("database", check, cache_seconds=0)
    with caplog.at_level(logging.INFO, logger="svc_infra.health"):
        await registry.run()
        await registry.run()
        healthy = True
        report = await registry.run()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "s3cret" not in caplog.text
    assert report.healthy


async def test_the_public_form_of_a_report_holds_no_texts() -> None:
    """Texts of drivers name users and hosts; the public sees one fixed word."""
    registry = HealthRegistry()
    registry.add("database", failing)
    report = await registry.run()
    assert "nobody there" not in str(report.to_dict())
    assert "nobody there" in str(report.to_dict(details=True))


async def test_closing_closes_what_checks_hold() -> None:
    """A check with `aclose` is closed with the registry, more than once without harm."""

    class Held:
        closed = 0

        async def __call__(self) -> None:
            pass

        async def aclose(self) -> None:
            self.closed += 1

    held = Held()
    async with HealthRegistry() as registry:
        registry.add("held", held)
        await registry.run()
    assert held.closed == 1
    await registry.aclose()
