"""The errors of svc-infra-health.

HealthError
├── CheckFailed                       a check says what is wrong, in one fixed word
├── DuplicateCheck (ValueError)       a name was registered twice
├── UnknownCheck (LookupError)        a name was never registered
└── NotHealthy (TimeoutError)         the wait for dependencies ended without success
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svc_infra.health.report import HealthReport, Reason

__all__ = ["CheckFailed", "DuplicateCheck", "HealthError", "NotHealthy", "UnknownCheck"]


class HealthError(Exception):
    """Base of every error that svc-infra-health raises by itself."""


class CheckFailed(HealthError):
    """Raised by a check to say why the dependency is unhealthy.

    Args:
        reason: The fixed word that reports show to everybody.
        detail: A sentence for the log. It must hold no secret.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class DuplicateCheck(HealthError, ValueError):
    """A check of this name is registered already; names are unique because probes and metrics are keyed by them."""


class UnknownCheck(HealthError, LookupError):
    """No check of this name is registered."""


class NotHealthy(HealthError, TimeoutError):
    """The critical checks did not all pass before the deadline, or one failed in a way that waiting can't repair.

    Attributes:
        report: The last report, with every check's state.
    """

    def __init__(self, message: str, report: HealthReport) -> None:
        super().__init__(message)
        self.report = report
