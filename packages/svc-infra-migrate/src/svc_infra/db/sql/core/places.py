"""Where in the project's own files an error happened."""

from __future__ import annotations

import traceback

__all__ = ["place_of"]


def place_of(error: BaseException) -> str:
    """Return " (FILE, line N)" of the innermost line of a revision file or `env.py`, or nothing.

    Alembic loads both under the name of the file with `_py` behind it.
    """
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).endswith("_py"):
            found = f" ({frame.f_code.co_filename}, line {line})"
    return found
