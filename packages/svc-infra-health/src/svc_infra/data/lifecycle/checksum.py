"""Comparing a backup with the checksum that was written beside it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

from svc_infra.data.lifecycle.errors import BrokenBackup

__all__ = ["SIDECAR_SUFFIXES", "SUM_FILES", "compare", "find_expected"]

SIDECAR_SUFFIXES = (".sha256", ".sha512", ".sha384", ".sha1", ".md5", ".sha256sum", ".sha512sum", ".md5sum")
"""Endings of a file that holds the checksum of the file that it is named for."""

SUM_FILES = ("SHA256SUMS", "SHA512SUMS", "SHA256SUMS.txt", "sha256sums.txt", "MD5SUMS")
"""Names of files that hold the checksums of a folder's files."""

_GNU = re.compile(r"^\\?([0-9a-fA-F]{32,128})(?:[ \t]+\*?(.*))?$")
_BSD = re.compile(r"^\w+(?:-\w+)? ?\((.*)\) = ([0-9a-fA-F]{32,128})$")
_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}


def find_expected(path: Path) -> tuple[Path, str] | None:
    """Return the file that holds the checksum of `path` and the checksum in hexadecimal; None when there is none.

    Raises:
        BrokenBackup: There is a file named for it without a checksum of it.
    """
    for suffix in SIDECAR_SUFFIXES:
        sidecar = path.with_name(path.name + suffix)
        if sidecar.is_file():
            return sidecar, _read(sidecar, path.name, alone=True)
    for name in SUM_FILES:
        sums = path.with_name(name)
        if sums.is_file():
            found = _read(sums, path.name, alone=False)
            if found:
                return sums, found
    return None


def compare(
    path: Path, source: Path, expected: str, deadline: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Read the file and compare.

    Raises:
        BrokenBackup: The checksum differs, or the time is up.
    """
    digest = hashlib.new(_BY_LENGTH[len(expected)], usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
            if clock() > deadline:
                raise BrokenBackup("timeout", "computing its checksum took longer than allowed; raise timeout_seconds")
    if digest.hexdigest() != expected.lower():
        raise BrokenBackup("checksum", f"its {digest.name} checksum is not the one in {source.name}")


def _read(source: Path, name: str, *, alone: bool) -> str:
    for line in source.read_text(errors="replace").splitlines():
        gnu, bsd = _GNU.match(line.strip()), _BSD.match(line.strip())
        if gnu is not None:
            digest, named = gnu.group(1), (gnu.group(2) or "").strip()
        elif bsd is not None:
            named, digest = bsd.groups()
        else:
            continue
        if len(digest) in _BY_LENGTH and (Path(named).name == name or (alone and not named)):
            return digest
    if alone:
        raise BrokenBackup("checksum", f"{source.name} holds no checksum of {name}")
    return ""
