"""Alembic migrations that several replicas can run at once and that refuse to lose data.

Every function works from sync code and from inside a running event loop, finds the project from the working directory
upwards, and resolves the database URL as the service does. Alembic itself is imported by the first call.
"""

from __future__ import annotations

from svc_infra.db.sql.core.drift import CheckResult, check
from svc_infra.db.sql.core.errors import (
    DiscoveryError,
    Drift,
    LockNotObtained,
    MigrationError,
    MigrationFailed,
    MultipleHeads,
    Pending,
    ProjectExists,
    ProjectNotFound,
    Refused,
    RevisionError,
    TargetNotResolved,
    UnknownRevision,
)
from svc_infra.db.sql.core.limits import Limits
from svc_infra.db.sql.core.project import Project, find_project
from svc_infra.db.sql.core.revisions import Revision, merge, revision
from svc_infra.db.sql.core.scaffolding import init_alembic
from svc_infra.db.sql.core.state import current, heads, history
from svc_infra.db.sql.core.steps import downgrade, stamp, upgrade

__all__ = [
    "CheckResult",
    "DiscoveryError",
    "Drift",
    "Limits",
    "LockNotObtained",
    "MigrationError",
    "MigrationFailed",
    "MultipleHeads",
    "Pending",
    "Project",
    "ProjectExists",
    "ProjectNotFound",
    "Refused",
    "Revision",
    "RevisionError",
    "TargetNotResolved",
    "UnknownRevision",
    "check",
    "current",
    "downgrade",
    "find_project",
    "heads",
    "history",
    "init_alembic",
    "merge",
    "revision",
    "stamp",
    "upgrade",
]
