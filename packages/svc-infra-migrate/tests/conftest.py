"""The fixtures that give a project to migrate."""

from __future__ import annotations

from migrate.processes import processes
from migrate.workspace import make_workspace, workspace

__all__ = ["make_workspace", "processes", "workspace"]
