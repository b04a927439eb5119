"""What the command line writes: answers on stdout, for people or as JSON, and everything else on stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from svc_infra.db.sql.core import Revision

__all__ = ["Style", "print_json", "print_revisions", "print_table"]


@dataclass(frozen=True)
class Style:
    """Colours, only on a terminal and when `NO_COLOR` is not set (https://no-color.org)."""

    enabled: bool

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Style:
        """Choose for a stream."""
        return cls(stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb")

    def bold(self, text: str) -> str:
        """Emphasise."""
        return f"\033[1m{text}\033[0m" if self.enabled else text

    def dim(self, text: str) -> str:
        """Put into the background."""
        return f"\033[2m{text}\033[0m" if self.enabled else text

    def green(self, text: str) -> str:
        """Mark as good."""
        return f"\033[32m{text}\033[0m" if self.enabled else text

    def red(self, text: str) -> str:
        """Mark as bad."""
        return f"\033[31m{text}\033[0m" if self.enabled else text


def print_json(value: object, stream: TextIO | None = None) -> None:
    """Write a value as indented JSON; dataclasses become objects."""
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False), file=stream or sys.stdout)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _fields(value: DataclassInstance) -> dict[str, object]:
    return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO | None = None) -> None:
    """Write aligned columns without lines or wrapping, so that they can be read, cut and searched.

    Without any heading there is no line of headings.
    """
    output = stream or sys.stdout
    style = Style.of(output)
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    if any(headings):
        print(style.bold(line(headings)), file=output)
    for row in rows:
        print(line(row), file=output)


def print_revisions(
    revisions: Sequence[Revision], *, as_json: bool, verbose: bool = False, current: Collection[str] = ()
) -> None:
    """Write revisions as a table, as JSON, or with a line for everything that is known of each.

    Args:
        revisions: The revisions.
        as_json: Write JSON.
        verbose: Write a block of lines for each.
        current: Where the database is; marked.
    """
    if as_json:
        print_json(list(revisions))
        return

    def marks(item: Revision) -> str:
        found = [("head", item.is_head), ("current", item.revision in current)]
        return ", ".join(name for name, holds in found if holds)

    if not verbose:
        rows = [(item.revision, ", ".join(item.down_revisions) or "-", marks(item), item.message) for item in revisions]
        print_table(("revision", "after", "", "message"), rows)
        return
    output = sys.stdout
    for item in revisions:
        lines = {
            "after": ", ".join(item.down_revisions) or "-",
            "depends on": ", ".join(item.depends_on),
            "branch": ", ".join(item.branch_labels),
            "is": marks(item),
            "created": item.created or "",
            "file": item.path or "none: the database records it, but no file has it",
        }
        print(f"{item.revision}: {item.message}", file=output)
        for name, text in lines.items():
            if text:
                print(f"    {name}: {text}", file=output)
