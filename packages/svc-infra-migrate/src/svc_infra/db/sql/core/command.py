"""Running one Alembic command in the project's `env.py`, with Alembic's errors turned into ours."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from svc_infra.db.sql.core.errors import (
    MigrationError,
    MultipleHeads,
    Pending,
    ProjectNotFound,
    RevisionError,
    UnknownRevision,
)
from svc_infra.db.sql.core.places import place_of
from svc_infra.db.sql.core.project import Project, find_project

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory

__all__ = ["Command", "alembic_errors", "open_scripts"]

Work = Callable[["tuple[str, ...]", "MigrationContext"], "Iterable[RevisionStep]"]

# Alembic keeps the running environment in a module, so that one process can run one command at a time.
_one_at_a_time = threading.RLock()


class Command:
    """One run of the project's `env.py`.

    Attributes:
        project: The project that it belongs to.
        config: Alembic's configuration, whose attributes carry what `env.py` needs to know.
        scripts: The revision files.
    """

    def __init__(
        self,
        project: Project | None,
        database_url: str | None = None,
        *,
        output: TextIO | None = None,
    ) -> None:
        self.project: Project = project or find_project()
        self.config: Config = self.project.alembic_config(output=output or sys.stdout)
        self.config.attributes["project"] = self.project
        self.config.attributes["database_url"] = database_url
        self.scripts: ScriptDirectory = open_scripts(self.project, self.config)
        _load(self.scripts)

    def run(self, work: Work, *, as_sql: bool = False, **options: object) -> None:
        """Load `env.py`, which connects and then calls `work` with the current heads and the migration context.

        Args:
            work: Returns the steps to run; returns an empty list when it only reads.
            as_sql: Write SQL instead of running it.
            options: Further options of Alembic's `EnvironmentContext`.
        """
        from alembic.runtime.environment import EnvironmentContext

        with (
            _one_at_a_time,
            alembic_errors(),
            EnvironmentContext(self.config, self.scripts, fn=work, as_sql=as_sql, **options),
            redirect_stdout(sys.stderr) if self.project.prints_to_stderr else nullcontext(),
        ):
            self.scripts.run_env()

    def read(self, work: Callable[[tuple[str, ...], MigrationContext], None]) -> None:
        """Call `work` with the heads that the database records, changing nothing."""

        def reading(heads: tuple[str, ...], context: MigrationContext) -> Iterable[RevisionStep]:
            work(heads, context)
            return ()

        self.run(reading, dont_mutate=True)


def open_scripts(project: Project, config: Config) -> ScriptDirectory:
    """Open the folder of revision files.

    Raises:
        ProjectNotFound: The folder that the configuration names is not there.
    """
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        scripts = ScriptDirectory.from_config(config)
    except CommandError as error:
        raise ProjectNotFound(
            f"{project.ini_file or project.toml_file}: {error}; run `svc-infra sql init`, or correct script_location"
        ) from error
    if not Path(scripts.env_py_location).is_file():
        raise ProjectNotFound(
            f"there is no {scripts.env_py_location}; run `svc-infra sql init`, or correct script_location"
        )
    return scripts


def _load(scripts: ScriptDirectory) -> None:
    """Read the revision files, which Alembic otherwise does when it first needs one.

    Raises:
        RevisionError: A file can't be imported, or names a revision that no file has.
    """
    with alembic_errors():
        try:
            scripts.get_heads()
        except SyntaxError as error:
            raise RevisionError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
        except (KeyError, UserWarning) as error:  # Alembic warns, and then looks the revision up
            told = error.args[0] if isinstance(error, UserWarning) else f"no file has the revision {error}"
            files = [path for folder in scripts._version_locations for path in Path(folder).rglob("*.py")]  # noqa: SLF001
            naming = [path.name for path in files if str(error.args[0]) in path.read_text(encoding="utf-8")]
            where = f", which {', '.join(naming)} builds upon" if naming else ""
            raise RevisionError(f"{told}{where}; get the branch that has its file. Nothing was changed.") from error
        except ImportError as error:
            raise RevisionError(f"a revision file can't be imported{place_of(error)}: {error}") from error


@contextmanager
def alembic_errors() -> Iterator[None]:
    """Raise Alembic's command errors as ours, with what to do about them."""
    from alembic.util import CommandError

    try:
        yield
    except CommandError as error:
        raise _translate(error) from error


def _translate(error: Exception) -> MigrationError:
    """Choose our class for one of Alembic's errors, which have one class and differ in their cause or text."""
    from alembic.script import revision
    from alembic.util import AutogenerateDiffsDetected, DatabaseNotAtHead

    text = re.sub(r"\s+", " ", str(error)).strip()
    cause = error.__cause__
    if isinstance(error, MigrationError):
        return error
    if isinstance(error, DatabaseNotAtHead) or text.startswith("Target database is not up to date"):
        return Pending(f"{text} Run `svc-infra sql upgrade`.")
    if isinstance(error, AutogenerateDiffsDetected):
        return MigrationError(text)
    if isinstance(cause, revision.MultipleHeads):
        return MultipleHeads(
            f"there are {len(cause.heads)} heads, {', '.join(sorted(cause.heads))}, where one is needed; join them "
            'with `svc-infra sql merge heads -m "merge branches"`, or name one of them'
        )
    if text == "Ambiguous walk":
        return RevisionError(
            "a number of steps is ambiguous at a branch or merge; name the revision, `svc-infra sql graph` draws them"
        )
    if isinstance(cause, revision.ResolutionError) or text.startswith("Can't locate revision"):
        return UnknownRevision(
            f"{text.rstrip('.')}; `svc-infra sql history` lists the revisions. If the database records it, its file is "
            "missing here: get the branch that has it. Nothing was changed."
        )
    return RevisionError(text)
