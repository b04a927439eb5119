"""One comparison of a database with the models: its options for Alembic, and what it leaves unsaid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import Connection, MetaData, inspect

from svc_infra.db.sql.core.autogenerate.comparators import register
from svc_infra.db.sql.core.autogenerate.filters import Filters
from svc_infra.db.sql.core.autogenerate.twins import SUPPORTED, Twins
from svc_infra.db.sql.core.autogenerate.types import render_type
from svc_infra.db.sql.core.discovery import Discovery
from svc_infra.db.sql.core.errors import DiscoveryError
from svc_infra.db.sql.core.project import Project

if TYPE_CHECKING:
    from svc_infra.db.sql.core.autogenerate.filters import IncludeObject

__all__ = ["Comparison", "as_target"]


class Comparison:
    """Prepares a comparison and tells afterwards what it did not compare.

    Args:
        connection: The connection to the database.
        models: The models that were found.
        project: Whose environment chooses schemas and drops, and whose progress hears of it.
        include_object: The project's own filter.

    Raises:
        DiscoveryError: There are no models, but tables of this project; comparing would drop them all.
    """

    def __init__(
        self, connection: Connection, models: Discovery, project: Project, include_object: IncludeObject | None
    ) -> None:
        project.progress.note(models.describe())
        self._project = project
        self._connection = connection
        self._filters = Filters(models.metadata, context.script, project.variables, include_object)
        self._twins = Twins(connection)
        if not models.tables:
            _refuse_to_drop_everything(connection)
        self.options: dict[str, object] = {
            "target_metadata": as_target(models.metadata),
            "include_schemas": bool(self._filters.schemas - {None}),
            "include_name": self._filters.include_name,
            "include_object": self._filters.include_object,
            "compare_server_default": True,
            "render_item": render_type,
            "autogenerate_plugins": ["alembic.autogenerate.*", register()],
            "twins": self._twins,
            "filters": self._filters,
        }
        if connection.dialect.name not in SUPPORTED:
            self.options["autogenerate_plugins"] = ["alembic.autogenerate.*"]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Run the comparison in the block, and tell afterwards what was left alone and what could not be compared."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        note = self._project.progress.note
        if self._filters.foreign_tables:
            names = ", ".join(sorted(self._filters.foreign_tables))
            note(f"Left alone, because no model has them and no revision created them: {names}")
        if self._filters.skipped_drops:
            note(f"Kept, because ALEMBIC_SKIP_DROPS is set: {', '.join(sorted(self._filters.skipped_drops))}")
        for message in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
            note(f"Not compared: {message}")
        for table, reason in self._twins.failures.items():
            note(f"Defaults, checks and index predicates of {table} were compared by their text only: {reason}")
        if self._filters.uncompared:
            names = ", ".join(self._filters.uncompared)
            note(f"Not compared, because the database refuses the model's definition: {names}")
        unseen = _unseen(self._connection)
        if unseen:
            note(f"Not compared, write revisions for them by hand: {unseen}")


def as_target(metadata: Sequence[MetaData]) -> MetaData | list[MetaData]:
    """Return the models as Alembic's `target_metadata`: one collection where there is one, as most tools expect."""
    filled = [collection for collection in metadata if collection.tables] or list(metadata[:1])
    return filled[0] if len(filled) == 1 else filled


def _refuse_to_drop_everything(connection: Connection) -> None:
    existing = [name for name in inspect(connection).get_table_names() if name != context.get_context().version_table]
    if existing:
        raise DiscoveryError(
            f"no models were found, but the database has {len(existing)} tables ({', '.join(sorted(existing)[:5])}"
            f"{' ...' if len(existing) > 5 else ''}); comparing would drop those of this project. "
            "Name the packages in ALEMBIC_DISCOVER_PACKAGES, or pass metadata= to run_migrations() in env.py"
        )


# What a database can hold beside the things that are compared.
_UNSEEN_QUERIES = {
    "postgresql": (
        "SELECT 'view', count(*) FROM pg_views WHERE schemaname = ANY (current_schemas(false))"
        " UNION ALL SELECT 'materialized view', count(*) FROM pg_matviews"
        " WHERE schemaname = ANY (current_schemas(false))"
        " UNION ALL SELECT 'trigger', count(*) FROM pg_trigger WHERE NOT tgisinternal"
        " UNION ALL SELECT 'row security policy', count(*) FROM pg_policy"
        " UNION ALL SELECT 'exclusion constraint', count(*) FROM pg_constraint WHERE contype = 'x'"
        " UNION ALL SELECT 'function', count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = ANY (current_schemas(false)) AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid"
        " AND d.deptype = 'e')"
    ),
    "mysql": (
        "SELECT 'view', count(*) FROM information_schema.views WHERE table_schema = database()"
        " UNION ALL SELECT 'trigger', count(*) FROM information_schema.triggers WHERE trigger_schema = database()"
        " UNION ALL SELECT 'routine', count(*) FROM information_schema.routines WHERE routine_schema = database()"
    ),
    "sqlite": "SELECT type, count(*) FROM sqlite_master WHERE type IN ('view', 'trigger') GROUP BY type",
}


def _unseen(connection: Connection) -> str:
    """Count what is in the database and never compared, as "2 views, 1 trigger"."""
    statement = _UNSEEN_QUERIES.get("mysql" if connection.dialect.name == "mariadb" else connection.dialect.name)
    if statement is None:
        return ""
    rows = connection.exec_driver_sql(statement).all()
    return ", ".join(f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in rows if number)
