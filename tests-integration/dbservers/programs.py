"""Finds the programs of servers that are installed on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from dbservers.errors import ServerMissing

__all__ = ["find_program"]

# Debian keeps servers where an ordinary user's PATH doesn't look; the others are Homebrew and source builds.
FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/sbin")


def find_program(*names: str, package: str, folders: Sequence[str] = FOLDERS) -> Path:
    """Return the first of *names* that is installed, on PATH or in *folders*.

    Raises:
        ServerMissing: None is; the message names *package*, Debian's name of what to install.
    """
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=":".join(folders))
        if found:
            return Path(found)
    raise ServerMissing(f"{' or '.join(names)} is not installed (make test-services installs Debian's {package})")
