"""Keep `uv.lock` free of index addresses.

A lock file names the index that it was made with, so it would tie every clone to one mirror. `rewrite` puts reserved
names (RFC 2606) in place of the addresses and drops the root package's `requires-dist`; uv then sees the lock as stale,
resolves it again against the index that the user has configured, and keeps every locked version and hash.

    python3 tools/lock.py clean < uv.lock      the git clean filter that `make setup` installs
    python3 tools/lock.py rewrite              rewrite uv.lock in place
    python3 tools/lock.py check                exit 1 when the committed or staged lock names an address
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "uv.lock"
ROOT_PACKAGE = "svc-infra"

_REGISTRY = re.compile(r'(registry = )"https?://[^"]*"')
_FILE = re.compile(r'(url = )"https?://[^/"]+/')
_ADDRESS = re.compile(r'"https?://(?!(?:index|files)\.invalid/)[^"]*"')
_REQUIRES_DIST = re.compile(r"^requires-dist = \[\n(?:.*\n)*?\]\n", re.MULTILINE)


def rewrite(text: str) -> str:
    """Return the text of a lock file without index addresses and without the root package's `requires-dist`."""
    text = _REGISTRY.sub(r'\1"https://index.invalid/simple"', text)
    text = _FILE.sub(r'\1"https://files.invalid/', text)
    head, name, root = text.partition(f'[[package]]\nname = "{ROOT_PACKAGE}"\n')
    body, following, tail = root.partition("\n[[package]]\n")
    return head + name + _REQUIRES_DIST.sub("", body, count=1) + following + tail


def addresses(text: str) -> list[str]:
    """Return the addresses that a committed lock file must not hold."""
    return sorted(set(_ADDRESS.findall(text)))


def _committed() -> str:
    result = subprocess.run(["git", "show", ":uv.lock"], cwd=LOCK.parent, capture_output=True, check=True)
    return result.stdout.decode()


def _check() -> int:
    committed = _committed()
    if found := addresses(committed):
        print(f"uv.lock: {len(found)} index addresses are committed; run `make lock` and add uv.lock again")
        return 1
    if committed != rewrite(LOCK.read_text()):
        print("uv.lock does not match pyproject.toml; run `make lock` and commit uv.lock")
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Run the command that *arguments* names and return the exit code: 0 done, 1 check failed, 2 usage."""
    match arguments:
        case ["clean"]:
            sys.stdout.buffer.write(rewrite(sys.stdin.buffer.read().decode()).encode())
            return 0
        case ["rewrite"]:
            LOCK.write_text(rewrite(LOCK.read_text()))
            return 0
        case ["check"]:
            return _check()
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
