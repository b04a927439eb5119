"""The read-me's service, typed in as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from quickstart_process import ROOT, QuickStart, free_port, wait_until

README = (ROOT / "README.md").read_text()


def block(language: str, containing: str) -> str:
    """Return the code block of the read-me that has the text *containing*."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return found


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The process environment with this Python's commands first, and no database but the read-me's."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    return inherited | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_service_of_the_read_me_runs(tmp_path: Path, environ: dict[str, str]) -> None:
    """The code and the commands, in this order, give a service that stores and finds a user."""
    (tmp_path / "app.py").write_text(block("python", "setup_sql"))
    port = free_port()
    *commands, serve = block("console", "svc-infra sql init").strip().splitlines()
    for line in commands:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            environ[name] = value
            continue
        done = subprocess.run(
            shlex.split(line), cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    command = [sys.executable, "-m", *shlex.split(serve)]
    with QuickStart(
        tmp_path / "log", environ["SQL_URL"], "--port", str(port), command=command, cwd=tmp_path
    ) as service:
        wait_until(lambda: "running on" in service.output or not service.is_running, 60, serve)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            created = client.post("/users", json={"email": "ada@example.com", "name": "Ada"})
            assert created.status_code == 201, created.text
            found = client.get("/users", params={"q": "ada", "order_by": "-id", "limit": 50}).json()
            assert found["items"] == [created.json()]
            assert client.post("/users", json={"email": "ada@example.com"}).status_code == 409
            assert client.get("/_sql/health").status_code == 200
