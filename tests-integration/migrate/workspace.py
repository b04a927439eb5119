"""A project to migrate, and the command line as a process."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest

from migrate.processes import COMMAND, Finished, ProcessServer, Spawned
from svc_infra.db.sql.core import Project, find_project, init_alembic
from svc_infra.migrate.main import main

# Variables of the developer's shell must not choose the database of a test.
_FOREIGN = ("SQL_URL", "DB_", "DATABASE_URL", "PRIVATE_SQL_URL", "ALEMBIC_", "MIGRATION_", "TEST_")


@dataclass
class RecordedProgress:
    """Keeps what a run told."""

    notes: list[str] = field(default_factory=list)
    finished_revisions: list[str] = field(default_factory=list)
    failed_revisions: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    shares: list[float | None] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def started(self, revision: str, message: str, *, upgrading: bool) -> None:
        pass

    def finished(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        self.finished_revisions.append(revision)

    def failed(self, revision: str, message: str, *, upgrading: bool, seconds: float) -> None:
        self.failed_revisions.append(revision)

    def advanced(self, work: str, rows: int, share: float | None, *, rate: float, left: float | None) -> None:
        self.shares.append(share)

    def waiting(self, reason: str, seconds: float) -> None:
        self.waits.append(seconds)

    def statement(self, sql: str) -> None:
        self.statements.append(sql)


@dataclass
class Workspace:
    """A folder with a project, and what its commands see."""

    root: Path
    environ: dict[str, str]
    processes: ProcessServer
    progress: RecordedProgress = field(default_factory=RecordedProgress)

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text), encoding="utf-8")
        return target

    def init(self, metadata: str = "from sqlalchemy import MetaData\n\nmetadata = MetaData()") -> Project:
        """Create the migration environment; its models are the source text `metadata`, a module of env.py's own."""
        scripts = init_alembic(directory=self.root, progress=self.progress)
        (scripts / "env.py").write_text(
            f"{metadata}\n\n"
            "from svc_infra.db.sql.core.environment import run_migrations\n\n"
            "run_migrations(metadata=metadata)\n",
            encoding="utf-8",
        )
        return self.project

    @property
    def project(self) -> Project:
        return find_project(self.root, environ=self.environ, progress=self.progress)

    def revision(self, name: str, upgrade: str, downgrade: str = "pass", *, after: str | None = None) -> None:
        """Write a revision file by hand."""
        body = "from alembic import op\nimport sqlalchemy as sa\n\n"
        indented = textwrap.indent(textwrap.dedent(upgrade).strip(), "    ")
        undo = textwrap.indent(textwrap.dedent(downgrade).strip(), "    ")
        self.write(
            f"migrations/versions/{name}.py",
            f'"""{name} step"""\n\n{body}revision = {name!r}\ndown_revision = {after!r}\n'
            f"branch_labels = None\ndepends_on = None\n\n\ndef upgrade():\n{indented}\n\n\ndef downgrade():\n{undo}\n",
        )

    def run(self, *arguments: str, cwd: str = ".") -> Finished:
        """Run `svc-infra` in a folder of the project, in this process; several times faster than `spawn`."""
        output, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.root / cwd),
            mock.patch.dict(os.environ, self.environ, clear=True),
            mock.patch.object(sys, "argv", ["svc-infra", *arguments]),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        return Finished(code, output.getvalue(), errors.getvalue())

    def spawn(self, *arguments: str, cwd: str = ".") -> Finished:
        """Run `svc-infra` in a folder of the project, in a process of its own."""
        return self.start(COMMAND, *arguments, name="svc-infra", cwd=cwd).wait()

    def start(self, source: str, *arguments: str, name: str = "script", cwd: str = ".") -> Spawned:
        """Start a Python script in a folder of the project, in a process of its own."""
        return self.processes.start(source, [name, *arguments], folder=self.root / cwd, environ=self.environ)


def clean_environ() -> dict[str, str]:
    """Return the environment without what would choose a database or change the output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "PYTHONWARNINGS": "error", "NO_COLOR": "1"}


@pytest.fixture
def make_workspace(tmp_path: Path, processes: ProcessServer) -> Callable[[str], Workspace]:
    """Make a project for a database URL."""

    def make(url: str) -> Workspace:
        root = tmp_path / "project"
        root.mkdir(exist_ok=True)
        return Workspace(root, {**clean_environ(), "SQL_URL": url}, processes)

    return make


@pytest.fixture
def workspace(make_workspace: Callable[[str], Workspace], tmp_path: Path) -> Workspace:
    """A project on an empty SQLite database."""
    return make_workspace(f"sqlite:///{tmp_path / 'app.db'}")
