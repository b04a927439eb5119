"""Commands in an environment of their own, with one dependency group of the workspace and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_in_group(group: str, command: Sequence[str | Path], *, folder: Path = ROOT, seconds: int = 240) -> str:
    """Run *command* where *group* is installed and return what it printed; skip the test without uv or an index.

    Args:
        group: A dependency group of the workspace.
        command: The program and its arguments.
        folder: On the module search path of the command.
        seconds: How long it may take, the installation included.
    """
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the PATH and UV is not set")
    own = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(
        [uv, "run", "--isolated", "--quiet", "--only-group", group, *command],
        cwd=ROOT,
        env=own | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0 and "Failed to fetch" in done.stderr:
        pytest.skip(f"uv can't fetch the group {group}: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
