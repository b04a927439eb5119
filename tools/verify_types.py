"""Tell how complete the public types are, as `pyright --verifytypes` counts them for an installed package.

    python tools/verify_types.py [svc_infra.db.sql ...]

pyright wants one package with one `py.typed`, and `svc_infra` is a namespace of several distributions. So the sources
are put together in a temporary folder as installing the wheels would, with the bare folders made packages, and pyright
is given that folder. Printed is what the code itself lacks, not what follows from it; types that SQLAlchemy and other
packages leave open are not ours to complete. Exits with 1 when a public symbol of one of the packages named (default:
all) has an incomplete type.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = ("", "db", "db/sql", "db/nosql", "api", "data")
LONGEST_SECONDS = 300


def put_together(site: Path) -> None:
    """Fill a folder with the sources of all distributions as one package."""
    for source in sorted(ROOT.glob("packages/*/src")):
        shutil.copytree(source, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in BARE:
        (site / "svc_infra" / folder / "__init__.py").touch()
    (site / "svc_infra" / "py.typed").touch()


def verify(site: Path) -> dict[str, object]:
    """What pyright says about the package in a folder."""
    command = ["pyright", "--pythonpath", sys.executable, "--verifytypes", "svc_infra", "--ignoreexternal"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [*command, "--outputjson"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    try:
        found: dict[str, object] = json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        raise SystemExit(f"pyright gave no report: {done.stderr or done.stdout}") from None
    return found


def main(packages: list[str]) -> int:
    """Print what is incomplete in the packages and return whether anything is."""
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        put_together(site)
        report = verify(site)
        symbols: list[dict[str, object]] = report["symbols"]  # type: ignore[assignment]
        chosen = [
            symbol
            for symbol in symbols
            if symbol["isExported"]
            and (not packages or any(f"{symbol['name']}.".startswith(f"{name}.") for name in packages))
        ]
        bad = [symbol for symbol in chosen if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
        for symbol in bad:
            for diagnostic in symbol["diagnostics"]:  # type: ignore[attr-defined]
                # A type that is "partially unknown" is so by what another symbol lacks.
                if "partially unknown" not in diagnostic["message"]:
                    place = str(diagnostic.get("file", "")).removeprefix(f"{site}{os.sep}")
                    line = diagnostic.get("range", {}).get("start", {}).get("line", -1) + 1
                    print(f"{place}:{line}: {symbol['name']}: {' '.join(diagnostic['message'].split())}")
    print(f"{len(chosen) - len(bad)} of {len(chosen)} public symbols have complete types")
    return int(bool(bad) or not chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
