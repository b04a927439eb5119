"""Tables and their foreign keys as an SVG picture, laid out without another program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svc_infra.db.sql.core.diagram import DescribedKey, DescribedTable

__all__ = ["draw_svg"]

# Pixels; a character of the fixed-width font at 12 px is 7.3 wide.
_ROW, _CHARACTER, _PADDING, _KEY_WIDTH = 20, 7.3, 10, 30
_GAP_X, _GAP_Y, _MARGIN = 90, 30, 30
_COLUMN_HEIGHT = 1400

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
<g font-family="ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="12" fill="#223">
"""


@dataclass(frozen=True)
class _Box:
    """A table at its place."""

    table: DescribedTable
    x: float
    y: float
    width: float

    @property
    def height(self) -> float:
        return _height(self.table)

    @property
    def right(self) -> float:
        return self.x + self.width

    def middle_of(self, column: str) -> float:
        """Return the height of a column's row; of the heading for one that is not there."""
        names = [item.name for item in self.table.columns]
        return self.y + _ROW * ((names.index(column) + 1 if column in names else 0) + 0.5)


def draw_svg(tables: Sequence[DescribedTable]) -> str:
    """Draw tables as boxes, and foreign keys as arrows to the columns that they refer to.

    Referred tables stand left of those that refer to them; a column of boxes that gets too high is split.
    """
    boxes = _layout(tables)
    width = max((box.right for box in boxes.values()), default=0.0) + _GAP_X
    height = max((box.y + box.height for box in boxes.values()), default=0.0) + _MARGIN
    parts = [_HEAD.format(width=round(width), height=round(height))]
    for box in boxes.values():
        parts += _box(box)
    for box in boxes.values():
        parts += [_arrow(box, key, boxes[key.table]) for key in box.table.foreign_keys if key.table in boxes]
    return "".join([*parts, "</g>\n</svg>\n"])


def _layout(tables: Sequence[DescribedTable]) -> dict[str, _Box]:
    depths = _depths(tables)
    boxes: dict[str, _Box] = {}
    x: float = _MARGIN
    for depth in sorted(set(depths.values())):
        for column in _split([table for table in tables if depths[table.name] == depth]):
            width = max(map(_width, column))
            y: float = _MARGIN
            for table in column:
                boxes[table.name] = _Box(table, x, y, width)
                y += _height(table) + _GAP_Y
            x += width + _GAP_X
    return boxes


def _depths(tables: Sequence[DescribedTable]) -> dict[str, int]:
    """Return how many steps of references lie left of each table; a circle is cut where it is entered."""
    by_name = {table.name: table for table in tables}
    depths: dict[str, int] = {}

    def depth_of(name: str, above: frozenset[str]) -> int:
        if name not in depths:
            referred = {key.table for key in by_name[name].foreign_keys} & by_name.keys() - above - {name}
            depths[name] = 1 + max((depth_of(item, above | {name}) for item in sorted(referred)), default=-1)
        return depths[name]

    for table in tables:
        depth_of(table.name, frozenset())
    return depths


def _split(tables: Sequence[DescribedTable]) -> Iterator[list[DescribedTable]]:
    column: list[DescribedTable] = []
    height = 0.0
    for table in tables:
        if column and height + _height(table) > _COLUMN_HEIGHT:
            yield column
            column, height = [], 0.0
        column.append(table)
        height += _height(table) + _GAP_Y
    yield column


def _height(table: DescribedTable) -> float:
    return _ROW * (len(table.columns) + 1)


def _width(table: DescribedTable) -> float:
    longest = max([len(table.name), *(len(f"{item.name}  {item.short_type}") for item in table.columns)])
    return round(longest * _CHARACTER + _KEY_WIDTH + 2 * _PADDING)


def _box(box: _Box) -> Iterator[str]:
    x, y, width = box.x, box.y, box.width
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{box.height}" rx="4" fill="#fff" stroke="#99a"/>\n'
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{_ROW}" rx="4" fill="#dde4f0" stroke="#99a"/>\n'
    yield f'<text x="{x + _PADDING}" y="{y + 14}" font-weight="bold">{escape(box.table.name)}</text>\n'
    referring = {name for key in box.table.foreign_keys for name in key.columns}
    for number, column in enumerate(box.table.columns, 1):
        baseline = y + _ROW * number + 14
        mark = "PK" if column.primary_key else "FK" if column.name in referring else ""
        weight = ' font-weight="bold"' if column.primary_key else ""
        if mark:
            yield f'<text x="{x + _PADDING}" y="{baseline}" font-size="10" fill="#667">{mark}</text>\n'
        yield f'<text x="{x + _KEY_WIDTH}" y="{baseline}"{weight}>{escape(column.name)}</text>\n'
        style = ' font-style="italic" fill="#889"' if column.nullable else ""
        yield (
            f'<text x="{box.right - _PADDING}" y="{baseline}" text-anchor="end"{style}>'
            f"{escape(column.short_type)}<title>{'may be NULL' if column.nullable else 'NOT NULL'}</title></text>\n"
        )


def _arrow(box: _Box, key: DescribedKey, referred: _Box) -> str:
    """Draw from the first column of a key to the one that it refers to: on the left, or around the right side."""
    start, end = box.middle_of(key.columns[0]), referred.middle_of(key.referred_columns[0])
    title = f"{', '.join(key.columns)} refers to {key.table} ({', '.join(key.referred_columns)})"
    if referred.right < box.x:
        bend = (box.x - referred.right) / 2
        path = f"M{box.x} {start}C{box.x - bend} {start} {referred.right + bend} {end} {referred.right} {end}"
    else:
        out = max(box.right, referred.right) + _GAP_X / 2
        path = f"M{box.right} {start}C{out} {start} {out} {end} {referred.right} {end}"
    return (
        f'<path d="{path}" fill="none" stroke="#667" stroke-width="1.2" marker-end="url(#arrow)">'
        f"<title>{escape(title)}</title></path>\n"
    )
