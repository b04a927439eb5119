"""Third source: the file that Docker and Kubernetes mount."""

from __future__ import annotations

import os
from pathlib import Path

from svc_infra.dburl._environment import Environment
from svc_infra.dburl._sources.files import read_secret
from svc_infra.dburl._sources.finding import Finding, Look, parse_text
from svc_infra.dburl._sources.pointers import PasswordInFile

__all__ = ["find"]

_NAME = "database_url"


def find(environment: Environment, secrets_dir: str | os.PathLike[str] | None, looks: list[Look]) -> Finding | None:
    """The URL in ``database_url`` of the secrets folder, if that file is there.

    Raises:
        UnreadableSource: It is there, and empty or unreadable.
    """
    if secrets_dir is None:
        return None
    path = Path(secrets_dir, _NAME)
    place = str(path)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        looks.append(Look(place, "no such file"))
        return None
    except OSError:
        # Without leave to look into the folder: reading says why.
        pass
    text = read_secret(place, None)
    looks.append(Look(place, "a URL"))
    return Finding(parse_text(text, place, environment), place, PasswordInFile(place, None, environment))
