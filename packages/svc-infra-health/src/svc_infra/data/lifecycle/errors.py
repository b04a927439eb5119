"""The errors of the data lifecycle.

LifecycleError
└── BrokenBackup        a backup can't be trusted, and why
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svc_infra.data.lifecycle.report import ProblemKind

__all__ = ["BrokenBackup", "LifecycleError"]


class LifecycleError(Exception):
    """Base of every error of this package."""


class BrokenBackup(LifecycleError):
    """A backup can't be trusted.

    Args:
        kind: The fixed word for reports.
        message: A sentence for a person, without the path.
    """

    def __init__(self, kind: ProblemKind, message: str) -> None:
        super().__init__(message)
        self.kind: ProblemKind = kind
