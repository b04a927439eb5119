"""What to say when a revision failed: what is applied, what stayed of it, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from svc_infra.db.sql.core.errors import MigrationFailed
from svc_infra.db.sql.core.places import place_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from svc_infra.db.sql.core.effects import Effects
    from svc_infra.db.sql.core.journal import Journal

__all__ = ["describe_failure", "invalid_indexes"]

_NAMES = {"postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB", "sqlite": "SQLite", "mssql": "SQL Server"}


class _Run(Protocol):
    applied: list[str]
    revision: str | None
    message: str
    upgrading: bool
    effects: Effects
    journal: Journal | None


def describe_failure(connection: Connection, run: _Run, error: Exception) -> MigrationFailed:
    """Return the error for a run that stopped; the transaction is rolled back already."""
    from svc_infra.dburl import redact

    done, verb = ("applied", "upgrade") if run.upgrading else ("undone", "downgrade")
    again = f"`svc-infra sql {verb}`"
    lines = [_headline(run, error)]
    if run.effects.failed:
        lines.append(f"  statement: {_shorten(run.effects.failed)}")
    lines.append(
        f"  {done} and committed before it: {', '.join(run.applied)}"
        if run.applied
        else f"  nothing was {done} before it"
    )
    kept = run.effects.kept
    earlier = run.journal.earlier if run.journal is not None else ()
    if earlier:
        lines.append("  an earlier run of this revision was cut off or failed; it had done:")
        lines += [f"    {_shorten(statement)}" for statement in earlier]
    if not kept and not earlier:
        lines.append("  of this revision nothing stayed: it was rolled back")
        lines.append(f"  how to go on: correct the cause or the revision file, and run {again} again")
    else:
        if kept:
            lines.append(f"  of this revision these statements stayed in {_why_kept(connection)}:")
            lines += [f"    {_shorten(statement)}" for statement in kept]
        lines.append(_by_hand(run, again))
    lines += [
        f"  invalid index left behind: {index}; DROP INDEX CONCURRENTLY {index}"
        for index in invalid_indexes(connection)
    ]
    return MigrationFailed(redact("\n".join(lines)))


def _why_kept(connection: Connection) -> str:
    dialect = connection.dialect
    name = "MariaDB" if getattr(dialect, "is_mariadb", False) else _NAMES.get(dialect.name, dialect.name)
    if dialect.name in {"mysql", "mariadb"}:
        return f"{name}, because it can't roll back DDL"
    return f"{name}, because they ran outside its transaction"


def _by_hand(run: _Run, again: str) -> str:
    return (
        f"  how to go on: undo them by hand, correct the revision file and run {again} again; "
        f"or finish the rest by hand and run `svc-infra sql stamp {run.revision}`"
    )


def _headline(run: _Run, error: Exception) -> str:
    origin = getattr(error, "orig", None) or error
    reason = str(origin).strip() or type(origin).__name__
    name = type(getattr(origin, "__cause__", None) or origin).__name__
    if run.revision is None:
        return f"the run failed before any revision began: {name}: {reason}"
    title = f"{run.revision} ({run.message})" if run.message else run.revision
    return f"revision {title} failed: {name}: {reason}{place_of(error)}"


def _shorten(statement: str, limit: int = 300) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= limit else f"{text[:limit]} ..."


def invalid_indexes(connection: Connection) -> Sequence[str]:
    """Return the indexes that a cut-off CREATE INDEX CONCURRENTLY left; PostgreSQL maintains but never uses them."""
    from sqlalchemy.exc import SQLAlchemyError

    if connection.dialect.name != "postgresql" or connection.invalidated:
        return ()
    try:
        rows = connection.exec_driver_sql(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid AND indislive"
            " AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)"
        ).scalars()
        found = list(rows)
        connection.rollback()
    except SQLAlchemyError:
        return ()
    return found
