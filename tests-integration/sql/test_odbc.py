"""SQL Server by aioodbc, the driver of those who ask for it, through FreeTDS's ODBC driver."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("odbc_session.py")


def lack(message: str) -> None:
    """Skip, or fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def test_aioodbc_is_loaded_and_a_refusal_is_typed() -> None:
    """The URL's driver is used, statements compile for it, and what it says of nobody listening is Disconnected."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("no uv, which makes the environment that has aioodbc")
    try:
        ctypes.CDLL("libodbc.so.2")
    except OSError as error:
        lack(f"aioodbc needs ODBC's libraries, which tools/install-services installs: {error}")
    run = subprocess.run(
        [uv, "run", "--isolated", "--quiet", "--only-group", "odbc", "python", SCRIPT,
         "mssql+aioodbc://app:hunter2@127.0.0.1:1/shop?driver=FreeTDS"],
        cwd=SCRIPT.parent, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    driver, *compiled, error = run.stdout.splitlines()
    assert driver == "mssql+aioodbc"
    assert "OUTPUT inserted.id" in " ".join(compiled)
    assert error.startswith("Disconnected pyodbc")
    assert "hunter2" not in run.stdout
