"""A finding of the lint, and the ways to write it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "github_annotation"]


@dataclass(frozen=True)
class Finding:
    """Something in a revision that hurts a running service.

    Attributes:
        rule: Name of the rule, as a suppression names it.
        revision: The revision's identifier.
        path: The revision's file.
        line: Line in the file, from 1; 0 when it is unknown.
        operation: What the revision does, in words.
        risk: What happens to the service meanwhile.
        lock: The lock that the database takes, or empty.
        instead: The safe sequence.
        suppressed: The reason that the file gives for leaving it, or None.
    """

    rule: str
    revision: str
    path: str
    line: int
    operation: str
    risk: str
    lock: str
    instead: str
    suppressed: str | None = None


def github_annotation(finding: Finding) -> str:
    """Write a finding as a workflow command, which GitHub shows at the line.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    message = f"{finding.operation}: {finding.risk} Instead: {finding.instead}"
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error file={finding.path},line={max(finding.line, 1)},title={finding.rule}::{escaped}"
