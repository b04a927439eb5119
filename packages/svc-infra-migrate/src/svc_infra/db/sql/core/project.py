"""The project whose migrations are meant: where its configuration and its revision files are."""

from __future__ import annotations

import os
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from svc_infra.db.sql.core.errors import ProjectNotFound
from svc_infra.db.sql.core.progress import LoggedProgress, Progress

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Project", "find_project"]

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
    """

    root: Path
    ini_file: Path | None
    toml_file: Path | None
    section: str = "alembic"
    x: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    progress: Progress = field(default_factory=LoggedProgress, repr=False, compare=False)

    @property
    def source_roots(self) -> tuple[Path, ...]:
        """The folders that the project's modules are imported from: `src` where it exists, then the root."""
        source = self.root / "src"
        return (source, self.root) if source.is_dir() else (self.root,)

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
        ini, toml = (None, path) if path.suffix == ".toml" else (path, path.parent / TOML_NAME)
        if toml is not None and not toml.is_file():
            toml = None
    else:
        ini, toml = _search_upwards(folder)
    found = ini or toml
    assert found is not None
    return Project(found.parent, ini, toml, section, x, environ, progress or LoggedProgress())


def _search_upwards(folder: Path) -> tuple[Path | None, Path | None]:
    """Return the nearest `alembic.ini` and `pyproject.toml` that configure Alembic."""
    for candidate in (folder, *folder.parents):
        ini, toml = candidate / INI_NAME, candidate / TOML_NAME
        configured = toml.is_file() and _has_alembic_table(toml)
        if ini.is_file():
            return ini, toml if configured else None
        if configured:
            return None, toml
    raise ProjectNotFound(
        f"no {INI_NAME}, and no {TOML_NAME} with [tool.alembic], in {folder} or a folder above it; "
        "run `svc-infra sql init` in the project's folder, or name the file in ALEMBIC_CONFIG"
    )


def _has_alembic_table(path: Path) -> bool:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise ProjectNotFound(f"{path} is not valid TOML: {error}") from error
    return "alembic" in table
