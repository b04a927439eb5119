"""The history of revisions as a graph of characters, newest first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from svc_infra.db.sql.core import Revision

__all__ = ["draw_graph"]


def draw_graph(revisions: Sequence[Revision], current: Collection[str] = ()) -> Iterator[str]:
    """Draw revisions that are sorted so that each comes before those that it builds upon.

    A column is a branch: `*` stands in the one of the revision, `|` in the others.

    Args:
        revisions: What to draw.
        current: Where the database is; marked.
    """
    lanes: list[str | None] = []
    for item in revisions:
        mine = [number for number, waiting in enumerate(lanes) if waiting == item.revision]
        lane = mine[0] if mine else _free(lanes)
        if len(mine) > 1:
            yield _row(lanes, dict.fromkeys(mine[1:], "/"))
        for number in mine[1:]:
            lanes[number] = None
        while len(lanes) > lane + 1 and lanes[-1] is None:
            lanes.pop()
        head = f"{' (head)' if item.is_head else ''}{' (current)' if item.revision in current else ''}"
        yield f"{_row(lanes, {lane: '*'})}  {item.revision}{head}  {item.message}"
        parents = list(item.down_revisions)
        lanes[lane] = parents[0] if parents else None
        opened: dict[int, str] = {}
        for parent in parents[1:]:
            number = _free(lanes)
            lanes[number] = parent
            opened[number] = "\\"
        if opened:
            yield _row(lanes, opened)


def _row(lanes: Sequence[str | None], marks: Mapping[int, str]) -> str:
    return " ".join(marks.get(number) or ("|" if waiting else " ") for number, waiting in enumerate(lanes))


def _free(lanes: list[str | None]) -> int:
    if None in lanes:
        return lanes.index(None)
    lanes.append(None)
    return len(lanes) - 1
