"""The lint over a project's revisions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.command import Command, alembic_errors
from svc_infra.db.sql.core.errors import RevisionError
from svc_infra.db.sql.core.lint.catalog import RULES
from svc_infra.db.sql.core.lint.findings import Finding
from svc_infra.db.sql.core.project import Project
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from alembic.script import Script

__all__ = ["lint"]

_SUPPRESSION = re.compile(r"#\s*lint:\s*ignore\[([\w, -]+)\](.*)")
_SQUAWK_SECONDS = 60
# Of squawk's rules those that our own already hold, with the table's history in mind; the timeouts, which every run
# sets; and those of taste. https://squawkhq.com/docs/rules
_KNOWN_TO_US = frozenset({
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-required-field",
    "ban-concurrent-index-creation-in-transaction",
    "ban-drop-column",
    "ban-drop-database",
    "ban-drop-schema",
    "ban-drop-table",
    "ban-truncate-cascade",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamptz",
    "renaming-column",
    "renaming-table",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "require-concurrent-reindex",
    "require-lock-timeout",
    "require-statement-timeout",
})  # fmt: skip


def lint(
    rev_range: str | None = None,
    *,
    dialect: str | None = None,
    squawk: bool = True,
    database_url: str | None = None,
    project: Project | None = None,
) -> list[Finding]:
    """Look through revisions for what would stop a service that runs while they are applied.

    No database is needed: the revisions run in offline mode. A finding is suppressed by a comment anywhere in the file,
    with a reason: `# lint: ignore[drop-column] unused since 2.3`.

    Args:
        rev_range: `from:to`, the revisions after `from` up to `to`; None is all of them.
        dialect: Name of the database's dialect, by default that of the configured URL.
        squawk: Run squawk (https://squawkhq.com) too when it is installed and the database is PostgreSQL.
        database_url: The database whose dialect counts, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards.

    Returns:
        The findings, oldest revision first; the suppressed ones with their reason.
    """
    command = Command(project, database_url)
    if dialect is None:
        dialect = resolve_target(command.project, database_url, config=command.config, needs_driver=False).dialect
    base, colon, head = (rev_range or ":").partition(":")
    if not colon:
        raise RevisionError(f"a range is from:to, from: or :to, got {rev_range!r}")
    with alembic_errors():
        scripts = list(command.scripts.walk_revisions(base=base or "base", head=head or "heads"))
        if base and base != "base":
            first = command.scripts.get_revision(base).revision
            scripts = [script for script in scripts if script.revision != first]
    findings: list[Finding] = []
    for script in reversed(scripts):
        findings += _lint_one(script, dialect, squawk=squawk)
    return findings


def _lint_one(script: Script, dialect: str, *, squawk: bool) -> Iterator[Finding]:
    from svc_infra.db.sql.core.lint.recording import record
    from svc_infra.db.sql.core.lint.rules import Revised, broken_rules
    from svc_infra.db.sql.core.operations import describe_operation

    suppressions = _suppressions(Path(script.path))
    recorded = record(script, dialect)
    revised = Revised()
    for operation, line, autocommits in recorded.operations:
        revised.note(operation)
        for name in broken_rules(operation, dialect, revised, autocommits=autocommits):
            rule = RULES[name]
            what = describe_operation(operation)
            lock = rule.lock_on(dialect)
            yield _finding(script, name, line, what, rule.risk, lock, rule.instead, suppressions)
    if recorded.failure is not None:
        rule = RULES["not-linted"]
        what = f"the rest of this revision ({recorded.failure})"
        yield _finding(script, "not-linted", recorded.failed_line, what, rule.risk, "", rule.instead, suppressions)
    if squawk and dialect == "postgresql" and recorded.sql:
        yield from _squawk(script, recorded.sql, suppressions)


def _finding(
    script: Script,
    rule: str,
    line: int,
    operation: str,
    risk: str,
    lock: str,
    instead: str,
    suppressions: dict[str, str],
) -> Finding:
    return Finding(rule, script.revision, script.path, line, operation, risk, lock, instead, suppressions.get(rule))


def _suppressions(path: Path) -> dict[str, str]:
    """Return the reasons by rule.

    Raises:
        RevisionError: A suppression gives no reason.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _SUPPRESSION.search(line)
        if match:
            reason = match[2].strip()
            if not reason:
                raise RevisionError(
                    f"{path}:{number}: a suppression needs a reason: # lint: ignore[{match[1]}] because ..."
                )
            found |= dict.fromkeys((rule.strip() for rule in match[1].split(",")), reason)
    return found


def _squawk(script: Script, sql: str, suppressions: dict[str, str]) -> Iterable[Finding]:
    """Run squawk on the revision's SQL; it exits with 1 for warnings too, so that only its output counts."""
    program = shutil.which("squawk")
    if program is None:
        return
    done = subprocess.run(  # noqa: S603
        [
            program,
            "--reporter=json",
            "--assume-in-transaction",
            f"--stdin-filepath={script.path}",
        ],
        input=sql,
        capture_output=True,
        text=True,
        timeout=_SQUAWK_SECONDS,
        check=False,
    )
    try:
        reported = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise RevisionError(
            f"squawk ended with {done.returncode} and no report: {done.stderr.strip()[:300]}"
        ) from error
    for item in reported:
        rule = str(item.get("rule_name") or item.get("rule") or "squawk")
        if rule in _KNOWN_TO_US:
            continue
        message, help_text = str(item.get("message") or ""), str(item.get("help") or "")
        yield _finding(script, rule, 0, "squawk on its SQL", message, "", help_text, suppressions)
