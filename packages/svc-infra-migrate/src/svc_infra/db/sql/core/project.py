"""The project whose migrations are meant: where its configuration and its revision files are."""

from __future__ import annotations

import os
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from svc_infra.db.sql.core.errors import ProjectNotFound
from svc_infra.db.sql.core.progress import LoggedProgress, Progress
from svc_infra.dburl.variables import read_variables

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Project", "any_project", "find_project"]

INI_NAME = "alembic.ini"
TOML_NAME = "pyproject.toml"


@dataclass(frozen=True)
class Project:
    """A project with an Alembic configuration.

    Attributes:
        root: Folder of the configuration file; models are looked for here and in `src` below it.
        ini_file: The `alembic.ini`, or None when all options are in `pyproject.toml`.
        toml_file: The `pyproject.toml` beside it, or None.
        section: Section of `alembic.ini` to read (Alembic's `-n`), "alembic" by default.
        x: Arguments for the project's own `env.py` (Alembic's `-x`), each `key=value`.
        environ: Where variables are read from, the process environment by default.
        progress: Receives what happens, the logger `svc_infra.migrate` by default.
        prints_to_stderr: Whether what `env.py` and the revision files print goes to stderr. The command line, whose
            stdout is its answer, sets it; a service's own stdout is left alone.
        reads_env_file: Whether the `.env` beside the configuration file is read.
    """

    root: Path
    ini_file: Path | None
    toml_file: Path | None
    section: str = "alembic"
    x: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Progress = field(default_factory=LoggedProgress, repr=False, compare=False)
    prints_to_stderr: bool = False
    reads_env_file: bool = True

    @property
    def source_roots(self) -> tuple[Path, ...]:
        """The folders that the project's modules are imported from: `src` where it exists, then the root."""
        source = self.root / "src"
        return (source, self.root) if source.is_dir() else (self.root,)

    @property
    def env_file(self) -> Path | None:
        """The `.env` beside the configuration file, or None."""
        path = self.root / ".env"
        return path if self.reads_env_file and path.is_file() else None

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """The variables of `environ`, and behind them those of the `.env` file."""
        return read_variables(self.environ, env_file=self.env_file)

    def alembic_config(self, *, output: TextIO | None = None) -> Config:
        """Read the configuration for Alembic.

        Args:
            output: Where Alembic writes SQL in offline mode, stdout when None.

        Raises:
            ProjectNotFound: The file has no `script_location` in the section asked for.
        """
        from alembic.config import Config

        config = Config(
            self.ini_file,
            toml_file=self.toml_file,
            ini_section=self.section,
            output_buffer=output,
            cmd_opts=Namespace(x=list(self.x), quiet=True),
        )
        if self.ini_file is not None and not config.file_config.has_section(self.section):
            found = ", ".join(config.file_config.sections()) or "none"
            raise ProjectNotFound(f"{self.ini_file} has no section [{self.section}]; its sections: {found}")
        if not config.get_alembic_option("script_location"):
            raise ProjectNotFound(
                f"{self.ini_file or self.toml_file} names no script_location; add one, or run `svc-infra sql init`"
            )
        return config


def find_project(
    start: str | os.PathLike[str] | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    section: str = "alembic",
    x: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Project:
    """Find the project's Alembic configuration.

    The file is `config`, else the one that the variable `ALEMBIC_CONFIG` names, else the nearest `alembic.ini`, or
    `pyproject.toml` with a table `[tool.alembic]`, in `start` or a folder above it.

    Args:
        start: Folder to begin the search in, the working directory by default; relative paths count from here.
        config: Path of the configuration file.
        section: Section of `alembic.ini` to read.
        x: Arguments for the project's own `env.py`.
        environ: Where variables are read from, the process environment by default.
        progress: Receives what happens, the logger `svc_infra.migrate` by default.

    Raises:
        ProjectNotFound: There is no such file, or none was found; the message lists where it was looked for.
    """
    environ = os.environ if environ is None else environ
    folder = Path(start or Path.cwd()).absolute()
    named = config or environ.get("ALEMBIC_CONFIG", "").strip()
    if named:
        source = "the argument" if config else "ALEMBIC_CONFIG"
        path = (folder / Path(named).expanduser()).resolve()
        if not path.is_file():
            raise ProjectNotFound(f"{source} names {named}, but there is no file {path}")
    else:
        path = _search_upwards(folder)
    ini = None if path.suffix == ".toml" else path
    toml = path.with_name(TOML_NAME) if ini else path
    return Project(
        path.parent, ini, toml if _configures_alembic(toml) else None, section, x, environ, progress or LoggedProgress()
    )


def any_project(*, environ: Mapping[str, str] | None = None, progress: Progress | None = None) -> Project:
    """Return the project found from the working directory upwards, or that directory when it has no configuration.

    For what needs a database, but no revision files.
    """
    try:
        return find_project(environ=environ, progress=progress)
    except ProjectNotFound:
        return Project(Path.cwd(), None, None, environ=environ or os.environ, progress=progress or LoggedProgress())


def _search_upwards(folder: Path) -> Path:
    """Return the nearest `alembic.ini`, or `pyproject.toml` that configures Alembic."""
    for candidate in (folder, *folder.parents):
        if (candidate / INI_NAME).is_file():
            return candidate / INI_NAME
        if _configures_alembic(candidate / TOML_NAME):
            return candidate / TOML_NAME
    raise ProjectNotFound(
        f"no {INI_NAME}, and no {TOML_NAME} with [tool.alembic], in {folder} or a folder above it; "
        "run `svc-infra sql init` in the project's folder, or name the file in ALEMBIC_CONFIG"
    )


def _configures_alembic(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise ProjectNotFound(f"{path} is not valid TOML: {error}") from error
    return "alembic" in table
