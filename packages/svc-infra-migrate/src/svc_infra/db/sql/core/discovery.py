"""Finding the project's models, so that autogenerate compares all of them and nothing else.

Source files are read, not run, to see which of them define tables; only those are imported. So `main.py` of a service
is not started by a migration, a test's models stay out, and a model is found whatever its module is called.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from svc_infra.db.sql.core.errors import DiscoveryError

if TYPE_CHECKING:
    from sqlalchemy import MetaData

__all__ = ["Discovery", "discover_models"]

# Folders that hold no models of the service itself.
_SKIPPED_FOLDERS = frozenset({
    "__pycache__", "alembic", "benchmarks", "build", "dist", "docs", "examples", "htmlcov", "migrations",
    "node_modules", "scripts", "site-packages", "static", "templates", "test", "testing", "tests", "venv", "versions",
})  # fmt: skip
_TABLE_ATTRIBUTES = frozenset({"__tablename__", "__table__"})
_TABLE_BASES = frozenset({"ModelBase", "DeclarativeBase", "MappedAsDataclass", "SQLModel"})
_COLUMN_CALLS = frozenset({"Column", "mapped_column"})
# The second is svc-infra-fastapi's, which declares its table in the metadata that it is given.
_TABLE_CALLS = frozenset({"Table", "IdempotencyKeys"})


@dataclass(frozen=True)
class Discovery:
    """What was found.

    Attributes:
        metadata: Every `MetaData` that holds a table of the modules, `ModelBase.metadata` first.
        modules: The modules that were imported because they define tables, sorted.
    """

    metadata: tuple[MetaData, ...]
    modules: tuple[str, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of all tables, with their schema where they have one, sorted."""
        return tuple(sorted({key for metadata in self.metadata for key in metadata.tables}))

    def describe(self) -> str:
        """Say in one line what was found."""
        tables = self.tables
        if not tables:
            return "Models: none found" + (f" in {', '.join(self.modules)}" if self.modules else "")
        return f"Models: {len(tables)} table{'s'[: len(tables) != 1]} in {', '.join(self.modules) or 'ModelBase'}"


def discover_models(source_roots: Sequence[Path], packages: Sequence[str] = ()) -> Discovery:
    """Import the modules that define tables, and collect their metadata.

    Args:
        source_roots: Folders that modules are imported from; put in front of `sys.path` unless they are in it.
        packages: Packages or modules to look in. Each is imported itself, and so are its modules that define tables.
            Empty looks in every package and module of `source_roots`, except folders of tests, docs and scripts.

    Raises:
        DiscoveryError: A module can't be imported, or a name in `packages` does not exist. Autogenerate with half of
            the models would drop the tables of the other half, so nothing is skipped.
    """
    for root in reversed(source_roots):
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    names = dict.fromkeys(_modules_of_packages(packages) if packages else _modules_below(source_roots))
    for name in names:
        _import(name)
    return Discovery(_metadata_of(names), tuple(sorted(names)))


def defines_tables(source: str) -> bool:
    """Tell whether Python source defines a mapped class, a `Table` or the table of idempotency keys.

    >>> defines_tables("class User(ModelBase): pass")
    True
    >>> defines_tables("keys = IdempotencyKeys(Base.metadata)")
    True
    >>> defines_tables("class Settings(BaseModel): pass")
    False
    """
    words = ("Mapped", *_TABLE_ATTRIBUTES, *_TABLE_BASES, *_TABLE_CALLS, *_COLUMN_CALLS)
    if not any(word in source for word in words):
        return False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            if any(_last_name(base) in _TABLE_BASES for base in node.bases):
                return True
            if any(_is_mapped(statement) for statement in node.body):
                return True
        elif isinstance(node, ast.Call) and _last_name(node.func) in _TABLE_CALLS:
            return True
    return False


def _is_mapped(statement: ast.stmt) -> bool:
    """Tell whether a statement of a class body names a table or maps a column."""
    if isinstance(statement, ast.FunctionDef):
        return statement.name in _TABLE_ATTRIBUTES  # as a declared_attr
    if isinstance(statement, ast.AnnAssign):
        targets: Sequence[ast.expr] = [statement.target]
        if isinstance(statement.annotation, ast.Subscript) and _last_name(statement.annotation) == "Mapped":
            return True
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        return False
    if isinstance(statement.value, ast.Call) and _last_name(statement.value.func) in _COLUMN_CALLS:
        return True
    return any(_last_name(target) in _TABLE_ATTRIBUTES for target in targets)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _modules_below(source_roots: Sequence[Path]) -> Iterator[str]:
    """Yield the modules below the folders that define tables."""
    for root in source_roots:
        inner = {other for other in source_roots if other != root and other.is_relative_to(root)}
        yield from _scan(root, "", inner, depth=0)


def _modules_of_packages(packages: Iterable[str]) -> Iterator[str]:
    """Yield each name, and the modules below it that define tables."""
    for package in packages:
        yield package
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError) as error:
            raise DiscoveryError(f"can't import {package}, named to look for models in: {_reason(error)}") from error
        if spec is None:
            raise DiscoveryError(
                f"there is no module {package}, named to look for models in (ALEMBIC_DISCOVER_PACKAGES, or "
                f"discover_packages in env.py); looked in {', '.join(entry or '.' for entry in sys.path[:3])} ..."
            )
        for location in spec.submodule_search_locations or ():
            yield from _scan(Path(location), f"{package}.", set(), depth=1)


def _scan(folder: Path, prefix: str, excluded: set[Path], *, depth: int) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")) and path.name != "__init__.py":
            continue
        if path.is_dir():
            if path in excluded or not path.name.isidentifier() or path.name in _SKIPPED_FOLDERS:
                continue
            if (path / "pyvenv.cfg").exists() or (path / "pyproject.toml").exists():
                continue  # an environment, or a project of its own
            yield from _scan(path, f"{prefix}{path.name}.", excluded, depth=depth + 1)
        elif path.suffix == ".py":
            if path.name.startswith("test_") or path.stem in {"conftest", "setup", "noxfile", "env"}:
                continue
            name = prefix.rstrip(".") if path.name == "__init__.py" else f"{prefix}{path.stem}"
            if name and all(part.isidentifier() for part in name.split(".")) and _file_defines_tables(path):
                yield name


def _file_defines_tables(path: Path) -> bool:
    try:
        return defines_tables(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        reason = f"SyntaxError: {error.msg}"
        raise DiscoveryError(f"can't read {path}, line {error.lineno}, while looking for models: {reason}") from error
    except UnicodeDecodeError as error:
        raise DiscoveryError(f"can't read {path} while looking for models: {_reason(error)}") from error


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        raise DiscoveryError(
            f"can't import {name}, which defines models: {_reason(error)}; without it its tables would be dropped"
        ) from error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _metadata_of(names: Iterable[str]) -> tuple[MetaData, ...]:
    """Return the metadata of the modules' classes and tables, each once."""
    from sqlalchemy import MetaData, Table

    from svc_infra.db.sql.base import ModelBase

    found: dict[int, MetaData] = {id(ModelBase.metadata): ModelBase.metadata}
    for name in names:
        for value in vars(sys.modules[name]).values():
            metadata = value if isinstance(value, MetaData) else getattr(value, "metadata", None)
            is_owner = isinstance(value, (MetaData, Table)) or hasattr(value, "__table__")
            if is_owner and isinstance(metadata, MetaData) and metadata.tables:
                found.setdefault(id(metadata), metadata)
    return tuple(found.values())
