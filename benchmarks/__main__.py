"""Run the benchmarks in this folder: `python -m benchmarks [NAME ...]`, all of them without a name.

Each module has a `main()` that prints its figures and returns 0, or 1 when one of its limits is not kept. Only the
ratios inside one run mean anything: the machine, its load and the versions change everything else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(names: list[str]) -> int:
    """Run the benchmarks called *names* and return 1 when one of them missed a limit, 2 when there is no such one."""
    known = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    if unknown := [name for name in names if name not in known]:
        print(f"no such benchmark: {', '.join(unknown)}; choose from {', '.join(known)}", file=sys.stderr)
        return 2
    missed = 0
    for name in names or known:
        print(f"== {name}", flush=True)
        missed |= import_module(f"benchmarks.{name}").main()
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
