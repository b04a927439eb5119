"""Revision files: what they are, and making new ones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.command import Command, alembic_errors
from svc_infra.db.sql.core.errors import Pending, RevisionError
from svc_infra.db.sql.core.project import Project
from svc_infra.db.sql.core.steps import upgrade

if TYPE_CHECKING:
    from alembic.autogenerate import RevisionContext
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import Script, ScriptDirectory
    from sqlalchemy import Dialect

__all__ = ["Revision", "merge", "revision"]


@dataclass(frozen=True)
class Revision:
    """A revision file.

    Attributes:
        revision: Its identifier.
        message: The first paragraph of its docstring.
        down_revisions: The revisions that it builds upon, none for a first one.
        depends_on: Revisions of other branches that must be applied before it.
        branch_labels: Names of the branch that it belongs to.
        is_head: Whether no other revision builds upon it.
        path: Where the file is; empty for a revision that the database records and no file has.
        created: When the file was written, as it says itself, or None.
    """

    revision: str
    message: str
    down_revisions: tuple[str, ...]
    depends_on: tuple[str, ...]
    branch_labels: tuple[str, ...]
    is_head: bool
    path: str
    created: str | None = None

    @classmethod
    def of(cls, script: Script) -> Revision:
        """Describe one of Alembic's scripts."""
        return cls(
            script.revision,
            script.doc,
            _names(script.down_revision),
            _names(script.dependencies),
            tuple(sorted(script.branch_labels)),
            script.is_head,
            script.path,
            found[1] if (found := re.search(r"^Create Date: *(.+)$", script.longdoc, re.MULTILINE)) else None,
        )

    @classmethod
    def without_file(cls, revision: str) -> Revision:
        """Describe a revision that the database records and no file has."""
        return cls(revision, "(no file has this revision)", (), (), (), is_head=False, path="")


def revision(
    message: str | None = None,
    *,
    autogenerate: bool = False,
    ensure_head_before_autogenerate: bool = True,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | os.PathLike[str] | None = None,
    rev_id: str | None = None,
    depends_on: str | Sequence[str] | None = None,
    allow_drops: bool = False,
    renames: Mapping[str, str] | None = None,
    ask: Callable[[str], bool] | None = None,
    database_url: str | None = None,
    project: Project | None = None,
) -> Revision | None:
    """Write a new revision file: an empty one, or one that makes the database equal to the models.

    Args:
        message: What it does, in a few words; becomes its docstring and part of its file name.
        autogenerate: Compare the database with the models and write the operations.
        ensure_head_before_autogenerate: Apply pending revisions first, because the comparison would repeat their
            changes. When false, pending revisions are an error.
        head: The revision to build upon, `head` by default.
        splice: Allow `head` to be a revision that others build upon.
        branch_label: Name of a new branch.
        version_path: Folder to write to when there are several.
        rev_id: Identifier to use; at most 32 characters, the size of Alembic's version column.
        depends_on: Revisions of other branches that must be applied before it.
        allow_drops: Write operations that lose data: dropped tables and columns, narrower types, removed enum values.
        renames: What has another name now, as `{"users.name": "full_name", "people": "users"}`.
        ask: Answers a question about a possible rename or loss with yes or no; None answers no.
        database_url: The database to compare with, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards.

    Returns:
        The new revision, or None when autogenerate found nothing to do and wrote nothing.

    Raises:
        RevisionError: `rev_id` can't be used, or `head` names no single revision.
        Pending: The database is not at the newest revision and `ensure_head_before_autogenerate` is false.
        DiscoveryError: The models can't be imported.
        Refused: The operations would lose data and `allow_drops` is false; nothing was written.
    """
    if rev_id is not None:
        _check_identifier(rev_id)
    from svc_infra.db.sql.core.autogenerate.review import review

    command = Command(project, database_url)
    if autogenerate and ensure_head_before_autogenerate:
        upgrade("heads", database_url=database_url, project=command.project)
    context = new_revision_context(
        command,
        message=message,
        autogenerate=autogenerate,
        head=head,
        splice=splice,
        branch_label=branch_label,
        version_path=str(version_path) if version_path is not None else None,
        rev_id=rev_id,
        depends_on=depends_on,
    )
    if autogenerate or command.config.get_alembic_option("revision_environment") in {"true", True}:
        dialect = _run(command, context, autogenerate=autogenerate)
        if autogenerate:
            review(context.generated_revisions, dialect, allow_drops=allow_drops, renames=renames or {}, ask=ask)
    if autogenerate and all(script.upgrade_ops_list[0].is_empty() for script in context.generated_revisions):
        return None
    with alembic_errors():
        scripts = [script for script in context.generate_scripts() if script is not None]
    return Revision.of(scripts[0]) if scripts else None


