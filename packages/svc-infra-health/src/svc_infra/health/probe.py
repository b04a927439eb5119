"""One registered check: bounded, single-flight, with a short memory.

`asyncio.wait_for` does not bound a check: it waits until the cancelled task has ended, and a driver that talks to a
frozen server ends when it likes (measured with the server frozen and a limit of 1 s: asyncpg 3 s, psycopg 11 s). So the
check runs as a task of its own; when the time is up it is cancelled and left alone, and while it still hangs no second
run is started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from svc_infra.dburl import redact
from svc_infra.health.check import Check, Worker, call
from svc_infra.health.classify import classify
from svc_infra.health.errors import CheckFailed
from svc_infra.health.report import CheckResult, Outcome

__all__ = ["BoundedCheck"]

_logger = logging.getLogger("svc_infra.health")


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[CheckResult]
    loop: asyncio.AbstractEventLoop
    started: float
    given_up: bool = False


class BoundedCheck:
    """A check with its name and limits, as `HealthRegistry.add` registers it.

    Args:
        name: The name in reports.
        check: The callable.
        critical: Whether it takes the whole down with it.
        timeout: Seconds after which the check is reported as timed out, whatever the driver does.
        cache_seconds: How long a healthy result is reused; another result is reused half as long. 0: not at all.
        groups: The probes that it belongs to.
        clock: Monotonic clock, in seconds.
        now: Wall clock for `checked_at`.
    """

    def __init__(
        self,
        name: str,
        check: Check,
        *,
        critical: bool,
        timeout: float,
        cache_seconds: float,
        groups: frozenset[str],
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.name = name
        self.check = check
        self.critical = critical
        self.timeout = timeout
        self.cache_seconds = cache_seconds
        self.groups = groups
        self._clock = clock
        self._now = now
        self._worker = Worker()
        self._flight: _Flight | None = None
        self._last: CheckResult | None = None
        self._last_at = 0.0

    async def run(self, *, fresh: bool = False, limit: float | None = None) -> CheckResult:
        """Return the state of the check within its timeout.

        Callers that arrive while a run is on its way share it, and cancelling one of them leaves the run to the others.

        Args:
            fresh: Ignore the remembered result.
            limit: Seconds that this caller has, if less than the timeout.
        """
        if not fresh and (remembered := self._remembered()) is not None:
            return remembered
        flight = self._current_flight() or self._start()
        deadline = flight.started + self.timeout
        if limit is not None:
            deadline = min(deadline, self._clock() + limit)
        if not flight.given_up:
            # asyncio.wait neither cancels the task with its waiter nor waits for it after the timeout.
            await asyncio.wait({flight.task}, timeout=max(0.0, deadline - self._clock()))
        if flight.task.done() and not flight.task.cancelled():
            return flight.task.result()
        return self._timed_out(flight, cut_short=deadline < flight.started + self.timeout)

    def latest(self, *, max_age: float) -> CheckResult:
        """Return the last result without running anything; `unknown` when it is older than `max_age` seconds."""
        age = self._clock() - self._last_at
        if self._last is not None and age <= max_age:
            return replace(self._last, age_seconds=age)
        detail = "the check has not run yet" if self._last is None else f"the last result is {age:.1f} s old"
        return CheckResult(
            self.name,
            "unknown",
            self.critical,
            "stale",
            detail,
            0.0,
            self._now(),
            age if self._last is not None else 0.0,
        )

    async def aclose(self) -> None:
        """Cancel a run on its way and close what the check holds open."""
        flight, self._flight = self._current_flight(), None
        if flight is not None:
            flight.task.cancel()
            await asyncio.wait({flight.task}, timeout=self.timeout)
        close = getattr(self.check, "aclose", None)
        if close is not None:
            closing = asyncio.ensure_future(close())
            done, _ = await asyncio.wait({closing}, timeout=self.timeout)
            if not done:
                closing.cancel()
        self._last = None

    def _remembered(self) -> CheckResult | None:
        if self._last is None:
            return None
        age = self._clock() - self._last_at
        keep = self.cache_seconds if self._last.status == "healthy" else self.cache_seconds / 2
        return replace(self._last, age_seconds=age) if age < keep else None

    def _current_flight(self) -> _Flight | None:
        flight = self._flight
        if flight is None or flight.task.done() or flight.loop is not asyncio.get_running_loop():
            return None
        return flight

    def _start(self) -> _Flight:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._measure(), name=f"health check {self.name}")
        self._flight = _Flight(task, loop, self._clock())
        return self._flight

    async def _measure(self) -> CheckResult:
        started = self._clock()
        try:
            outcome = await call(self.check, self._worker, self.timeout)
        except Exception as error:  # noqa: BLE001 - whatever a check raises means that it is down
            outcome = Outcome(status="unhealthy", reason=classify(error), detail=_describe(error))
        result = self._result(outcome, self._clock() - started)
        flight = self._flight
        if flight is not None and flight.task is asyncio.current_task() and flight.given_up:
            # Reported as a timeout long ago: the late answer is not news about now.
            return result
        self._remember(result)
        return result

    def _timed_out(self, flight: _Flight, *, cut_short: bool) -> CheckResult:
        ran = self._clock() - flight.started
        if cut_short:
            if self._last is not None and not self._last.healthy:
                return replace(self._last, age_seconds=self._clock() - self._last_at)  # says more than "no time"
            detail = f"no answer within the {ran:.2f} s that the caller had"
            return self._result(Outcome("unhealthy", "timeout", detail), ran)
        detail = f"no answer within {self.timeout:g} s"
        if flight.given_up:
            detail += f"; the check that began {ran:.1f} s ago still hangs, so that no other is started"
        else:
            flight.given_up = True
            flight.task.cancel()
        result = self._result(Outcome("unhealthy", "timeout", detail), ran)
        self._remember(result)
        return result

    def _result(self, outcome: Outcome, duration: float) -> CheckResult:
        return CheckResult(
            name=self.name,
            status=outcome.status,
            critical=self.critical,
            reason=outcome.reason or (None if outcome.status == "healthy" else "failed"),
            detail=redact(outcome.detail) if outcome.detail else "",
            duration_seconds=duration,
            checked_at=self._now(),
            value=outcome.value,
            unit=outcome.unit,
        )

    def _remember(self, result: CheckResult) -> None:
        before = self._last
        self._last, self._last_at = result, self._clock()
        if before is not None and before.healthy == result.healthy:
            return
        if not result.healthy:
            _logger.warning("health check %s is %s (%s): %s", self.name, result.status, result.reason, result.detail)
        elif before is not None:
            _logger.info("health check %s is %s again", self.name, result.status)


def _describe(error: BaseException) -> str:
    if isinstance(error, CheckFailed):
        return error.detail
    # SQLAlchemy names its own classes before the text of the driver's error.
    error = getattr(error, "orig", None) or error
    if type(error).__module__.startswith("sqlalchemy.") and error.__cause__ is not None:
        error = error.__cause__
    # Drivers append details and SQLAlchemy a link in further lines; a timeout has no text at all.
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
