"""The schema as a picture: Mermaid text, or SVG that needs no other program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData, Table

__all__ = ["DescribedColumn", "DescribedKey", "DescribedTable", "describe_tables", "diagram"]

_COLUMN_WIDTH, _ROW, _GAP, _PER_LINE = 260, 18, 60, 4  # pixels, and tables beside one another


@dataclass(frozen=True)
class DescribedColumn:
    """A column of a table.

    Attributes:
        name: Its name.
        type: Its type as SQL.
        nullable: Whether it may be NULL.
        primary_key: Whether it belongs to the primary key.
    """

    name: str
    type: str
    nullable: bool
    primary_key: bool


@dataclass(frozen=True)
class DescribedKey:
    """A foreign key of a table.

    Attributes:
        columns: The columns of the table that refer.
        table: The table that they refer to.
        referred_columns: The columns there, in the same order.
    """

    columns: tuple[str, ...]
    table: str
    referred_columns: tuple[str, ...]


@dataclass(frozen=True)
class DescribedTable:
    """A table of the database.

    Attributes:
        name: Its name, with the schema in front where it is not the default one.
        columns: In their order.
        foreign_keys: By their columns.
    """

    name: str
    columns: tuple[DescribedColumn, ...]
    foreign_keys: tuple[DescribedKey, ...]


def describe_tables(*, database_url: str | None = None, project: Project | None = None) -> list[DescribedTable]:
    """Return the tables of the database with their columns and foreign keys, those that others refer to first.

    Args:
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.
    """
    return [_described(table) for table in _tables(database_url, project)]


def _described(table: Table) -> DescribedTable:
    return DescribedTable(
        table.fullname,
        tuple(DescribedColumn(c.name, str(c.type), bool(c.nullable), c.primary_key) for c in table.columns),
        tuple(
            DescribedKey(
                tuple(key.column_keys),
                key.referred_table.fullname,
                tuple(element.column.name for element in key.elements),
            )
            for key in sorted(table.foreign_key_constraints, key=lambda item: tuple(item.column_keys))
        ),
    )


def diagram(
    style: Literal["mermaid", "svg"] = "mermaid", *, database_url: str | None = None, project: Project | None = None
) -> str:
    """Draw the tables of the database with their columns and foreign keys.

    Args:
        style: "mermaid" for an erDiagram (https://mermaid.js.org/syntax/entityRelationshipDiagram.html), or "svg".
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.
    """
    tables = _tables(database_url, project)
    return _svg(tables) if style == "svg" else _mermaid(tables)


def _tables(database_url: str | None, project: Project | None) -> list[Table]:
    chosen = project or any_project()
    target = resolve_target(chosen, database_url)
    metadata = run_blocking(lambda: run_on_connection(target, _reflect))
    version_table = chosen.variables.get("ALEMBIC_VERSION_TABLE", "").strip() or "alembic_version"
    return [table for table in metadata.sorted_tables if table.name != version_table]


def _reflect(connection: Connection) -> MetaData:
    from sqlalchemy import MetaData

    metadata = MetaData()
    metadata.reflect(connection)
    return metadata


def _mermaid(tables: Sequence[Table]) -> str:
    lines = ["erDiagram"]
    for table in tables:
        lines.append(f"    {_word(table.name)} {{")
        for column in table.columns:
            keys = [mark for mark, holds in (("PK", column.primary_key), ("FK", bool(column.foreign_keys))) if holds]
            lines.append(f"        {_word(str(column.type))} {_word(column.name)} {','.join(keys)}".rstrip())
        lines.append("    }")
    for table in tables:
        for key in sorted(table.foreign_key_constraints, key=lambda item: tuple(item.column_keys)):
            optional = any(column.nullable for column in key.columns)
            lines.append(
                f"    {_word(key.referred_table.name)} {'|o' if optional else '||'}--o{{ {_word(table.name)} : "
                f'"{", ".join(key.column_keys)}"'
            )
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """Make a name that Mermaid reads as one word."""
    return "".join(character if character.isalnum() else "_" for character in text).strip("_") or "_"


def _svg(tables: Sequence[Table]) -> str:
    places: dict[str, tuple[int, int]] = {}
    y = bottom = _GAP // 2
    for number, table in enumerate(tables):
        if number % _PER_LINE == 0:
            y = bottom
        x = _GAP // 2 + (number % _PER_LINE) * (_COLUMN_WIDTH + _GAP)
        places[table.key] = (x, y)
        bottom = max(bottom, y + _ROW * (len(table.columns) + 1) + _GAP)
    width = _GAP + max(1, min(len(tables), _PER_LINE)) * (_COLUMN_WIDTH + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom}">',
        '<g font-family="sans-serif" font-size="12">',
    ]
    parts += [line for table in tables for line in _svg_lines(table, places)]
    parts += [box for table in tables for box in _svg_box(table, places[table.key])]
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _svg_lines(table: Table, places: dict[str, tuple[int, int]]) -> list[str]:
    lines = []
    names = list(table.columns.keys())
    for key in table.foreign_key_constraints:
        if key.referred_table.key in places:
            x, y = places[table.key]
            row = names.index(key.column_keys[0])
            to_x, to_y = places[key.referred_table.key]
            lines.append(
                f'<path d="M{x} {y + _ROW * (row + 1.5)} C{x - _GAP} {y + _ROW * (row + 1.5)}, '
                f'{to_x + _COLUMN_WIDTH + _GAP} {to_y + _ROW // 2}, {to_x + _COLUMN_WIDTH} {to_y + _ROW // 2}" '
                'fill="none" stroke="#888"/>'
            )
    return lines


def _svg_box(table: Table, place: tuple[int, int]) -> list[str]:
    x, y = place
    height = _ROW * (len(table.columns) + 1)
    parts = [
        f'<rect x="{x}" y="{y}" width="{_COLUMN_WIDTH}" height="{height}" rx="4" fill="#fff" stroke="#333"/>',
        f'<rect x="{x}" y="{y}" width="{_COLUMN_WIDTH}" height="{_ROW}" rx="4" fill="#ddd" stroke="#333"/>',
        f'<text x="{x + 6}" y="{y + 13}" font-weight="bold">{escape(table.fullname)}</text>',
    ]
    for number, column in enumerate(table.columns, 1):
        mark = "\N{KEY} " if column.primary_key else "\N{RIGHTWARDS ARROW} " if column.foreign_keys else ""
        text = f"{mark}{column.name}: {column.type}{'' if column.nullable else ' *'}"
        parts.append(f'<text x="{x + 6}" y="{y + _ROW * number + 13}">{escape(text)}</text>')
    return parts
