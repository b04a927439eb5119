"""`svc-infra url`, the group that svc-infra-dburl brings to the command of svc-infra-migrate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from svc_infra.migrate.main import main; main()", "url"]


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_check_passes_on_a_healthy_database(tmp_path: Path, postgres_url: str) -> None:
    """Exit code 0, and as JSON the steps and the server's version, without the password."""
    done = run(tmp_path, "check", "--json", DATABASE_URL=postgres_url)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["source"]) == (0, True, "DATABASE_URL")
    assert told["steps"][-1]["detail"].startswith("PostgreSQL")
    assert ":***@" in told["url"]


@pytest.mark.parametrize(
    ("arguments", "environ", "code"),
    [
        ((), {"SQL_URL": "postgresql://u:p@h/d"}, 0),
        ((), {"SQL_URL": "postgresql://u:p@ss@h/d"}, 1),
        (("check",), {"SQL_URL": "postgresql://u:p@127.0.0.1:1/d"}, 1),
        (("--no-such-option",), {}, 2),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], environ: dict[str, str], code: int, tmp_path: Path) -> None:
    """0 when all is well, 1 when not, 2 for wrong usage; no traceback."""
    done = run(tmp_path, *arguments, **environ)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
