"""Second source: variables that hold the path of a file with a URL."""

from __future__ import annotations

from svc_infra.dburl._environment import Environment
from svc_infra.dburl._sources.files import read_secret, shown_path
from svc_infra.dburl._sources.finding import DIRECT_VARIABLES, Finding, Look, parse_text

__all__ = ["PasswordInFile", "find"]


def find(environment: Environment, looks: list[Look]) -> Finding | None:
    """The URL in the file of the first ``{VARIABLE}_FILE`` that is set and not blank.

    Raises:
        UnreadableSource: The file is missing, empty or unreadable: the next source is not tried.
    """
    for direct in DIRECT_VARIABLES:
        name = f"{direct}_FILE"
        path = environment.get(name)
        if path is not None:
            path = path.strip()
            place = environment.place(name)
            text = read_secret(path, place)
            looks.append(Look(place, f"the file {shown_path(path)}"))
            place = f"{place}={path}"
            return Finding(parse_text(text, place, environment), place, PasswordInFile(path, name, environment))
        looks.append(Look(name, "not set"))
    return None


class PasswordInFile:
    """Reads the password anew from a file that holds a URL or the JSON of a secret."""

    def __init__(self, path: str, variable: str | None, environment: Environment) -> None:
        self._path = path
        self._variable = variable
        self._environment = environment

    def __call__(self) -> str:
        text = read_secret(self._path, self._variable)
        return parse_text(text, self._variable or self._path, self._environment).password or ""

    def __repr__(self) -> str:
        return f"<password of the URL in {shown_path(self._path)}>"
