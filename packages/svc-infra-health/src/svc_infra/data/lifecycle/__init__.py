"""Backup verification: whether a backup is there, recent, unchanged and readable, and whether it can be restored.

report = await verify_backups(expected_max_age_hours=24, backup_path="/backups")
if not report.healthy:
    alert_ops_team(report)
"""

from __future__ import annotations

from svc_infra.data.lifecycle.backups import verify_backups
from svc_infra.data.lifecycle.errors import BrokenBackup, LifecycleError
from svc_infra.data.lifecycle.report import BackupFile, BackupProblem, BackupReport, ProblemKind, RestoreProof

__all__ = [
    "BackupFile",
    "BackupProblem",
    "BackupReport",
    "BrokenBackup",
    "LifecycleError",
    "ProblemKind",
    "RestoreProof",
    "verify_backups",
]
