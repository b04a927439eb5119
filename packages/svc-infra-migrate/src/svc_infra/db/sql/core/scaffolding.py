"""The files of a new migration environment."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svc_infra.db.sql.core.command import alembic_errors
from svc_infra.db.sql.core.errors import MigrationError, ProjectExists
from svc_infra.db.sql.core.progress import LoggedProgress, Progress

__all__ = ["DEFAULT_TEMPLATE", "Template", "init_alembic", "list_templates"]

DEFAULT_TEMPLATE = "svc-infra"
"""The environment whose `env.py` calls this library; the others are Alembic's own."""

_INI = """\
# Configuration of Alembic, read by `svc-infra sql` and by `alembic` itself.
# https://alembic.sqlalchemy.org/en/latest/tutorial.html#editing-the-ini-file

[alembic]
script_location = %(here)s/{location}
prepend_sys_path = %(here)s
path_separator = os
file_template = %%(year)d%%(month).2d%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s

# The database URL comes from the environment (MIGRATION_DATABASE_URL, SQL_URL, DATABASE_URL ...).
# Set it here only to point this file at one database; ALEMBIC_CONFIG chooses the file.
# sqlalchemy.url =
"""

_ENV = '''\
"""Run by Alembic for every command. The work is done by the library, so that fixes reach this project by an update."""

from svc_infra.db.sql.core.environment import run_migrations

run_migrations({arguments})
'''

_SCRIPT = '''\
"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif

revision: str = ${repr(up_revision)}
down_revision: str | Sequence[str] | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


@dataclass(frozen=True)
class Template:
    """A kind of migration environment.

    Attributes:
        name: As `init --template` takes it.
        description: What it is, in a line.
    """

    name: str
    description: str


def list_templates() -> list[Template]:
    """Return the kinds of environment that can be created, the default first, then Alembic's own."""
    ours = Template(DEFAULT_TEMPLATE, "This library's: sync and async drivers, discovery, lock and guards (default).")
    readmes = sorted(_alembic_templates().glob("*/README"))
    return [ours, *(Template(item.parent.name, item.read_text(encoding="utf-8").splitlines()[0]) for item in readmes)]


def _alembic_templates() -> Path:
    import alembic

    return Path(alembic.__file__).parent / "templates"


def init_alembic(
    script_location: str | os.PathLike[str] = "migrations",
    *,
    discover_packages: Sequence[str] | None = None,
    overwrite: bool = False,
    template: str = DEFAULT_TEMPLATE,
    package: bool = False,
    directory: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Create `alembic.ini`, and `env.py`, `script.py.mako` and `versions/` in the folder `script_location`.

    Files that are there with the same content stay, so calling it twice is harmless. Every other function reads the
    location from `alembic.ini`.

    Args:
        script_location: Folder of the revision files, relative to `directory` or absolute.
        discover_packages: Packages to look for models in; None looks in the whole project.
        overwrite: Replace files whose content differs. Revision files are never touched.
        template: One of `list_templates`. Alembic's own don't call this library, so that its lock, guards and
            discovery are not used.
        package: Make the folder and its `versions` Python packages.
        directory: The project's folder, the working directory by default.
        progress: Receives what happens, the logger `svc_infra.migrate` by default.

    Returns:
        The absolute path of the script location.

    Raises:
        ProjectExists: A file is there with other content and `overwrite` is false; nothing was written.
        MigrationError: There is no such template.
    """
    progress = progress or LoggedProgress()
    root = Path(directory or Path.cwd()).absolute()
    scripts = root / script_location
    if template != DEFAULT_TEMPLATE:
        return _init_as_alembic(root, scripts, template, package=package)
    location = Path(os.path.relpath(scripts, root)).as_posix().replace("%", "%%")
    arguments = f"discover_packages={list(discover_packages)!r}".replace("'", '"') if discover_packages else ""
    files = {
        root / "alembic.ini": _INI.format(location=location),
        scripts / "env.py": _ENV.format(arguments=arguments),
        scripts / "script.py.mako": _SCRIPT,
    }
    if package:
        files |= {scripts / "__init__.py": "", scripts / "versions" / "__init__.py": ""}
    different = [path for path, text in files.items() if path.exists() and path.read_text(encoding="utf-8") != text]
    if different and not overwrite:
        raise ProjectExists(
            "already there with other content: "
            + ", ".join(str(path) for path in different)
            + "; nothing was written (overwrite=True, or --overwrite, replaces them)"
        )
    (scripts / "versions").mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        if path in different or not path.exists():
            path.write_text(text, encoding="utf-8")
            progress.note(f"Wrote {path}")
        else:
            progress.note(f"Kept {path}")
    return scripts


def _init_as_alembic(root: Path, scripts: Path, template: str, *, package: bool) -> Path:
    from alembic.command import init
    from alembic.config import Config

    names = [item.name for item in list_templates()]
    if template not in names:
        raise MigrationError(f"there is no template {template!r}; there are {', '.join(names)}")
    config = Config(root / "alembic.ini", toml_file=root / "pyproject.toml", cmd_opts=Namespace(quiet=True))
    with alembic_errors():
        init(config, str(scripts), template, package)
    return scripts
