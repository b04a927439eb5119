"""Finds the programs of servers that are installed on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from dbservers.errors import ServerMissing

__all__ = ["find_program"]

# Debian keeps servers where an ordinary user's PATH doesn't look; the others are Homebrew and source builds.
FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/sbin")


def find_program(*names: str, package: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the first of *names* that is installed, on PATH or where servers usually are.

    ``TEST_SERVER_PATH``, a list of folders like PATH, is searched instead of both when it is set.

    Raises:
        ServerMissing: None is; the message names *package*, Debian's name of what to install.
    """
    searched = environ.get("TEST_SERVER_PATH") or os.pathsep.join([environ.get("PATH", ""), *FOLDERS])
    for name in names:
        if found := shutil.which(name, path=searched):
            return Path(found)
    raise ServerMissing(f"{' or '.join(names)} is not installed (make test-services installs Debian's {package})")
