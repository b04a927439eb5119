"""Whether backups can be relied on: there, recent, of a plausible size, unchanged since they were written, readable."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, TypeAlias

from svc_infra.data.lifecycle import checksum as checksums
from svc_infra.data.lifecycle import contents as dumps
from svc_infra.data.lifecycle.errors import BrokenBackup
from svc_infra.data.lifecycle.report import BackupFile, BackupProblem, BackupReport, ProblemKind
from svc_infra.health.check import Worker

__all__ = ["ChecksumMode", "verify_backups"]

ChecksumMode: TypeAlias = Literal["if-present", "required", "ignore"]

_NOT_BACKUPS = (*checksums.SIDECAR_SUFFIXES, ".asc", ".sig", ".log", ".tmp", ".part", ".partial", ".json", ".lock")
_FUTURE_TOLERANCE = timedelta(minutes=5)


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def verify_backups(
    expected_max_age_hours: float = 24.0,
    backup_path: str | os.PathLike[str] = "/backups",
    *,
    pattern: str = "*",
    min_size_bytes: int = 1,
    max_shrink_percent: float | None = None,
    checksum: ChecksumMode = "if-present",
    contents: bool = True,
    restore_into: str | None = None,
    timeout_seconds: float = 600.0,
    now: Callable[[], datetime] = _utc_now,
    clock: Callable[[], float] = time.monotonic,
) -> BackupReport:
    """Verify the newest backup under a path.

        report = await verify_backups(expected_max_age_hours=24, backup_path="/backups")
        if not report.healthy:
            alert_ops_team(report)

    Read to their end are: pg_dump's custom, tar, directory and plain formats, pg_dumpall, pg_basebackup, mysqldump and
    mariadb-dump, mongodump (archive and folder), SQLite and DuckDB files, each also compressed with gzip, bzip2 or xz,
    and with zstd or lz4 where their programs are installed. What goes wrong is in the report, never raised.

    Args:
        expected_max_age_hours: The newest backup may be this many hours old, by the time of its last change.
        backup_path: A folder, searched with its subfolders, or one file.
        pattern: Only files and dump folders whose name matches this glob. One call per series of backups: a fresh
            backup of one database says nothing about another.
        min_size_bytes: A smaller backup is a problem.
        max_shrink_percent: How much smaller than the one before it a backup may be; None does not compare.
        checksum: "if-present" compares with a file beside the backup (`NAME.sha256` and so on, or SHA256SUMS);
            "required" makes its absence a problem; "ignore" does not look.
        contents: Whether to read it to its end. False for encrypted backups.
        restore_into: A URL of a database server. The backup is restored there into a scratch database of a new name,
            which is counted and then dropped. Needs the database's own programs (pg_restore and psql, or mariadb).
            SQLite backups need no server: pass "sqlite://".
        timeout_seconds: For all of it.
        now: Wall clock.
        clock: Monotonic clock.
    """
    root = Path(backup_path)
    deadline = clock() + timeout_seconds

    def examine() -> BackupReport:
        return _examine(
            root,
            pattern=pattern,
            max_age=timedelta(hours=expected_max_age_hours),
            min_size=min_size_bytes,
            max_shrink=max_shrink_percent,
            checksum=checksum,
            contents=contents,
            deadline=deadline,
            now=now(),
            clock=clock,
        )

    try:
        # A file system that hangs ignores the deadline of the reading loop, hence a second bound around the thread.
        report = await asyncio.wait_for(Worker().run(examine), timeout_seconds + 1)
    except TimeoutError:
        message = f"{root} did not answer within {timeout_seconds:g} s"
        return BackupReport(root, now(), problems=(BackupProblem("timeout", root, message),))
    if restore_into is None or report.newest is None or not report.healthy:
        return report
    from svc_infra.data.lifecycle.restore import restore

    try:
        proof = await restore(report.newest, restore_into, timeout_seconds=max(1.0, deadline - clock()))
    except BrokenBackup as error:
        problem = BackupProblem(error.kind, report.newest.path, f"{report.newest.path.name}: {error}")
        return replace(report, problems=(problem,))
    return replace(report, newest=replace(report.newest, restored=proof))


def _examine(
    root: Path,
    *,
    pattern: str,
    max_age: timedelta,
    min_size: int,
    max_shrink: float | None,
    checksum: ChecksumMode,
    contents: bool,
    deadline: float,
    now: datetime,
    clock: Callable[[], float],
) -> BackupReport:
    try:
        found = sorted(_find(root, pattern), key=lambda backup: backup.modified_at, reverse=True)
    except OSError as error:
        kind: ProblemKind = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        message = f"{root} can't be looked at: {error.strerror or error}"
        return BackupReport(root, now, problems=(BackupProblem(kind, root, message),))
    if not found:
        which = "no backup" if pattern == "*" else f"no backup named {pattern}"
        return BackupReport(root, now, problems=(BackupProblem("missing", root, f"{which} in {root}"),))
    newest = found[0]
    problems = list(_plausibility(newest, found[1:], max_age, min_size, max_shrink, now))
    notes: list[str] = []

    def guarded(step: Callable[[], BackupFile]) -> BackupFile:
        try:
            return step()
        except BrokenBackup as error:
            problems.append(BackupProblem(error.kind, newest.path, f"{newest.path.name}: {error}"))
        except OSError as error:
            text = f"{newest.path.name} can't be read: {error.strerror or error}"
            problems.append(BackupProblem("unreadable", newest.path, text))
        return newest

    if checksum != "ignore":
        newest = guarded(lambda: _checked(newest, checksum, deadline, clock))
    if contents and newest.size_bytes:
        newest = guarded(lambda: _read(newest, notes, deadline, clock))
    return BackupReport(root, now, newest, len(found), tuple(problems), tuple(notes))


def _plausibility(
    newest: BackupFile,
    older: list[BackupFile],
    max_age: timedelta,
    min_size: int,
    max_shrink: float | None,
    now: datetime,
) -> Iterator[BackupProblem]:
    name, age = newest.path.name, now - newest.modified_at
    if age > max_age:
        hours, limit = age.total_seconds() / 3600, max_age.total_seconds() / 3600
        yield BackupProblem(
            "age", newest.path, f"the newest backup, {name}, is {hours:.1f} h old; {limit:g} h are allowed"
        )
    if age < -_FUTURE_TOLERANCE:
        hours = -age.total_seconds() / 3600
        yield BackupProblem(
            "future", newest.path, f"{name} is dated {hours:.1f} h in the future, so its age is not known"
        )
    if newest.size_bytes < min_size:
        yield BackupProblem("size", newest.path, f"{name} has {newest.size_bytes} bytes; {min_size} are expected")
    if max_shrink is not None and older and newest.size_bytes < older[0].size_bytes * (1 - max_shrink / 100):
        shrunk = 100 * (1 - newest.size_bytes / older[0].size_bytes)
        text = f"{name} is {shrunk:.0f} % smaller than {older[0].path.name}; {max_shrink:g} % are allowed"
        yield BackupProblem("size", newest.path, text)


def _checked(backup: BackupFile, mode: ChecksumMode, deadline: float, clock: Callable[[], float]) -> BackupFile:
    files = (
        [backup.path] if backup.path.is_file() else sorted(file for file in backup.path.rglob("*") if file.is_file())
    )
    compared = False
    for file in files:
        expected = checksums.find_expected(file)
        if expected is not None:
            checksums.compare(file, *expected, deadline, clock)
            compared = True
    if compared:
        return replace(backup, checksum="matched")
    if mode == "required":
        raise BrokenBackup("checksum", f"there is no {backup.path.name}.sha256 beside it")
    return replace(backup, checksum="absent")


def _read(backup: BackupFile, notes: list[str], deadline: float, clock: Callable[[], float]) -> BackupFile:
    reader = dumps.read_file if backup.path.is_file() else dumps.read_folder
    finding = reader(backup.path, deadline, clock)
    if finding.note is not None:
        notes.append(finding.note)
    return replace(backup, kind=finding.kind, contents="complete" if finding.complete else "recognised")


def _find(root: Path, pattern: str) -> Iterator[BackupFile]:
    root.stat()  # a path that is missing or forbidden is an error, not "no backups"
    if root.is_file() or dumps.is_dump_folder(root):
        yield _backup(root)
        return
    seen: set[Path] = set()
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in list(folders):
            if dumps.is_dump_folder(here / name):
                folders.remove(name)
                if fnmatch(name, pattern):
                    yield _backup(here / name)
        for name in names:
            # Links such as "latest" count as the file that they lead to; one that leads nowhere is no backup.
            path = (here / name).resolve()
            if path in seen or not path.is_file() or not _is_backup_name(name) or not fnmatch(name, pattern):
                continue
            seen.add(path)
            yield _backup(path)


def _is_backup_name(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(_NOT_BACKUPS) and name not in checksums.SUM_FILES


def _backup(path: Path) -> BackupFile:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    stats = [file.stat() for file in files]
    modified = max((stat.st_mtime for stat in stats), default=path.stat().st_mtime)
    return BackupFile(path, sum(stat.st_size for stat in stats), datetime.fromtimestamp(modified, UTC))
