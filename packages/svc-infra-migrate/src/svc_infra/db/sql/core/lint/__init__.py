"""Looking for what would stop a service that runs while its database is migrated."""

from __future__ import annotations

from svc_infra.db.sql.core.lint.findings import Finding
from svc_infra.db.sql.core.lint.linting import lint

__all__ = ["Finding", "lint"]
