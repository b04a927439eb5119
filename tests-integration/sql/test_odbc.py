"""SQL Server by aioodbc, the driver of those who ask for it, through FreeTDS's ODBC driver."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from group_environment import run_in_group

SCRIPT = Path(__file__).with_name("odbc_session.py")


def lack(message: str) -> None:
    """Skip, or fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def test_aioodbc_is_loaded_and_a_refusal_is_typed() -> None:
    """The URL's driver is used, statements compile for it, and what it says of nobody listening is Disconnected."""
    try:
        ctypes.CDLL("libodbc.so.2")
    except OSError as error:
        lack(f"aioodbc needs ODBC's libraries, which tools/install-services installs: {error}")
    url = "mssql+aioodbc://app:hunter2@127.0.0.1:1/shop?driver=FreeTDS"
    output = run_in_group("odbc", ["python", SCRIPT, url])
    driver, *compiled, error = output.splitlines()
    assert driver == "mssql+aioodbc"
    assert "OUTPUT inserted.id" in " ".join(compiled)
    assert error.startswith("Disconnected pyodbc")
    assert "hunter2" not in output
