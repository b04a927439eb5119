"""Column types in revision files: the file imports what it names, and runs."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeDecorator, TypeEngine

from svc_infra.db.sql.core.autogenerate.enums import native_enum, render_enum

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["render_type"]


def render_type(kind: str, item: object, context: AutogenContext) -> str | Literal[False]:
    """Render a column's type; Alembic's `render_item`.

    A type of the project or of a library is written with the import of its module, which Alembic leaves to the user.
    One that its own text does not make again, as a decorator whose arguments are not in it, is written as the type that
    the database stores.
    """
    rendered = render_enum(kind, item, context)
    if rendered is not False or kind != "type" or not isinstance(item, TypeEngine):
        return rendered
    module = type(item).__module__
    if module.startswith("sqlalchemy."):
        return False
    if context.opts.get("user_module_prefix"):
        return False  # the project chooses how its types are written
    dialect = context.dialect
    if native_enum(item, dialect) is None and _makes_the_same(f"{module}.{item!r}", module, item, dialect):
        context.imports.add(f"import {module}")
        return f"{module}.{item!r}"
    if isinstance(item, TypeDecorator):
        from alembic.autogenerate.render import _repr_type

        return _repr_type(item.load_dialect_impl(dialect), context)
    context.imports.add(f"import {module}")
    return f"{module}.{item!r}"


def _makes_the_same(text: str, module: str, item: TypeEngine[object], dialect: Dialect) -> bool:
    """Tell whether the text, run in a revision file, makes a type that is stored alike."""
    if "<locals>" in type(item).__qualname__ or module in {"__main__", "env_py"}:
        return False  # a module that a revision can't import
    try:
        importlib.import_module(module)
        root = module.partition(".")[0]
        made = eval(text, {root: sys.modules[root]})  # noqa: S307  the text is about to become a line of a program
        return isinstance(made, TypeEngine) and made.compile(dialect) == item.compile(dialect)
    except (ImportError, SQLAlchemyError, NameError, SyntaxError, TypeError, ValueError, AttributeError):
        return False
