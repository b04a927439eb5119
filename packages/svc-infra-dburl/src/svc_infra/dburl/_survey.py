"""Looks at every place at once, also those behind the first that holds a URL, for people who wonder."""

from __future__ import annotations

import os
from pathlib import Path

from svc_infra.dburl._environment import Environment
from svc_infra.dburl._sources import parts
from svc_infra.dburl._sources.files import shown_path
from svc_infra.dburl._sources.finding import DIRECT_VARIABLES

__all__ = ["survey"]


def survey(environment: Environment, secrets_dir: str | os.PathLike[str] | None) -> list[tuple[str, str]]:
    """Each place in order, and what is there: what counts, what is hidden behind it, what is blank."""
    rows = [(environment.place(name), *_variable(environment, name, "a URL")) for name in DIRECT_VARIABLES]
    for name in DIRECT_VARIABLES:
        pointer = f"{name}_FILE"
        path = environment.get(pointer)
        found = "" if path is None else f"the path {shown_path(path.strip())}"
        rows.append((environment.place(pointer), *_variable(environment, pointer, found)))
    if secrets_dir is not None:
        path = str(Path(secrets_dir, "database_url"))
        there = os.path.lexists(path)
        rows.append((path, "a file" if there else "no such file", there))
    given = [name for name in parts.VARIABLES if environment.get(name) is not None]
    rows.append((parts.PLACE, f"{', '.join(given)}" if given else "not set", bool(given)))
    result: list[tuple[str, str]] = []
    used = ""
    for place, found, counts in rows:
        if counts and used:
            result.append((place, f"{found}, not used, because {used} comes first"))
        else:
            result.append((place, f"{found}, used" if counts else found))
            used = place if counts else used
    return result


def _variable(environment: Environment, name: str, found: str) -> tuple[str, bool]:
    if environment.get(name) is not None:
        return found, True
    is_there = name in environment.process or (environment.file is not None and name in environment.file)
    return ("blank, counts as not set" if is_there else "not set"), False
