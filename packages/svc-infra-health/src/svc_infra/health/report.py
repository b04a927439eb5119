"""What checks found: the outcome of one, the result with its time and age, and the report over all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

__all__ = ["CheckResult", "HealthReport", "Outcome", "Reason", "Status"]

Status: TypeAlias = Literal["healthy", "degraded", "unhealthy", "unknown"]
"""State of one check or of the whole. `unknown` means that no answer is recent enough to be believed."""

Reason: TypeAlias = Literal[
    "timeout",
    "refused",
    "unreachable",
    "dns",
    "tls",
    "auth",
    "pool",
    "missing",
    "permission",
    "configuration",
    "driver",
    "starting",
    "overloaded",
    "readonly",
    "corrupt",
    "pending",
    "threshold",
    "stale",
    "draining",
    "failed",
]
"""Why a check is not healthy, in one fixed word. Only this word is shown to the public; texts of drivers name hosts and
users, and a password that was not percent-encoded can end up as part of a host name."""

_SEVERITY: Mapping[Status, int] = {"healthy": 0, "degraded": 1, "unknown": 2, "unhealthy": 3}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check may return to say more than "it works".

    Attributes:
        status: The state. `degraded` counts as up, with a warning.
        reason: The fixed word, None when healthy.
        detail: A sentence for the log; it must hold no secret.
        value: A measured value, such as the free space.
        unit: Unit of `value`, such as "percent".
    """

    status: Status = "healthy"
    reason: Reason | None = None
    detail: str = ""
    value: float | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The last known state of one check.

    Attributes:
        name: Name under which the check was added.
        status: Its state.
        critical: Whether it takes the whole down with it.
        reason: Why it is not healthy, in one fixed word; None when it is healthy.
        detail: A sentence for logs and operators, with secrets hidden. Not for the public.
        duration_seconds: How long the check ran (until it was given up, for a timeout).
        checked_at: When it ended, in UTC.
        age_seconds: How old this result was when the report was made; 0 for a fresh one.
        value: A measured value, if the check gives one.
        unit: Unit of `value`.
    """

    name: str
    status: Status
    critical: bool
    reason: Reason | None
    detail: str
    duration_seconds: float
    checked_at: datetime
    age_seconds: float = 0.0
    value: float | None = None
    unit: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the dependency can be used, if with a warning."""
        return self.status in ("healthy", "degraded")

    def to_dict(self, *, details: bool = False) -> dict[str, object]:
        """Return the result as JSON types; `details` adds the text for operators."""
        fields: dict[str, object] = {
            "name": self.name,
            "status": self.status,
            "critical": self.critical,
            "duration_seconds": round(self.duration_seconds, 6),
            "checked_at": self.checked_at.isoformat(),
            "age_seconds": round(self.age_seconds, 3),
        }
        if self.reason is not None:
            fields["reason"] = self.reason
        if self.value is not None:
            fields["value"] = self.value
            fields["unit"] = self.unit
        if details and self.detail:
            fields["detail"] = self.detail
        return fields


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The state of all checks that were asked for.

    Attributes:
        status: `unhealthy` when a critical check is down or unknown, else `degraded` when anything is not fully
            healthy. No checks at all are healthy: the process answers.
        checks: The results by name, in the order in which the checks were added.
        draining: Whether the process is shutting down; it is then not ready whatever the checks say.
    """

    status: Status
    checks: Mapping[str, CheckResult] = field(default_factory=dict)
    draining: bool = False

    @classmethod
    def of(cls, results: Mapping[str, CheckResult], *, draining: bool = False) -> HealthReport:
        """Aggregate results: critical ones decide, the others can only degrade."""
        worst: Status = "unhealthy" if draining else "healthy"
        for result in results.values():
            counted: Status = result.status
            if counted in ("unhealthy", "unknown"):
                counted = "unhealthy" if result.critical else "degraded"
            worst = max(worst, counted, key=_SEVERITY.__getitem__)
        return cls(status=worst, checks=results, draining=draining)

    @property
    def healthy(self) -> bool:
        """Whether traffic can be served, if with a warning."""
        return self.status in ("healthy", "degraded")

    @property
    def failing(self) -> tuple[CheckResult, ...]:
        """The checks that are down or unknown, critical ones first."""
        down = [result for result in self.checks.values() if not result.healthy]
        return tuple(sorted(down, key=lambda result: not result.critical))

    def to_dict(self, *, details: bool = False) -> dict[str, object]:
        """Return the report as JSON types; `details` adds the texts for operators."""
        return {
            "status": self.status,
            "checks": {name: result.to_dict(details=details) for name, result in self.checks.items()},
        }

    def summary(self) -> str:
        """Return one line that names what fails and why, for logs and error messages."""
        if self.draining:
            return f"{self.status}: shutting down"
        parts = [f"{result.name}: {result.reason or result.status}" for result in self.failing]
        return f"{self.status}: {', '.join(parts)}" if parts else self.status
