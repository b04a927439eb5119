"""A first model, for somebody who starts."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path

from svc_infra.db.sql.core.errors import MigrationError, ProjectExists

__all__ = ["scaffold_model"]

# What a type is called on the command line: Python's type in the model, and what goes into mapped_column().
_TYPES = {
    "str": ("str", "String(255)"),
    "text": ("str", "Text"),
    "int": ("int", ""),
    "bigint": ("int", "BigInteger"),
    "float": ("float", ""),
    "decimal": ("decimal.Decimal", "Numeric(18, 4)"),
    "bool": ("bool", ""),
    "date": ("dt.date", ""),
    "datetime": ("dt.datetime", "DateTime(timezone=True)"),
    "uuid": ("uuid.UUID", ""),
    "json": ("dict[str, object]", "JSON"),
    "bytes": ("bytes", ""),
}
# The key is there already; the others are SQLAlchemy's.
_TAKEN = frozenset({"id", "metadata", "registry"})
_MODULES = {"decimal.": "import decimal", "dt.": "import datetime as dt", "uuid.": "import uuid"}


def scaffold_model(name: str, fields: Mapping[str, str], path: Path) -> Path:
    """Write a module with one model.

    Args:
        name: The class, as "OrderLine"; its table is called "order_lines".
        fields: Columns with their types: str, text, int, bigint, float, decimal, bool, date, datetime, uuid, json,
            bytes. A type with "?" behind it may be NULL.
        path: The file; it must not be there yet.

    Raises:
        MigrationError: A name is no Python name, or a type is unknown.
        ProjectExists: The file is there.
    """
    if path.exists():
        raise ProjectExists(f"{path} is there already; choose another file")
    if not name.isidentifier() or not name[0].isupper() or keyword.iskeyword(name):
        raise MigrationError(f"a model is called like a class, as OrderLine, got {name!r}")
    lines = [_column(field, kind) for field, kind in fields.items()]
    body = "\n".join(lines)
    modules = sorted(module for mark, module in _MODULES.items() if mark in body)
    types = sorted(
        {kind for kind in ("BigInteger", "DateTime", "JSON", "Numeric", "String", "Text") if f"({kind}" in body}
    )
    table = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + "s"
    text = "\n".join(
        [
            f'"""The model {name}."""',
            "",
            "from __future__ import annotations",
            "",
            *([*modules, ""] if modules else []),
            *([f"from sqlalchemy import {', '.join(types)}"] if types else []),
            "from sqlalchemy.orm import Mapped, mapped_column",
            "",
            "from svc_infra.db.sql.base import ModelBase",
            "",
            "",
            f"class {name}(ModelBase):",
            f'    __tablename__ = "{table}"',
            "",
            "    id: Mapped[int] = mapped_column(primary_key=True)",
            *lines,
            "",
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _column(field: str, kind: str) -> str:
    optional = kind.endswith("?")
    known = _TYPES.get(kind.rstrip("?"))
    if known is None:
        raise MigrationError(f"{field} has the unknown type {kind!r}; known are {', '.join(_TYPES)}, with ? for NULL")
    if not field.isidentifier() or keyword.iskeyword(field) or field.startswith("__") or field in _TAKEN:
        raise MigrationError(f"{field!r} can't be a column's name here")
    python, column = known
    return f"    {field}: Mapped[{python}{' | None' if optional else ''}] = mapped_column({column})"
