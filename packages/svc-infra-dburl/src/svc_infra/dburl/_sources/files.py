"""Reads small text files that hold a secret."""

from __future__ import annotations

import re
from pathlib import Path

from svc_infra.dburl._parsing import MAX_CHARACTERS
from svc_infra.dburl.errors import UnreadableSource

__all__ = ["read_secret", "shown_path"]

_LOOKS_LIKE_A_PATH = re.compile(r"(?:[A-Za-z]:)?[\\/]|\.{1,2}[\\/]|~")


def shown_path(path: str) -> str:
    """The path as errors may show it: someone may have put the secret itself where its file's path belongs."""
    if _LOOKS_LIKE_A_PATH.match(path) and "://" not in path and len(path) <= 1024 and path.isprintable():
        return path
    return f"a value of {len(path)} characters that does not look like a path"


def read_secret(path: str, variable: str | None, *, line_ends_only: bool = False) -> str:
    """Read a secret from its file, without the byte order mark and the line ends around it.

    Args:
        path: The file.
        variable: The variable that names it, for errors; None for the default place.
        line_ends_only: Keep blanks at its ends, which can be part of a password.

    Raises:
        UnreadableSource: It is missing, a folder, not readable, not UTF-8, longer than a secret, or blank.
    """
    place = variable or path
    if "://" in path:
        raise UnreadableSource(
            place,
            "holds a URL, and should hold the path of a file with one",
            f"Set {place.partition(' ')[0].removesuffix('_FILE')} to the URL",
        )
    shown = shown_path(path)
    problem, text = "", ""
    try:
        with Path(path).open("rb") as file:
            data = file.read(4 * MAX_CHARACTERS + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except ValueError:
        problem = "has a NUL character in its name"
    if not problem:
        if len(text) > MAX_CHARACTERS:
            problem = f"is longer than {MAX_CHARACTERS:,} characters"
        elif not text or text.isspace():
            problem = "is blank"
        else:
            return text.strip("\r\n") if line_ends_only else text.strip()
    named = f"the file {shown} that it names" if variable is not None else "the file"
    remedy = (
        "Write the secret into it" if problem == "is blank" else "Correct the path, mount the file or make it readable"
    )
    raise UnreadableSource(
        place, f"{named} {problem}", f"{remedy}, or {'unset ' + variable if variable else 'remove it'}"
    )
