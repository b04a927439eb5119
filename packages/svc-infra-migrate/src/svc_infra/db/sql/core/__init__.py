"""Alembic migrations that several replicas can run at once and that refuse to lose data.

Every function works from sync code and from inside a running event loop, finds the project from the working directory
upwards, and resolves the database URL as the service does. Alembic itself is imported by the first call.
"""

from __future__ import annotations

from svc_infra.db.sql.core.backfill import BackfillProgress, backfill
from svc_infra.db.sql.core.bootstrap import SetupResult, setup_and_migrate
from svc_infra.db.sql.core.connectivity import create_database, ping, wait
from svc_infra.db.sql.core.diagram import DescribedColumn, DescribedKey, DescribedTable, describe_tables, diagram
from svc_infra.db.sql.core.doctor import Examination, doctor
from svc_infra.db.sql.core.drift import CheckResult, check
from svc_infra.db.sql.core.dumps import dump, restore
from svc_infra.db.sql.core.errors import (
    DatabaseFailed,
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
from svc_infra.db.sql.core.lint import Finding, lint
from svc_infra.db.sql.core.lint.findings import github_annotation
from svc_infra.db.sql.core.model_file import scaffold_model
from svc_infra.db.sql.core.project import Project, any_project, find_project
from svc_infra.db.sql.core.reset import reset
from svc_infra.db.sql.core.revisions import Revision, merge, revision
from svc_infra.db.sql.core.scaffolding import DEFAULT_TEMPLATE, Template, init_alembic, list_templates
from svc_infra.db.sql.core.seeding import seed
from svc_infra.db.sql.core.state import Status, branches, current, ensure_version, heads, history, show, status
from svc_infra.db.sql.core.steps import downgrade, stamp, upgrade
from svc_infra.db.sql.core.tenant_export import export_tenant

__all__ = [
    "DEFAULT_TEMPLATE",
    "BackfillProgress",
    "CheckResult",
    "DatabaseFailed",
    "DescribedColumn",
    "DescribedKey",
    "DescribedTable",
    "DiscoveryError",
    "Drift",
    "Examination",
    "Finding",
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
    "SetupResult",
    "Status",
    "TargetNotResolved",
    "Template",
    "UnknownRevision",
    "any_project",
    "backfill",
    "branches",
    "check",
    "create_database",
    "current",
    "describe_tables",
    "diagram",
    "doctor",
    "downgrade",
    "dump",
    "ensure_version",
    "export_tenant",
    "find_project",
    "github_annotation",
    "heads",
    "history",
    "init_alembic",
    "lint",
    "list_templates",
    "merge",
    "ping",
    "reset",
    "restore",
    "revision",
    "scaffold_model",
    "seed",
    "setup_and_migrate",
    "show",
    "stamp",
    "status",
    "upgrade",
    "wait",
]
