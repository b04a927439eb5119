"""The `console` blocks of the documentation in which curl asks a service and the answer stands below."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Asked", "asked_in"]

DOCUMENTED = "http://127.0.0.1:8000"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """One call of curl.

    Attributes:
        command: What stands behind the prompt.
        answer: What stands below it.
    """

    command: str
    answer: str

    def ask(self, address: str) -> str:
        """Return what the command prints when the service is at *address*."""
        program, *arguments = shlex.split(self.command.replace(DOCUMENTED, address))
        assert program == "curl", self.command
        done = subprocess.run(
            [program, "--silent", "--show-error", "--max-time", "20", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{self.command}\n{done.stderr}"
        return normalised(done.stdout)


def asked_in(file: Path) -> list[Asked]:
    """Return every call of curl in a Markdown file, with its answer."""
    found: list[Asked] = []
    for block in _BLOCK.findall(file.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = part.replace("\\\n", " ").partition("\n")
            if command.startswith("curl "):
                found.append(Asked(command, normalised(answer)))
    return found


def normalised(printed: str) -> str:
    """Return a text with one kind of line end and without the date of an answer."""
    return re.sub(r"^date: .*$", "date: then", printed.replace("\r\n", "\n"), flags=re.MULTILINE).strip()
