"""Prove that each built wheel stands alone: it installs into an empty environment and all of its modules import.

    python tools/check_wheels.py dist

Every wheel is tried twice: with nothing but its declared dependencies, where a module may fail to import only because
the distribution of one of its extras is absent, and with all extras, where every module must import. Its commands must
answer `--help`. Our own distributions are given by file path and never looked up in an index, where `svc-infra` is the
name of another project.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

# A wheel of pyodbc needs the system's ODBC libraries, so `aioodbc` can't be installed by pip alone.
UNTRIED_EXTRAS = {"aioodbc"}

_PROBE = """
import importlib, json, sys, warnings
warnings.simplefilter("error")
failed = {}
for name in json.load(sys.stdin):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = [error.name or "", str(error)]
    except ImportError as error:
        cause = error.__cause__
        failed[name] = [getattr(cause, "name", None) or "", str(error)]
json.dump(failed, sys.stdout)
"""


@dataclass(frozen=True)
class Wheel:
    """A built wheel and what its metadata says."""

    path: Path
    name: str
    requirements: tuple[Requirement, ...]
    extras: tuple[str, ...]
    modules: tuple[str, ...]
    commands: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Return what the wheel at *path* says about itself."""
        with ZipFile(path) as archive:
            names = archive.namelist()
            (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
            headers = HeaderParser().parsestr(archive.read(metadata).decode())
            entry_points = ConfigParser(delimiters=["="])
            for name in names:
                if name.endswith(".dist-info/entry_points.txt"):
                    entry_points.read_string(archive.read(name).decode())
        modules = [
            name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name in names
            if name.endswith(".py") and not name.endswith("/__main__.py")
        ]
        return cls(
            path=path.resolve(),
            name=headers["Name"],
            requirements=tuple(Requirement(line) for line in headers.get_all("Requires-Dist", [])),
            extras=tuple(headers.get_all("Provides-Extra", [])),
            modules=tuple(sorted(modules)),
            commands=tuple(entry_points["console_scripts"]) if "console_scripts" in entry_points else (),
        )

    def belongs_to_an_extra(self, missing: str) -> bool:
        """Tell whether the import name *missing* comes with a requirement that only an extra brings."""
        top = missing.partition(".")[0]
        optional = [requirement for requirement in self.requirements if "extra ==" in str(requirement.marker)]
        return bool(top) and any(requirement.name.replace("-", "_").startswith(top) for requirement in optional)


def siblings(wheel: Wheel, wheels: dict[str, Wheel]) -> list[Wheel]:
    """Return the wheels of our own that *wheel* may need, through any extra, without itself."""
    found: dict[str, Wheel] = {}
    waiting = [wheel]
    while waiting:
        for requirement in waiting.pop().requirements:
            if requirement.name in wheels and requirement.name not in found:
                found[requirement.name] = wheels[requirement.name]
                waiting.append(wheels[requirement.name])
    found.pop(wheel.name, None)
    return list(found.values())


def install(wheel: Wheel, wheels: dict[str, Wheel], environment: Path, extras: list[str]) -> list[str]:
    """Install *wheel* with *extras* into a new *environment* and return the names of the distributions it pulled.

    Siblings are constrained to their files, so that only what the wheel asks for is installed, and from nowhere else.
    """
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    constraints = environment.with_suffix(".constraints")
    constraints.write_text("".join(f"{other.name} @ {other.path.as_uri()}\n" for other in siblings(wheel, wheels)))
    requirement = f"{wheel.name}[{','.join(extras)}] @ {wheel.path.as_uri()}"
    python = ["--python", str(environment)]
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True, timeout=120)
    command = [uv, "pip", "install", "--quiet", *python, "--constraints", str(constraints), requirement]
    subprocess.run(command, check=True, timeout=600)
    subprocess.run([uv, "pip", "check", "--quiet", *python], check=True, timeout=120)
    listing = subprocess.run(
        [uv, "pip", "list", "--quiet", "--format", "json", *python], check=True, timeout=120, capture_output=True
    )
    return [entry["name"] for entry in json.loads(listing.stdout)]


def sources(environment: Path) -> dict[str, str]:
    """Return the address of each distribution in *environment* that was not installed from an index."""
    return {
        record.parent.name.partition("-")[0].replace("_", "-"): json.loads(record.read_text())["url"]
        for record in environment.glob("lib/python*/site-packages/*.dist-info/direct_url.json")
    }


def import_failures(wheel: Wheel, environment: Path) -> dict[str, tuple[str, str]]:
    """Return the modules of *wheel* that do not import, each with the missing name and the message."""
    result = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", _PROBE],
        input=json.dumps(wheel.modules),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if result.returncode:
        return {wheel.name: ("", result.stderr.strip().splitlines()[-1])}
    return {module: (missing, message) for module, (missing, message) in json.loads(result.stdout).items()}


def command_failures(wheel: Wheel, environment: Path) -> dict[str, str]:
    """Return the commands of *wheel* that do not answer `--help`, each with the last line of what it said."""
    failed = {}
    for command in wheel.commands:
        result = subprocess.run(
            [environment / "bin" / command, "--help"], capture_output=True, text=True, timeout=120, check=False
        )
        if result.returncode:
            failed[command] = (result.stderr.strip().splitlines() or ["no message"])[-1]
    return failed


def check(wheel: Wheel, wheels: dict[str, Wheel], folder: Path) -> Iterator[str]:
    """Try *wheel* without and with its extras and yield what is wrong, one line each."""
    extras = [extra for extra in wheel.extras if extra not in UNTRIED_EXTRAS]
    for chosen in [[], extras] if extras else [[]]:
        title = f"{wheel.name}[{','.join(chosen)}]" if chosen else wheel.name
        environment = folder / f"{wheel.name}-{'all' if chosen else 'bare'}"
        pulled = install(wheel, wheels, environment, chosen)
        installed = sources(environment)
        for name in sorted(set(pulled) & set(wheels)):
            if installed.get(name) != wheels[name].path.as_uri():
                yield f"{title}: {name} came from {installed.get(name, 'an index')}"
        for module, (missing, message) in import_failures(wheel, environment).items():
            if chosen or not wheel.belongs_to_an_extra(missing):
                yield f"{title}: import {module}: {message}"
        for command, message in command_failures(wheel, environment).items():
            yield f"{title}: {command} --help: {message}"
        print(f"{title}: {len(pulled)} distributions, {len(wheel.modules)} modules", flush=True)
        shutil.rmtree(environment)


def main(arguments: list[str]) -> int:
    """Check every wheel in the folder that *arguments* names; return 0 when all pass, 1 when not, 2 for wrong usage."""
    if len(arguments) != 1 or not (paths := sorted(Path(arguments[0]).glob("*.whl"))):
        print(__doc__)
        return 2
    wheels = {wheel.name: wheel for wheel in map(Wheel.read, paths)}
    with tempfile.TemporaryDirectory(prefix="check-wheels-") as folder:
        problems = [problem for wheel in wheels.values() for problem in check(wheel, wheels, Path(folder))]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
