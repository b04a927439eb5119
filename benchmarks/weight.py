"""What svc-infra adds to a service before its first request: import time, start of the command, distributions pulled.

Times are CPU seconds of fresh interpreters, each paired with a run of what it is compared to.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import requires
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAIRS = 21

REPOSITORY_IMPORT_LIMIT = 1.15
COMMAND_LIMIT = 1.5
POSTGRES_DISTRIBUTIONS_LIMIT = 12

_IMPORT = "import time; start = time.process_time(); import {module}; print(time.process_time() - start)"

_TYPER_APP = """
import typer

app = typer.Typer()


@app.callback()
def group() -> None:
    "An empty application."


@app.command()
def nothing() -> None:
    "Do nothing."


app()
"""


def import_seconds(module: str) -> float:
    """Return the CPU seconds that importing *module* takes in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(module=module)], capture_output=True, text=True, check=True, timeout=60
    )
    return float(result.stdout)


def command_seconds(*command: str | Path) -> float:
    """Return the CPU seconds that *command* takes from start to exit."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
    after = getrusage(RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def ratio(ours: Callable[[], float], theirs: Callable[[], float]) -> float:
    """Return how many times *theirs* *ours* takes: the median of the ratios of paired runs.

    A pair shares whatever else the machine does at that moment. One pair before fills the caches.
    """
    pairs = [(ours(), theirs()) for _ in range(PAIRS + 1)][1:]
    return median(first / second for first, second in pairs)


def distributions(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return the distributions that installing *name* with *extras* leads to on this platform, itself included."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(name), extras)]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(
                (canonicalize_name(requirement.name), frozenset(requirement.extras))
                for requirement in _requirements(*current)
            )
    return {name for name, _ in seen}


def _requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    for line in requires(name) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def main() -> int:
    """Print every figure beside its limit and return 1 when one is above it."""
    command = Path(sys.executable).with_name("svc-infra")
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(_TYPER_APP)
        figures = [
            (
                "import svc_infra.db.sql.repository / import sqlalchemy.ext.asyncio",
                ratio(
                    lambda: import_seconds("svc_infra.db.sql.repository"),
                    lambda: import_seconds("sqlalchemy.ext.asyncio"),
                ),
                REPOSITORY_IMPORT_LIMIT,
            ),
            (
                "svc-infra --help / --help of an empty Typer app",
                ratio(
                    lambda: command_seconds(command, "--help"),
                    lambda: command_seconds(sys.executable, empty, "--help"),
                ),
                COMMAND_LIMIT,
            ),
            (
                "distributions that svc-infra-sql[postgres] installs",
                float(len(distributions("svc-infra-sql", frozenset({"postgres"})))),
                POSTGRES_DISTRIBUTIONS_LIMIT,
            ),
        ]
    for title, figure, limit in figures:
        print(f"{title:<70} {figure:6.2f}   limit {limit:5.2f}   {'kept' if figure <= limit else 'MISSED'}")
    return int(any(figure > limit for _, figure, limit in figures))


if __name__ == "__main__":
    sys.exit(main())
