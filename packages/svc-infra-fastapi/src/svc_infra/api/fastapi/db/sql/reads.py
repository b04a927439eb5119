"""What the operations of generated routes run their statements on."""

from __future__ import annotations

from svc_infra.db.sql.reading import Executor

__all__ = ["Reader"]

Reader = Executor
"""A session, or what runs single statements (`Database.lone`)."""
