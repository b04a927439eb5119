"""Run the tests of each library in an environment that holds only what the library declares, and what its tests need.

    python tools/test_isolated.py [--resolution lowest-direct] [svc-infra-sql ...]

The workspace's own environment has every driver and every sibling, so it hides a dependency that a library forgot to
declare. Here a library is installed with its extras and nothing else of ours but the siblings that it asks for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

# aioodbc needs the system's ODBC libraries, snowflake an account; the extra mssql would raise SQLAlchemy's lower bound.
_UNTRIED_EXTRAS = {
    "highest": {"aioodbc", "snowflake"},
    "lowest-direct": {"aioodbc", "snowflake", "mssql"},
}

# The runner, and the clients with which the server fixtures make databases.
_RUNNER = [
    "hypothesis",
    "psycopg",
    "pymongo",
    "pymysql",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "redis",
]

# What a library's tests reach for beyond the library: drivers that a sibling offers as extras, and clients.
_NEEDS = {
    "svc-infra-dburl": [],
    "svc-infra-fastapi": ["httpx", "svc-infra-sql[postgres,sqlite]", "uvicorn"],
    "svc-infra-health": ["asyncpg", "aiosqlite"],
    "svc-infra-migrate": ["jsonschema", "svc-infra-sql[duckdb,mysql,postgres,psycopg,sqlite]"],
    "svc-infra-mongo": [],
    "svc-infra-sql": ["opentelemetry-sdk"],
}


def _lower_bounds() -> dict[str, str]:
    """Return every requirement that the workspace gives a lower bound, by the name of the distribution."""
    lines: list[str] = []
    for file in [ROOT / "pyproject.toml", *ROOT.glob("packages/*/pyproject.toml")]:
        table = tomllib.loads(file.read_text())
        for group in [*table.get("dependency-groups", {}).values(), *_extras(table).values()]:
            lines += [line for line in group if isinstance(line, str) and ">=" in line]
    return {line.partition(">=")[0].partition("[")[0]: line for line in lines}


def _extras(table: dict[str, Any]) -> dict[str, list[str]]:
    extras: dict[str, list[str]] = table["project"].get("optional-dependencies", {})
    return extras


def _requirements(library: str, resolution: str) -> list[str]:
    """Return what to install: the library by its folder with its extras, the runner, the servers, the tests' needs."""
    folder = ROOT / "packages" / library
    extras = sorted(set(_extras(tomllib.loads((folder / "pyproject.toml").read_text()))) - _UNTRIED_EXTRAS[resolution])
    bounds = _lower_bounds()
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found = ["--editable", f"{folder}[{','.join(extras)}]" if extras else str(folder)]
    for need in [*_RUNNER, *_NEEDS[library]]:
        sibling = ROOT / "packages" / need.partition("[")[0]
        if sibling.is_dir():
            found += ["--editable", f"{sibling.parent / need}"]
        else:
            found.append(bounds.get(need, need))
    return [*found, *groups["servers"]]


def run(library: str, resolution: str, pytest_arguments: list[str]) -> int:
    """Install and test one *library* and return the exit code of pytest."""
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    with tempfile.TemporaryDirectory(prefix="isolated-") as folder:
        # Servers from wheels run as another account when this is root's run.
        Path(folder).chmod(0o755)
        environment = Path(folder) / "venv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True, timeout=120)
        install = [uv, "pip", "install", "--quiet", "--python", str(environment), "--resolution", resolution]
        subprocess.run([*install, *_requirements(library, resolution)], check=True, timeout=900, cwd=ROOT)
        # A module for an absent driver has no doctest to run; that the others import is for tools/check_wheels.py.
        options = ["-m", "not soak and not fault", "--doctest-ignore-import-errors"]
        command = [str(environment / "bin" / "python"), "-m", "pytest", *options]
        result = subprocess.run([*command, *pytest_arguments, str(ROOT / "packages" / library)], check=False, cwd=ROOT)
    return result.returncode


def main(arguments: list[str]) -> int:
    """Test the libraries that *arguments* names, all when none, and return 0 when every one passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", choices=["highest", "lowest-direct"], default="highest")
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(_NEEDS))
    options, pytest_arguments = parser.parse_known_args(arguments)
    if unknown := set(options.libraries) - set(_NEEDS):
        parser.error(f"no such library: {', '.join(sorted(unknown))}; choose from {', '.join(_NEEDS)}")
    failed = []
    for library in options.libraries or _NEEDS:
        print(f"== {library} alone, {options.resolution}", flush=True)
        if run(library, options.resolution, pytest_arguments):
            failed.append(library)
    print(f"failed: {', '.join(failed)}" if failed else "every library passes alone")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
