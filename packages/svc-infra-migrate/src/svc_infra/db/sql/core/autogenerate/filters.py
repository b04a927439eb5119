"""Which tables, schemas and drops autogenerate may propose."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData
from sqlalchemy.sql.schema import Column, SchemaItem, Table

from svc_infra.db.sql.core.autogenerate.live_unique import is_marker

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

__all__ = ["Filters", "is_true", "sequences_of_history", "tables_of_history"]

IncludeObject = Callable[["SchemaItem", "str | None", str, bool, "SchemaItem | None"], bool]
_CREATE_SEQUENCE = re.compile(r"\bCREATE\s+SEQUENCE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"`]+)", re.IGNORECASE)
_SKIPPED_DROPS = frozenset({"table", "column", "index"})


class Filters:
    """Alembic's `include_name` and `include_object`.

    A table without a model is proposed for dropping only when a revision of this project created it; any other belongs
    to somebody else. With `ALEMBIC_SKIP_DROPS` no table, column or index is proposed for dropping at all.

    Args:
        metadata: The models' tables; their schemas are compared.
        scripts: The revision files.
        variables: The environment: `ALEMBIC_SKIP_DROPS` (true or false) and `ALEMBIC_INCLUDE_SCHEMAS` (names of further
            schemas, separated by commas).
        include_object: The project's own filter, asked first.

    Attributes:
        foreign_tables: The tables that were left alone.
        skipped_drops: What `ALEMBIC_SKIP_DROPS` kept.
        uncompared: What could not be compared.
    """

    def __init__(
        self,
        metadata: Iterable[MetaData],
        scripts: ScriptDirectory,
        variables: Mapping[str, str],
        include_object: IncludeObject | None = None,
    ) -> None:
        self.schemas: set[str | None] = {
            table.schema for collection in metadata for table in collection.tables.values()
        }
        named = variables.get("ALEMBIC_INCLUDE_SCHEMAS", "")
        words = {name.strip() for name in named.split(",") if name.strip()}
        # Of svc-infra 1 the variable was a switch: true meant the models' schemas, which are always compared now.
        self.schemas |= {word for word in words if word.lower() not in {"1", "0", "true", "false", "yes", "no"}}
        self._scripts = scripts
        self._history: frozenset[str] | None = None
        self._skip_drops = is_true(variables, "ALEMBIC_SKIP_DROPS")
        self._include_object = include_object
        self.foreign_tables: list[str] = []
        self.skipped_drops: list[str] = []
        self.uncompared: list[str] = []

    def include_name(self, name: str | None, kind: str, _parents: Mapping[str, str | None]) -> bool:
        """Tell whether something of this name in the database is looked at."""
        return kind != "schema" or name is None or name in self.schemas

    def include_object(
        self, item: SchemaItem, name: str | None, kind: str, reflected: bool, compare_to: SchemaItem | None
    ) -> bool:
        """Tell whether an object of the database or of the models takes part in the comparison."""
        if self._include_object is not None and not self._include_object(item, name, kind, reflected, compare_to):
            return False
        if not reflected or compare_to is not None:
            return True
        if isinstance(item, Column) and is_marker(item):
            return False
        if isinstance(item, Table):
            if self._history is None:
                self._history = tables_of_history(self._scripts)
            if item.fullname not in self._history:
                self.foreign_tables.append(item.fullname)
                return False
        if self._skip_drops and kind in _SKIPPED_DROPS:
            table = getattr(item, "table", None)
            self.skipped_drops.append(f"{kind} {f'{table.fullname}.' if table is not None else ''}{name}")
            return False
        return True

    def drops_sequence(self, name: str) -> bool:
        """Tell whether a sequence without a model is proposed for dropping; the name is quoted as SQL wants it."""
        if name not in sequences_of_history(self._scripts):
            self.foreign_tables.append(f"sequence {name}")
            return False
        if self._skip_drops:
            self.skipped_drops.append(f"sequence {name}")
        return not self._skip_drops


def is_true(variables: Mapping[str, str], name: str) -> bool:
    """Read a switch: 1, true, yes and on are true, everything else is false."""
    return variables.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


def tables_of_history(scripts: ScriptDirectory) -> frozenset[str]:
    """Return the tables that the revision files create or rename, with their schema where the file names one."""
    found: set[str] = set()
    for revision in scripts.walk_revisions():
        tree = ast.parse(Path(revision.path).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                position = {"create_table": 0, "rename_table": 1}.get(node.func.attr)
                if position is not None and (name := _text(node.args, position)) is not None:
                    schema = next((_constant(word.value) for word in node.keywords if word.arg == "schema"), None)
                    found.add(f"{schema}.{name}" if schema else name)
    return frozenset(found)


def sequences_of_history(scripts: ScriptDirectory) -> frozenset[str]:
    """Return the sequences that the revision files create, by SQL or by SQLAlchemy's `CreateSequence`."""
    found: set[str] = set()
    for revision in scripts.walk_revisions():
        for node in ast.walk(ast.parse(Path(revision.path).read_text(encoding="utf-8"))):
            if (text := _constant(node)) is not None:
                found.update(_CREATE_SEQUENCE.findall(text))
            elif isinstance(node, ast.Call) and _called(node) == "Sequence":
                found.update(name for name in [_text(node.args, 0)] if name is not None)
    return frozenset(found)


def _called(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _text(arguments: list[ast.expr], position: int) -> str | None:
    return _constant(arguments[position]) if len(arguments) > position else None


def _constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
