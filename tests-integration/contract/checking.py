"""One run of Schemathesis against a service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
_LINKS = re.compile(r"API Links: +([0-9]+) covered")


@dataclass(frozen=True)
class Findings:
    """What a run found.

    Attributes:
        requests: How many test cases were sent.
        operations: How many operations they went to.
        links: How many of the document's links were followed.
        failures: Check, operation and message of each finding.
        output: What it printed, with the requests that show the findings.
    """

    requests: int
    operations: int
    links: int
    failures: list[str]
    output: str


def check_contract(url: str, folder: Path, *options: str, seconds: int = 280) -> Findings:
    """Send what the document at *url* allows, and what it does not, with every check of Schemathesis on.

    Args:
        url: Where the service is.
        folder: Gets the report.
        options: More for its command line.
        seconds: How long it may take.
    """
    report = folder / "schemathesis.json"
    command: list[str | Path] = [
        Path(sys.executable).with_name("schemathesis"), "--config-file", FOLDER / "schemathesis.toml", "run",
        f"{url}/openapi.json", "--checks", "all", "--continue-on-failure", "--no-shrink", "--no-color",
        "--report", "json", "--report-json-path", report, *options,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["complete"], done.stdout
    assert found["errors"] == [], done.stdout
    return Findings(
        requests=found["test_cases"]["generated"],
        operations=found["operations"]["tested"],
        links=int(followed[1]) if (followed := _LINKS.search(done.stdout)) else 0,
        failures=[json.dumps(each) for each in found["failures"]],
        output=done.stdout[-20_000:],
    )
