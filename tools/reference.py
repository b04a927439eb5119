"""Write the pages of the API reference: one for each library, with every public module that stands in its source.

    python3 tools/reference.py

`make docs` runs it, so that the reference can't fall behind the code. The pages are not committed.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "reference"


def public_modules(source: Path) -> list[str]:
    """Return the dotted names of the modules below *source* that no part of the name marks as private."""
    names = [path.relative_to(source).with_suffix("").parts for path in source.rglob("*.py")]
    modules = {".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in names}
    return sorted(name for name in modules if not any(part.startswith("_") for part in name.split(".")))


def page(library: Path) -> str:
    """Return the reference page of the library in the folder *library*."""
    project = tomllib.loads((library / "pyproject.toml").read_text())["project"]
    modules = "\n\n".join(f"::: {module}" for module in public_modules(library / "src"))
    return f"# {project['name']}\n\n{project['description']}\n\n{modules}\n"


def main() -> int:
    """Write every page and return 0."""
    TARGET.mkdir(exist_ok=True)
    for library in sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml")):
        (TARGET / f"{library.name}.md").write_text(page(library))
    return 0


if __name__ == "__main__":
    sys.exit(main())
