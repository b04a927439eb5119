"""The options that the verbs share, and the project that they choose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

import svc_infra.db.sql.core as core
from svc_infra.migrate.stderr_progress import StderrProgress

__all__ = [
    "AsJson",
    "BranchLabel",
    "DatabaseUrl",
    "Message",
    "Options",
    "RevisionId",
    "Splice",
    "Sql",
    "Tag",
    "Yes",
    "options_of",
    "project_from",
    "project_of",
]

DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="Database to use instead of the configured one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]
Sql = Annotated[bool, typer.Option("--sql", help="Write the SQL to stdout instead of running it.")]
Tag = Annotated[str | None, typer.Option("--tag", help="Handed to the project's env.py.")]
Message = Annotated[str | None, typer.Option("--message", "-m", help="What the revision does.")]
RevisionId = Annotated[str | None, typer.Option("--rev-id", help="Identifier to use, at most 32 characters.")]
BranchLabel = Annotated[str | None, typer.Option("--branch-label", help="Name of the new branch.")]
Splice = Annotated[bool, typer.Option("--splice", help="Build upon a revision that is no head.")]
Yes = Annotated[
    str | None, typer.Option("--yes", metavar="NAME", help="Name of the database, needed outside development.")
]


@dataclass(frozen=True)
class Options:
    """What stands between `sql` and the verb; `variables` go before those of the environment."""

    config: Path | None
    section: str
    x: tuple[str, ...]
    progress: StderrProgress
    variables: Mapping[str, str] = field(default_factory=dict)
    reads_env_file: bool = True

    @property
    def environ(self) -> Mapping[str, str]:
        """The process environment with the options in front of it."""
        return {**os.environ, **self.variables} if self.variables else os.environ

    def any_project(self) -> core.Project:
        """Return the project, or the working directory where there is none."""
        if self.config is not None:
            return project_from(self)
        found = core.any_project(environ=self.environ, progress=self.progress)
        return replace(found, prints_to_stderr=True, reads_env_file=self.reads_env_file)


def options_of(context: typer.Context) -> Options:
    """Return the options of the group."""
    options = context.obj
    return options if isinstance(options, Options) else Options(None, "alembic", (), StderrProgress())


def project_of(context: typer.Context) -> core.Project:
    """Find the project that the options choose.

    Raises:
        ProjectNotFound: There is none.
    """
    return project_from(options_of(context))


def project_from(options: Options) -> core.Project:
    """Find the project of the options."""
    found = core.find_project(
        config=options.config,
        section=options.section,
        x=options.x,
        environ=options.environ,
        progress=options.progress,
    )
    return replace(found, prints_to_stderr=True, reads_env_file=options.reads_env_file)
