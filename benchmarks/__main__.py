"""Run the benchmarks in this folder: `python -m benchmarks [NAME ...]`, all of them without a name.

Each runs in a process of its own, `python -m benchmarks.NAME`, so that none warms up what another measures. It prints
its figures and exits with 1 when one of its limits is not kept. Only the ratios inside one run mean anything: the
machine, its load and the versions change everything else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LONGEST_SECONDS = 3600


def main(names: list[str]) -> int:
    """Run the benchmarks called *names* and return 1 when one of them failed, 2 when there is no such one."""
    known = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    if unknown := [name for name in names if name not in known]:
        print(f"no such benchmark: {', '.join(unknown)}; choose from {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or known:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if subprocess.run(command, check=False, timeout=LONGEST_SECONDS).returncode:
            failed.append(name)
    if failed:
        print(f"failed or missed a limit: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
