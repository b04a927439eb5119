"""Whether the newest backup is recent and readable."""

from __future__ import annotations

import os

from svc_infra.health.check import Check
from svc_infra.health.report import Outcome, Reason

__all__ = ["check_backups"]


def check_backups(
    backup_path: str | os.PathLike[str] = "/backups",
    *,
    expected_max_age_hours: float = 24.0,
    pattern: str = "*",
    contents: bool = False,
) -> Check:
    """Return a check of the newest backup under `backup_path`.

    Args:
        backup_path: The folder that backups are written to, or one file.
        expected_max_age_hours: The newest backup may be this old.
        pattern: Only files whose name matches this glob.
        contents: Also read the backup to its end. That takes as long as reading the file does: raise the check's
            timeout and `cache_seconds`, or leave it to a scheduled job that calls `verify_backups`.
    """

    async def check() -> Outcome:
        from svc_infra.data.lifecycle import verify_backups  # which imports this package in turn

        report = await verify_backups(
            expected_max_age_hours=expected_max_age_hours,
            backup_path=backup_path,
            pattern=pattern,
            contents=contents,
            checksum="if-present" if contents else "ignore",
        )
        age = None if report.age_hours is None else round(report.age_hours, 3)
        if report.healthy:
            return Outcome("healthy", None, report.summary(), age, "hours")
        kinds = {problem.kind for problem in report.problems}
        reason: Reason = "stale" if "age" in kinds else "missing" if "missing" in kinds else "corrupt"
        return Outcome("unhealthy", reason, report.summary(), age, "hours")

    return check
