"""The tables of a database, as values, as Mermaid text and as a picture."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.project import Project, any_project
from svc_infra.db.sql.core.target import resolve_target

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Table
    from sqlalchemy.types import TypeEngine

__all__ = ["DescribedColumn", "DescribedKey", "DescribedTable", "describe_tables", "diagram"]


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

    @property
    def short_type(self) -> str:
        """The type without character set and collation, as it is drawn."""
        return re.split(r" (?:CHARACTER SET|COLLATE) ", self.type, maxsplit=1)[0]


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
    chosen = project or any_project()
    target = resolve_target(chosen, database_url)
    version_table = chosen.variables.get("ALEMBIC_VERSION_TABLE", "").strip() or "alembic_version"
    tables = run_blocking(lambda: run_on_connection(target, _reflect))
    return [table for table in tables if table.name != version_table]


def diagram(
    style: Literal["mermaid", "svg"] = "mermaid", *, database_url: str | None = None, project: Project | None = None
) -> str:
    """Draw the tables of the database with their columns and foreign keys.

    Args:
        style: "mermaid" for an erDiagram (https://mermaid.js.org/syntax/entityRelationshipDiagram.html), or "svg",
            which needs no other program: referred tables stand left of those that refer to them.
        database_url: The database, by default as `resolve_target` finds it.
        project: The project, by default found from the working directory upwards, or that directory itself.
    """
    from svc_infra.db.sql.core.svg import draw_svg

    tables = describe_tables(database_url=database_url, project=project)
    return draw_svg(tables) if style == "svg" else _mermaid(tables)


def _reflect(connection: Connection) -> list[DescribedTable]:
    from sqlalchemy import MetaData
    from sqlalchemy.exc import SAWarning

    metadata = MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of circles of foreign keys, and of indexes that are not drawn
        metadata.reflect(connection)
        tables = metadata.sorted_tables
    return [_described(table, connection.dialect) for table in tables]


def _described(table: Table, dialect: Dialect) -> DescribedTable:
    return DescribedTable(
        table.fullname,
        tuple(
            DescribedColumn(item.name, _type(item.type, dialect), bool(item.nullable), item.primary_key)
            for item in table.columns
        ),
        tuple(
            DescribedKey(
                tuple(key.column_keys),
                key.referred_table.fullname,
                tuple(element.column.name for element in key.elements),
            )
            for key in sorted(table.foreign_key_constraints, key=lambda item: tuple(item.column_keys))
        ),
    )


def _type(kind: TypeEngine[object], dialect: Dialect) -> str:
    from sqlalchemy.exc import CompileError

    try:
        return kind.compile(dialect)
    except CompileError:
        return "unknown"


def _mermaid(tables: Sequence[DescribedTable]) -> str:
    lines = ["erDiagram"]
    for table in tables:
        lines.append(f"    {_entity(table.name)} {{")
        referring = {name for key in table.foreign_keys for name in key.columns}
        for column in table.columns:
            keys = [mark for mark, holds in (("PK", column.primary_key), ("FK", column.name in referring)) if holds]
            lines.append(f"        {_word(column.short_type, '()[]')} {_word(column.name)} {','.join(keys)}".rstrip())
        lines.append("    }")
    for table in tables:
        nullable = {column.name for column in table.columns if column.nullable}
        for key in table.foreign_keys:
            arrow = "|o--o{" if nullable & set(key.columns) else "||--o{"
            label = ", ".join(key.columns).replace('"', "'")
            lines.append(f'    {_entity(key.table)} {arrow} {_entity(table.name)} : "{label}"')
    return "\n".join(lines) + "\n"


def _entity(name: str) -> str:
    """Write a table's name, quoted where Mermaid wants it."""
    return name if name.isidentifier() else '"' + name.replace('"', "'") + '"'


def _word(text: str, kept: str = "") -> str:
    """Make a name or type that Mermaid reads as one word, which begins with a letter."""
    word = "".join(
        item if item.isalnum() or item in kept else "_" for item in re.sub(", ?", "_", re.sub("['\"`]", "", text))
    ).strip("_")
    return word if word[:1].isalpha() else f"_{word}"
