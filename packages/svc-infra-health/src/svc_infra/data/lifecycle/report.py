"""What the verification of backups found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["BackupFile", "BackupProblem", "BackupReport", "ProblemKind", "RestoreProof"]

ProblemKind: TypeAlias = Literal[
    "missing",
    "age",
    "future",
    "size",
    "checksum",
    "unreadable",
    "truncated",
    "corrupt",
    "unknown-format",
    "restore",
    "timeout",
]
"""What is wrong, in one fixed word."""


@dataclass(frozen=True, slots=True)
class BackupProblem:
    """One thing that is wrong.

    Attributes:
        kind: The fixed word.
        path: The file or folder in question.
        message: A sentence for a person.
    """

    kind: ProblemKind
    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class RestoreProof:
    """That a backup was restored into a scratch database, and what was found there.

    Attributes:
        tables: Number of tables.
        rows: Number of rows in all of them.
        seconds: How long restoring and counting took.
    """

    tables: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A backup that was looked at.

    Attributes:
        path: The file, or the folder of a dump in directory format.
        size_bytes: Its size, all files of a folder together.
        modified_at: When it was last written, in UTC.
        kind: The recognised format, such as "postgresql-custom+gzip", or None where it was not looked at.
        checksum: "matched" or "absent", or "not-checked".
        contents: What is proven of its contents: "complete" (read to the end), "recognised" (only its beginning or end
            was read) or "not-checked".
        restored: The proof by restoring, if one was asked for.
    """

    path: Path
    size_bytes: int
    modified_at: datetime
    kind: str | None = None
    checksum: Literal["matched", "absent", "not-checked"] = "not-checked"
    contents: Literal["complete", "recognised", "not-checked"] = "not-checked"
    restored: RestoreProof | None = None


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The state of the backups in one place.

    Attributes:
        backup_path: Where they were looked for.
        checked_at: When, in UTC.
        newest: The newest backup, or None when there is none.
        count: How many backups there are.
        problems: What is wrong; empty when all is well.
        notes: What could not be proven here, such as a missing tool. They don't make the report unhealthy.
    """

    backup_path: Path
    checked_at: datetime
    newest: BackupFile | None = None
    count: int = 0
    problems: tuple[BackupProblem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def age_hours(self) -> float | None:
        """Age of the newest backup in hours, or None when there is none."""
        if self.newest is None:
            return None
        return (self.checked_at - self.newest.modified_at).total_seconds() / 3600

    def summary(self) -> str:
        """Return one line for an alert."""
        if self.problems:
            return "; ".join(problem.message for problem in self.problems)
        assert self.newest is not None  # noqa: S101 - no backup is a problem
        proven = self.newest.kind or "not read"
        if self.newest.restored is not None:
            proven += f", restored: {self.newest.restored.tables} tables, {self.newest.restored.rows} rows"
        return f"{self.newest.path.name} is {self.age_hours:.1f} h old, {self.newest.size_bytes} bytes, {proven}"

    def __str__(self) -> str:
        head = "healthy" if self.healthy else "NOT healthy"
        lines = [f"Backups in {self.backup_path}: {head} ({self.count} found)"]
        lines += [f"  {problem.kind}: {problem.message}" for problem in self.problems]
        if self.healthy:
            lines.append(f"  {self.summary()}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON types."""
        newest: dict[str, object] | None = None
        if self.newest is not None:
            newest = {
                "path": str(self.newest.path),
                "size_bytes": self.newest.size_bytes,
                "modified_at": self.newest.modified_at.isoformat(),
                "age_hours": round(self.age_hours or 0.0, 3),
                "kind": self.newest.kind,
                "checksum": self.newest.checksum,
                "contents": self.newest.contents,
            }
            if self.newest.restored is not None:
                newest["restored"] = {
                    "tables": self.newest.restored.tables,
                    "rows": self.newest.restored.rows,
                    "seconds": round(self.newest.restored.seconds, 3),
                }
        return {
            "healthy": self.healthy,
            "backup_path": str(self.backup_path),
            "checked_at": self.checked_at.isoformat(),
            "count": self.count,
            "newest": newest,
            "problems": [
                {"kind": problem.kind, "path": str(problem.path), "message": problem.message}
                for problem in self.problems
            ],
            "notes": list(self.notes),
        }