def merge(
    revisions: str | Sequence[str] = "heads",
    *,
    message: str | None = None,
    branch_label: str | None = None,
    rev_id: str | None = None,
    splice: bool = False,
    project: Project | None = None,
) -> Revision:
    """Write a revision that joins several heads into one.

    Args:
        revisions: The revisions to join, `heads` for all heads.
        message: What it does, "merge" and the identifiers by default.
        branch_label: Name of the joined branch.
        rev_id: Identifier to use.
        splice: Allow revisions that are no heads.
        project: The project, by default found from the working directory upwards.

    Raises:
        RevisionError: There is only one head, or a name is no revision.
    """
    from alembic.util import rev_id as new_identifier

    if rev_id is not None:
        _check_identifier(rev_id)
    command = Command(project)
    named = (revisions,) if isinstance(revisions, str) else tuple(revisions)
    with alembic_errors():
        joined = command.scripts.get_revisions(named)
        if len(joined) < 2:
            found = ", ".join(script.revision for script in joined) or "none"
            raise RevisionError(
                f"merge needs at least two revisions, {' '.join(named)} is {found}: there is nothing to merge"
            )
        script = command.scripts.generate_revision(
            rev_id or new_identifier(),
            message or f"merge {' and '.join(script.revision for script in joined)}",
            refresh=True,
            head=[script.revision for script in joined],
            branch_labels=branch_label,
            splice=splice,
            config=command.config,
        )
    if script is None:
        raise RevisionError("Alembic wrote the merge revision but can't read it back")
    return Revision.of(script)


def _check_identifier(rev_id: str) -> None:
    """Refuse what the version table can't hold; SQLite would take it and PostgreSQL fail at the first deployment."""
    if not 0 < len(rev_id) <= 32 or any(character in rev_id for character in "@-+:"):
        raise RevisionError(f"a revision id has 1 to 32 characters and none of @ - + :, got {rev_id!r}")


def new_revision_context(
    command: Command,
    *,
    autogenerate: bool,
    message: str | None = None,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | None = None,
    rev_id: str | None = None,
    depends_on: str | Sequence[str] | None = None,
) -> RevisionContext:
    """Prepare what Alembic fills while it compares and writes."""
    from alembic.autogenerate import RevisionContext

    arguments = {
        "message": message,
        "autogenerate": autogenerate,
        "sql": False,
        "head": head,
        "splice": splice,
        "branch_label": branch_label,
        "version_path": version_path,
        "rev_id": rev_id,
        "depends_on": depends_on,
    }
    return RevisionContext(command.config, command.scripts, arguments)


def _run(command: Command, revision_context: RevisionContext, *, autogenerate: bool) -> Dialect:
    dialects: list[Dialect] = []

    def work(heads: tuple[str, ...], context: MigrationContext) -> Iterable[RevisionStep]:
        dialects.append(context.dialect)
        if autogenerate:
            _check_current(heads, command.scripts)
            revision_context.run_autogenerate(heads, context)
        else:
            revision_context.run_no_autogenerate(heads, context)
        return ()

    command.run(work, template_args=revision_context.template_args, revision_context=revision_context, dont_mutate=True)
    return dialects[0]


def _check_current(heads: tuple[str, ...], scripts: ScriptDirectory) -> None:
    if set(heads) != set(scripts.get_heads()):
        raise Pending(
            f"the database is at {', '.join(heads) or 'no revision'}, "
            f"the newest is {', '.join(scripts.get_heads()) or 'none'}; run `svc-infra sql upgrade` first"
        )


def _names(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
