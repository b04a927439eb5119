"""Health checks that stay bounded when the dependency hangs, and backup verification.

registry = HealthRegistry()
registry.add("database", check_database(os.getenv("SQL_URL")), critical=True)
report = await registry.run()
"""

from __future__ import annotations

from svc_infra.health.check import Check
from svc_infra.health.checks.backups import check_backups
from svc_infra.health.checks.database import check_database
from svc_infra.health.checks.disk import check_disk
from svc_infra.health.checks.http import check_http
from svc_infra.health.checks.migrations import check_migrations
from svc_infra.health.checks.mongo import check_mongo
from svc_infra.health.checks.redis import check_redis
from svc_infra.health.errors import CheckFailed, DuplicateCheck, HealthError, NotHealthy, UnknownCheck
from svc_infra.health.registry import HealthRegistry
from svc_infra.health.report import CheckResult, HealthReport, Outcome, Reason, Status

__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "DuplicateCheck",
    "HealthError",
    "HealthRegistry",
    "HealthReport",
    "NotHealthy",
    "Outcome",
    "Reason",
    "Status",
    "UnknownCheck",
    "check_backups",
    "check_database",
    "check_disk",
    "check_http",
    "check_migrations",
    "check_mongo",
    "check_redis",
]
