"""A client that openapi-python-client makes from the quick start's document, used against the quick start."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from quickstart_process import ROOT

SESSION = Path(__file__).with_name("client_session.py")


def run(*command: str | Path, path: Path, seconds: int = 60) -> str:
    """Run a command in an environment that has the generator and nothing of ours; return what it printed."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on the PATH and UV is not set")
    own = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(
        [uv, "run", "--isolated", "--quiet", "--only-group", "client", *command],
        cwd=ROOT,
        env=own | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0 and "Failed to fetch" in done.stderr:
        pytest.skip(f"uv can't fetch the generator: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("client", ["postgres"], indirect=True)
def test_a_generated_client_works(client: httpx.Client, tmp_path: Path) -> None:
    """Create, read, list, page, change, delete, filter by a date, 304, 404, 409 and 412, by typed calls alone."""
    document, package = tmp_path / "openapi.json", tmp_path / "flights_client"
    document.write_text(client.get("/openapi.json").text)
    told = run(
        "openapi-python-client", "generate", "--path", document, "--output-path", package, "--meta", "none",
        "--fail-on-warning", path=tmp_path,
    )  # fmt: skip
    assert "WARNING" not in told
    run("python", SESSION, str(client.base_url).rstrip("/"), path=tmp_path)
