"""The registry of a service's health checks: run all at once, or wait until all are well."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from svc_infra.health.check import Check
from svc_infra.health.errors import DuplicateCheck, NotHealthy, UnknownCheck
from svc_infra.health.probe import BoundedCheck
from svc_infra.health.report import CheckResult, HealthReport, Reason

__all__ = ["HealthRegistry"]

_FIRST_PAUSE_SECONDS = 0.1
_SHORTEST_ATTEMPT_SECONDS = 0.05


def _utc_now() -> datetime:
    return datetime.now(UTC)


class HealthRegistry:
    """Named checks that run in parallel, each bounded in time even when a driver hangs.

        registry = HealthRegistry()
        registry.add("database", check_database(os.getenv("SQL_URL")), critical=True)
        registry.add("redis", check_redis(os.getenv("REDIS_URL")), critical=False)
        await registry.wait_until_healthy(timeout=60, interval=2)

    Use it as an async context manager, or call `aclose`, to close the connections that checks keep.

    Args:
        clock: Monotonic clock, in seconds.
        now: Wall clock for the times in reports.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._now = now
        self._checks: dict[str, BoundedCheck] = {}
        self._draining = False

    @property
    def names(self) -> tuple[str, ...]:
        """The registered names, in the order in which they were added."""
        return tuple(self._checks)

    def add(
        self,
        name: str,
        check: Check,
        critical: bool = True,
        timeout: float = 1.0,
        *,
        cache_seconds: float = 1.0,
        groups: Iterable[str] = ("ready", "startup"),
    ) -> None:
        """Register a check.

        Args:
            name: Its name in reports; unique.
            check: A function without arguments, sync or async, that returns None, a bool or an `Outcome`, or raises. A
                sync one runs in a thread of its own.
            critical: Whether the whole is unhealthy when this check is; otherwise the whole is degraded.
            timeout: Seconds after which the check counts as timed out. 1 s is what Kubernetes gives a whole probe.
            cache_seconds: How long a healthy result is reused, so that a flood of probes is no load on the dependency;
                other results are reused half as long. 0 runs the check for every report.
            groups: The probes that it belongs to. Put nothing external into "live": a database that is away is no
                reason to restart every process that waits for it.

        Raises:
            DuplicateCheck: The name is taken.
            ValueError: The name is empty or a number is out of range.
        """
        if not name or name != name.strip():
            raise ValueError(f"the name of a health check is a word, not {name!r}")
        if name in self._checks:
            raise DuplicateCheck(f"a health check named {name!r} exists already; names are {', '.join(self._checks)}")
        if not timeout > 0:
            raise ValueError(f"timeout of health check {name!r} is {timeout!r}; it must be more than 0 seconds")
        if not cache_seconds >= 0:
            raise ValueError(f"cache_seconds of health check {name!r} is {cache_seconds!r}; it can't be negative")
        if not callable(check):
            raise TypeError(
                f"health check {name!r} is {type(check).__name__}, not a function; "
                "pass check_database(url), not its result"
            )
        self._checks[name] = BoundedCheck(
            name,
            check,
            critical=critical,
            timeout=timeout,
            cache_seconds=cache_seconds,
            groups=frozenset(groups),
            clock=self._clock,
            now=self._now,
        )

    async def run(
        self, *, group: str | None = None, names: Collection[str] | None = None, fresh: bool = False
    ) -> HealthReport:
        """Run the checks in parallel and report. It takes as long as the largest timeout at most.

        Args:
            group: Only the checks of this probe.
            names: Only these checks.
            fresh: Ignore remembered results.

        Raises:
            UnknownCheck: A name is not registered.
        """
        results = await self._run(self._chosen(group, names), fresh=fresh)
        return self._report(results, group)

    def latest(self, *, max_age: float, group: str | None = None, names: Collection[str] | None = None) -> HealthReport:
        """Report the last results without running anything; one older than `max_age` seconds counts as unknown.

        For probes beside a background refresh (`refresh`): a refresh that died can't leave an old success behind.
        """
        return self._report([check.latest(max_age=max_age) for check in self._chosen(group, names)], group)

    async def refresh(self, interval: float) -> None:
        """Run all checks every `interval` seconds until cancelled; meant for a background task beside `latest`."""
        while True:
            await self._run(list(self._checks.values()), fresh=True)
            await asyncio.sleep(interval)

    async def wait_until_healthy(
        self,
        timeout: float = 60.0,  # noqa: ASYNC109 - the guide's parameter
        interval: float = 2.0,
        *,
        names: Collection[str] | None = None,
        give_up_on: Collection[Reason] = ("configuration", "driver"),
        on_attempt: Callable[[HealthReport], None] | None = None,
    ) -> HealthReport:
        """Wait until every critical check passes.

        The first pauses are short and grow to `interval`, with jitter, so that many replicas don't knock in step. At
        least one attempt is made; an attempt is cut at the deadline.

        Args:
            timeout: Seconds to wait at most.
            interval: Seconds between attempts at most.
            names: Wait for these checks only.
            give_up_on: Reasons of a critical check that waiting does not mend, so that the wait ends at once. Add
                "auth" where credentials exist before the service starts; pass () to wait whatever happens.
            on_attempt: Called with the report of each attempt, for progress messages.

        Returns:
            The report of the attempt that succeeded; non-critical checks may be down in it.

        Raises:
            NotHealthy: The time is up, or a check failed for a reason in `give_up_on`. It carries the last report.
        """
        checks = self._chosen(None, names)
        deadline = self._clock() + timeout
        longest = max((check.timeout for check in checks), default=0.0)
        pause = min(_FIRST_PAUSE_SECONDS, interval)
        limit: float | None = None  # the first attempt has its full time: timeout=0 still asks once
        attempts = 0
        while True:
            report = self._report(await self._run(checks, fresh=True, limit=limit), None)
            attempts += 1
            if on_attempt is not None:
                on_attempt(report)
            if report.healthy:
                return report
            hopeless = [result for result in report.failing if result.critical and result.reason in give_up_on]
            if hopeless:
                raise NotHealthy(_explain("waiting can't mend this", hopeless), report)
            left = deadline - self._clock()
            if left < _SHORTEST_ATTEMPT_SECONDS:
                await asyncio.sleep(max(0.0, left))
                critical = [result for result in report.failing if result.critical]
                raise NotHealthy(_explain(f"not healthy after {timeout:g} s and {attempts} attempts", critical), report)
            # The last attempts are timed so that they, too, have time to succeed.
            room = left - longest if left > longest else left / 2
            await asyncio.sleep(min(room, pause * random.uniform(0.8, 1.2)))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, interval)
            limit = deadline - self._clock()

    def start_draining(self) -> None:
        """Say that the process is shutting down: readiness is unhealthy from now on, before connections are closed."""
        self._draining = True

    async def aclose(self) -> None:
        """Close what the checks hold open, such as their own connections. Bounded and idempotent."""
        await asyncio.gather(*(check.aclose() for check in self._checks.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _chosen(self, group: str | None, names: Collection[str] | None) -> list[BoundedCheck]:
        if names is not None:
            unknown = [name for name in names if name not in self._checks]
            if unknown:
                raise UnknownCheck(
                    f"no health check named {unknown[0]!r}; names are {', '.join(self._checks) or 'none'}"
                )
        return [
            check
            for check in self._checks.values()
            if (group is None or group in check.groups) and (names is None or check.name in names)
        ]

    async def _run(
        self, checks: Collection[BoundedCheck], *, fresh: bool, limit: float | None = None
    ) -> list[CheckResult]:
        return list(await asyncio.gather(*(check.run(fresh=fresh, limit=limit) for check in checks)))

    def _report(self, results: Iterable[CheckResult], group: str | None) -> HealthReport:
        draining = self._draining and group in (None, "ready")
        return HealthReport.of({result.name: result for result in results}, draining=draining)


def _explain(what: str, results: Collection[CheckResult]) -> str:
    return f"{what}: " + "; ".join(f"{result.name} ({result.reason}): {result.detail}" for result in results)
