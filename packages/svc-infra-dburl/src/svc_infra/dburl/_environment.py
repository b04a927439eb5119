"""The variables that are looked at: those of the process, and behind them those of the .env file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from svc_infra.dburl.errors import UnreadableSource

__all__ = ["Environment", "find_env_file", "read_env_file"]

_PROJECT_MARKERS = ("pyproject.toml", ".git")


class Environment:
    """Looks variables up in the process environment first, then in the .env file.

    Args:
        process: The environment of the process.
        file: The variables of the .env file, or None when there is none.
        file_path: Where that file is.
    """

    __slots__ = ("file", "file_path", "process")

    def __init__(
        self, process: Mapping[str, str], file: Mapping[str, str] | None = None, file_path: Path | None = None
    ) -> None:
        self.process = process
        self.file = file
        self.file_path = file_path

    def get(self, name: str) -> str | None:
        """The variable's value, or None if it is unset or blank in both."""
        value = self.process.get(name)
        if value and not value.isspace():
            return value
        if self.file is not None:
            value = self.file.get(name)
            if value and not value.isspace():
                return value
        return None

    def place(self, name: str) -> str:
        """How errors and explanations call the variable, e.g. ``SQL_URL (from .env)``."""
        value = self.process.get(name)
        if self.file is None or (value and not value.isspace()) or not self.file.get(name):
            return name
        return f"{name} (from {self.file_path})"


def load_environment(process: Mapping[str, str], env_file: str | os.PathLike[str] | None) -> Environment:
    """The process environment with the .env file behind it, if there is one.

    Raises:
        UnreadableSource: The .env file is there but can't be read.
    """
    if env_file is None:
        return Environment(process)
    path = find_env_file(env_file)
    return Environment(process) if path is None else Environment(process, read_env_file(path), path)


def find_env_file(env_file: str | os.PathLike[str]) -> Path | None:
    """Find the .env file: an absolute path as it is, a relative one from the working folder up to the project's root.

    The root is the first folder that holds ``pyproject.toml`` or ``.git``; without one only the working folder counts.
    """
    path = Path(env_file).expanduser()
    if path.is_file():
        return path
    if path.is_absolute():
        return None
    folder = Path.cwd()
    candidates: list[Path] = []
    while not any((folder / marker).exists() for marker in _PROJECT_MARKERS):
        if folder == folder.parent:
            return None
        folder = folder.parent
        candidates.append(folder / path)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_env_file(path: Path) -> Mapping[str, str]:
    """Read a .env file through pydantic-settings, names in the case that they are written in.

    Raises:
        UnreadableSource: It can't be read or is not UTF-8.
    """
    # Imported here, because it takes longer to import than all the rest and most processes have no .env file.
    from pydantic_settings import BaseSettings, DotEnvSettingsSource

    try:
        source = DotEnvSettingsSource(BaseSettings, env_file=path, env_file_encoding="utf-8", case_sensitive=True)
        found = source.env_vars
    except OSError as error:
        raise UnreadableSource(
            str(path), f"can't be read: {error.strerror}", "Make it readable or pass env_file=None"
        ) from None
    except UnicodeDecodeError:
        found = None
    if found is None:
        raise UnreadableSource(str(path), "is not UTF-8 text", "Save it as UTF-8 or pass env_file=None")
    return {name: value for name, value in found.items() if value is not None}
