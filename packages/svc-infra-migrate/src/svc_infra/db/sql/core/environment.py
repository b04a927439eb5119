"""What a project's `env.py` calls: connect, tell Alembic what to compare with, and run its command.

The file itself stays three lines, and `alembic upgrade head` does the same as `svc-infra sql upgrade head`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from alembic import context
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError

from svc_infra.db.sql.core.autogenerate.comparison import Comparison, as_target
from svc_infra.db.sql.core.connection import run_blocking, run_on_connection
from svc_infra.db.sql.core.discovery import Discovery, discover_models
from svc_infra.db.sql.core.errors import DatabaseFailed
from svc_infra.db.sql.core.file_lock import OpenFile
from svc_infra.db.sql.core.impls import register_impls
from svc_infra.db.sql.core.limits import Limits
from svc_infra.db.sql.core.lock import acquire
from svc_infra.db.sql.core.offline_dialects import register_offline_dialect
from svc_infra.db.sql.core.places import place_of
from svc_infra.db.sql.core.project import Project
from svc_infra.db.sql.core.runner import run_steps
from svc_infra.db.sql.core.target import resolve_target
from svc_infra.dburl import redact

if TYPE_CHECKING:
    from alembic.config import Config

    from svc_infra.db.sql.core.autogenerate.filters import IncludeObject
    from svc_infra.dburl import ResolvedUrl

__all__ = ["run_migrations"]


def run_migrations(
    *,
    metadata: MetaData | Sequence[MetaData] | None = None,
    discover_packages: Sequence[str] = (),
    include_object: IncludeObject | None = None,
    **options: object,
) -> None:
    """Run the command that Alembic loaded `env.py` for.

    Args:
        metadata: The tables to compare the database with. None discovers the models, see `discover_models`.
        discover_packages: Packages to look for models in; `ALEMBIC_DISCOVER_PACKAGES` comes first.
        include_object: Further filter for autogenerate, as Alembic's `include_object`.
        options: Further options for Alembic's `context.configure`, in place of the ones chosen here.
    """
    config = context.config
    attributes = config.attributes
    project = attributes.get("project") or _project_of(config)
    variables = project.variables
    if context.is_offline_mode():
        _run_offline(project, attributes.get("database_url"), options)
        return

    def models() -> Discovery:
        if metadata is not None:
            given = (metadata,) if isinstance(metadata, MetaData) else tuple(metadata)
            return Discovery(given, ("env.py",))
        named = [name.strip() for name in variables.get("ALEMBIC_DISCOVER_PACKAGES", "").split(",") if name.strip()]
        return discover_models(project.source_roots, named or discover_packages)

    work = partial(
        _run_online, project=project, metadata=metadata, models=models, include_object=include_object, options=options
    )
    shared = attributes.get("connection")
    if shared is not None:
        _run_on_shared(shared, work)
    else:
        target = resolve_target(project, attributes.get("database_url"), config=config)
        _run_on_target(project, target, partial(work, goes_through_pooler=target.pooler))


def _run_on_target(project: Project, target: ResolvedUrl, work: Callable[[Connection], None]) -> None:
    """Connect and work; an error that is the database's names the database.

    Raises:
        DatabaseFailed: It can't be reached, refuses the user, or refuses a statement outside of a revision.
    """
    try:
        if target.dialect == "duckdb":
            limits = Limits.from_environ(project.variables)
            file = OpenFile(target, work)
            acquire(file, "the database file", wait_seconds=limits.lock_wait_seconds, progress=project.progress)
        else:
            run_blocking(partial(run_on_connection, target, work))
    except (DBAPIError, ConnectionError, TimeoutError, socket.gaierror) as error:
        origin = getattr(error, "orig", None) or error
        raise DatabaseFailed(
            f"the database failed: {str(origin).strip() or type(origin).__name__}{place_of(error)}\n"
            f"  database: {redact(target.url)} (from {target.source})\n"
            "  how to go on: `svc-infra url check` tries each step of connecting and says what to do, "
            "`svc-infra sql doctor` looks closer"
        ) from error


def _run_online(
    connection: Connection,
    *,
    project: Project,
    metadata: MetaData | Sequence[MetaData] | None,
    models: Callable[[], Discovery],
    include_object: IncludeObject | None,
    options: Mapping[str, object],
    goes_through_pooler: bool = False,
) -> None:
    register_impls(connection.dialect.name)
    chosen = {**_options(project.variables, connection.dialect.name), **options}
    chosen["include_object"] = include_object
    _configure(connection=connection, **chosen)
    opts = context.get_context().opts
    if "revision_context" in opts:
        comparison = Comparison(connection, models(), project, include_object)
        chosen = {**chosen, **comparison.options, **options}
        _configure(connection=connection, **chosen)
        with comparison.telling(), context.begin_transaction():
            context.run_migrations()
        return
    if "destination_rev" in opts:
        chosen.setdefault("target_metadata", _naming(metadata))
        _configure(connection=connection, **chosen)
        limits = context.config.attributes.get("limits") or Limits.from_environ(project.variables)
        configure = partial(_configure, connection=connection, **chosen)
        run_steps(connection, project.progress, limits, configure, goes_through_pooler=goes_through_pooler)
    else:
        if "project" not in context.config.attributes and not opts.get("dont_mutate"):
            # A tool that loads env.py by itself, as pytest-alembic does, may ask it for the models.
            _configure(connection=connection, **{**chosen, "target_metadata": as_target(models().metadata), **options})
        is_owner = not connection.in_transaction()
        context.run_migrations()
        if is_owner and not opts.get("dont_mutate"):
            connection.commit()  # of `ensure-version`; with a transaction for each revision Alembic begins none here


def _configure(**options: object) -> None:
    context.configure(**options)  # type: ignore[arg-type]


def _naming(metadata: MetaData | Sequence[MetaData] | None) -> MetaData:
    """Return what names the constraints that a revision leaves unnamed, as the CHECK of a column's type.

    The models themselves are not needed to run revisions, and not imported for it.
    """
    if isinstance(metadata, MetaData):
        return metadata
    if metadata:
        return metadata[0]
    from svc_infra.db.sql.base import NAMING_CONVENTION

    return MetaData(naming_convention=dict(NAMING_CONVENTION))


def _options(variables: Mapping[str, str], dialect: str) -> dict[str, object]:
    """Return the options for Alembic that hold for every command on this kind of database."""
    options: dict[str, object] = {
        "transaction_per_migration": True,
        "compare_type": True,
        "render_as_batch": dialect == "sqlite",
    }
    if dialect == "sqlite":
        options["transactional_ddl"] = True  # the connection begins every transaction itself
    if table := variables.get("ALEMBIC_VERSION_TABLE", "").strip():
        options["version_table"] = table
    if schema := variables.get("ALEMBIC_VERSION_SCHEMA", "").strip():
        options["version_table_schema"] = schema
    return options


def _run_offline(project: Project, database_url: str | None, options: Mapping[str, object]) -> None:
    """Write the SQL to stdout; needs the dialect, but neither driver nor database nor models."""
    dialect = resolve_target(project, database_url, config=context.config, needs_driver=False).url.get_backend_name()
    register_offline_dialect(dialect)
    register_impls(dialect)
    chosen = {**_options(project.variables, dialect), **options}
    _configure(dialect_name=dialect, literal_binds=True, dialect_opts={"paramstyle": "named"}, **chosen)
    with context.begin_transaction():
        context.run_migrations()


@runtime_checkable
class _Connects(Protocol):
    """An Engine, or what stands for one, as the wrapped connection of pytest-alembic."""

    def connect(self) -> AbstractContextManager[Connection]: ...


def _run_on_shared(shared: object, work: Callable[[Connection], None]) -> None:
    """Run on a connection or engine that the caller has put into `config.attributes["connection"]`."""
    from sqlalchemy.ext.asyncio import AsyncEngine

    if isinstance(shared, AsyncEngine):
        engine = shared

        async def run() -> None:
            async with engine.connect() as connection:
                await connection.run_sync(work)

        import asyncio

        run_blocking(lambda: asyncio.run(run()))
    elif isinstance(shared, Connection):
        work(shared)
    elif isinstance(shared, _Connects):
        with shared.connect() as connection:
            work(connection)
    else:
        raise TypeError(f"config.attributes['connection'] must be a Connection or an Engine, not {type(shared)!r}")


def _project_of(config: Config) -> Project:
    """Describe the project when `alembic` itself was started, not `svc-infra sql`."""
    ini, toml = config.config_file_name, config.toml_file_name
    ini_file = Path(ini).absolute() if ini and Path(ini).exists() else None
    toml_file = Path(toml).absolute() if toml and Path(toml).exists() else None
    root = (ini_file or toml_file or Path.cwd() / "alembic.ini").parent
    return Project(root, ini_file, toml_file, config.config_ini_section, tuple(context.get_x_argument()), os.environ)
