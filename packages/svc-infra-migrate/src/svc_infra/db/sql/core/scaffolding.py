"""The files of a new migration environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from svc_infra.db.sql.core.errors import ProjectExists
from svc_infra.db.sql.core.progress import LoggedProgress, Progress

__all__ = ["init_alembic"]

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
${imports if imports else ""}
revision: str = ${repr(up_revision)}
down_revision: str | Sequence[str] | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


def init_alembic(
    script_location: str | os.PathLike[str] = "migrations",
    *,
    discover_packages: Sequence[str] | None = None,
    overwrite: bool = False,
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
        directory: The project's folder, the working directory by default.
        progress: Receives what happens, the logger `svc_infra.migrate` by default.

    Returns:
        The absolute path of the script location.

    Raises:
        ProjectExists: A file is there with other content and `overwrite` is false; nothing was written.
    """
    progress = progress or LoggedProgress()
    root = Path(directory or Path.cwd()).absolute()
    scripts = root / script_location
    location = Path(os.path.relpath(scripts, root)).as_posix().replace("%", "%%")
    arguments = f"discover_packages={list(discover_packages)!r}".replace("'", '"') if discover_packages else ""
    files = {
        root / "alembic.ini": _INI.format(location=location),
        scripts / "env.py": _ENV.format(arguments=arguments),
        scripts / "script.py.mako": _SCRIPT,
    }
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
