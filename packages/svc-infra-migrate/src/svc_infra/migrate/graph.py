"""The history of revisions as a graph of characters, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from svc_infra.db.sql.core import Revision

__all__ = ["draw_graph"]


def draw_graph(revisions: Sequence[Revision]) -> Iterator[str]:
    """Draw revisions that are sorted so that each comes before those that it builds upon.

    A column is a branch: `*` stands in the one of the revision, `|` in the others.
    """
    lanes: list[str | None] = []
    for item in revisions:
        mine = [number for number, waiting in enumerate(lanes) if waiting == item.revision]
        lane = mine[0] if mine else _free(lanes)
        marks = ["*" if number == lane else "|" if waiting else " " for number, waiting in enumerate(lanes)]
        head = " (head)" if item.is_head else ""
        yield f"{' '.join(marks)}  {item.revision}{head}  {item.message}"
        if len(mine) > 1:
            yield " ".join(
                "|" if number == lane else "/" if number in mine else "|" if waiting else " "
                for number, waiting in enumerate(lanes)
            )
        for number in mine[1:]:
            lanes[number] = None
        parents = list(item.down_revisions)
        lanes[lane] = parents[0] if parents else None
        for parent in parents[1:]:
            lanes[_free(lanes)] = parent
        if len(parents) > 1:
            yield " ".join(
                "|" if number == lane else "\\" if waiting in parents[1:] else "|" if waiting else " "
                for number, waiting in enumerate(lanes)
            )
        while lanes and lanes[-1] is None:
            lanes.pop()


def _free(lanes: list[str | None]) -> int:
    if None in lanes:
        return lanes.index(None)
    lanes.append(None)
    return len(lanes) - 1
