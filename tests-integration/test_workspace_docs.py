"""The documentation names only what is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "guide").glob("*.md"),
    *ROOT.glob("packages/*/README.md"),
    *ROOT.glob("examples/*/README.md"),
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(((?!https?://|#|mailto:)[^)#\s]+)")


def name(page: Path) -> str:
    """Return how a page is called in a test's name."""
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


@each_page
def test_the_imports_of_every_example_resolve(page: Path) -> None:
    """A reader who copies an example gets no ImportError."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    for block in BLOCK.findall(page.read_text()):
        tree: ast.Module = compile(block, str(page), "exec", flags)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("svc_infra"):
                module = importlib.import_module(node.module or "")
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert missing == [], f"{node.module} has no {missing}"


@each_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    """A page that moved takes its links along."""
    assert [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []


@each_page
def test_every_make_target_that_is_named_is_there(page: Path) -> None:
    """A command in the text can be typed."""
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = re.findall(r"^make ((?:[a-z-]+ ?)+)", page.read_text(), re.MULTILINE)
    commands += re.findall(r"`make ((?:[a-z-]+ ?)+)", page.read_text())
    assert {target for command in commands for target in command.split()} <= targets


def test_the_environment_page_names_every_variable_that_is_read_and_no_other() -> None:
    """What a service can be told by a variable stands in one place."""
    literal = re.compile(
        r"[\"`]((?:ALEMBIC|DATABASE|DB|MIGRATION|MONGO|PRIVATE|READ|REDIS|SQL|SVC_INFRA)_[A-Z_]+[A-Z])[\"`]"
    )
    sources = {path.read_text(encoding="utf-8") for path in ROOT.glob("packages/*/src/**/*.py")}
    read = {name for source in sources for name in literal.findall(source)}
    named = set(literal.findall((ROOT / "docs" / "guide" / "environment.md").read_text(encoding="utf-8")))
    assert read - named == set()
    assert {name for name in named - read if not name.endswith("_FILE")} == set()
