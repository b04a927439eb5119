"""`tools/lock.py`: the committed lock file names no index and says nothing that uv would take for up to date."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.lock import ROOT_PACKAGE, addresses, rewrite

ROOT = Path(__file__).parent.parent

LOCK = """version = 1

[[package]]
name = "other"
version = "1.0"
source = { registry = "https://index.example/simple" }
wheels = [
    { url = "https://files.example/packages/ab/other-1.0-py3-none-any.whl", hash = "sha256:00", size = 1 },
]

[package.metadata]
requires-dist = [
    { name = "kept", specifier = ">=1" },
]

[[package]]
name = "svc-infra"
version = "2.0.0"
source = { editable = "." }

[package.metadata]
requires-dist = [
    { name = "other", specifier = ">=1" },
    { name = "svc-infra-sql", extras = ["postgres"], editable = "packages/svc-infra-sql" },
]
provides-extras = ["mysql"]

[[package]]
name = "zebra"
version = "1.0"
source = { registry = "https://index.example/simple" }
"""


def test_every_address_is_replaced_by_a_reserved_name() -> None:
    """A clone behind another mirror must not be sent to the index of whoever made the lock."""
    rewritten = rewrite(LOCK)
    assert "example" not in rewritten
    assert 'registry = "https://index.invalid/simple"' in rewritten
    assert 'url = "https://files.invalid/packages/ab/other-1.0-py3-none-any.whl"' in rewritten
    assert addresses(rewritten) == []


def test_only_the_requirements_of_the_root_package_are_dropped() -> None:
    """Without them uv sees the lock as stale and resolves it against the user's own index."""
    rewritten = rewrite(LOCK)
    root = rewritten.partition(f'name = "{ROOT_PACKAGE}"\n')[2].partition("[[package]]")[0]
    assert "requires-dist" not in root
    assert 'provides-extras = ["mysql"]' in root
    assert '{ name = "kept", specifier = ">=1" }' in rewritten


def test_rewriting_twice_changes_nothing_more() -> None:
    """Git compares the filtered working copy with what is committed."""
    assert rewrite(rewrite(LOCK)) == rewrite(LOCK)


@pytest.mark.parametrize("address", ["https://index.example/simple", "http://10.0.0.1:8080/simple"])
def test_an_address_that_is_committed_is_found(address: str) -> None:
    """`make lint` fails on it."""
    assert addresses(rewrite(LOCK).replace("https://index.invalid/simple", address)) == [f'"{address}"']


def test_the_committed_lock_names_no_index() -> None:
    """What stands in the repository follows the rule."""
    committed = subprocess.run(
        ["git", "show", "HEAD:uv.lock"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert addresses(committed) == []
    assert rewrite(committed) == committed
