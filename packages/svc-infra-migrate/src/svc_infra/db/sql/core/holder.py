"""Who holds the migration lock, in words for the one who waits for it."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

__all__ = ["FREED", "Holder", "name_this_process"]


class Holder(NamedTuple):
    """A process that migrates.

    Attributes:
        who: What the database tells of it.
        remedy: How to end it when it hangs; empty when that is not known.
    """

    who: str
    remedy: str = ""


FREED = Holder("it was freed just now")
"""Nobody any more."""


def name_this_process() -> str:
    """Return what another replica shows of this one, as "process 12 on web-7f9c"."""
    return f"process {os.getpid()} on {socket.gethostname()}"
