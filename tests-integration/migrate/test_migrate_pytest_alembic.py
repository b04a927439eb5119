"""pytest-alembic's own tests and experimental tests, on a project that `init` and `revision` made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext as AlembicContext
from pytest_alembic import tests as standard
from pytest_alembic.config import Config
from pytest_alembic.runner import MigrationContext, runner
from pytest_alembic.tests.experimental.all_models_register_on_metadata import (
    test_all_models_register_on_metadata as all_models_register_on_metadata,
)
from pytest_alembic.tests.experimental.downgrade_leaves_no_trace import (
    test_downgrade_leaves_no_trace as downgrade_leaves_no_trace,
)

import svc_infra.db.sql.core as core
from migrate.processes import ProcessServer
from migrate.workspace import Workspace, clean_environ
from svc_infra.dburl import resolve_url

# The runner does everything in one transaction, in which PostgreSQL can't add a value to an enum.
ENVIRONMENT = """
from migrate.changes import build

metadata = build({after}, {dialect!r}, without="enum_value_added")
"""


@dataclass(frozen=True)
class History:
    """A project with two revisions, and a maker of empty databases for it."""

    workspace: Workspace
    new_url: Callable[[], str]


@pytest.fixture(scope="module", params=["postgresql", "mysql", "sqlite"])
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, processes: ProcessServer
) -> Iterator[History]:
    """The changes of all kinds as two revisions, written by autogenerate on each database."""
    dialect: str = request.param
    root = tmp_path_factory.mktemp(dialect)
    urls: list[str] = []
    if dialect == "sqlite":
        yield _history(root, dialect, processes, lambda: f"sqlite:///{tmp_path_factory.mktemp('db') / 'app.db'}")
        return
    server = request.getfixturevalue("postgres_server" if dialect == "postgresql" else "mysql_server")

    def new_url() -> str:
        urls.append(server.create_database())
        return urls[-1]

    yield _history(root, dialect, processes, new_url)
    for url in urls:
        server.drop_database(url)


def _history(root: Path, dialect: str, processes: ProcessServer, new_url: Callable[[], str]) -> History:
    workspace = Workspace(root, {**clean_environ(), "SQL_URL": new_url()}, processes)
    for after in (False, True):
        (root / "migrations" / "env.py").unlink(missing_ok=True)
        project = workspace.init(ENVIRONMENT.format(after=after, dialect=dialect))
        assert core.revision(f"after {after}", autogenerate=True, allow_drops=True, project=project) is not None
    return History(workspace, new_url)


@pytest.fixture
def alembic_engine(history: History) -> Iterator[sa.Engine]:
    """An empty database, connected to as pytest-alembic's manual and SQLAlchemy's chapter on SQLite say."""
    resolved = resolve_url(history.new_url(), mode="sync")
    engine = sa.create_engine(resolved.url, connect_args=dict(resolved.connect_args))
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _on_connect(connection: object, _record: object) -> None:
            connection.isolation_level = None  # type: ignore[attr-defined]

        @sa.event.listens_for(engine, "begin")
        def _on_begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    yield engine
    engine.dispose()


@pytest.fixture
def alembic_runner(
    history: History, alembic_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MigrationContext]:
    """The runner in the project's folder."""
    monkeypatch.chdir(history.workspace.root)
    with runner(config=_config(history.workspace.root), engine=alembic_engine) as context:
        yield context


def _config(root: Path) -> Config:
    return Config.from_raw_config({"script_location": str(root / "migrations")})


@pytest.mark.parametrize(
    "check",
    [
        standard.test_single_head_revision,
        standard.test_upgrade,
        standard.test_model_definitions_match_ddl,
        standard.test_up_down_consistency,
    ],
    ids=lambda check: check.__name__.removeprefix("test_"),
)
def test_the_standard_tests_of_pytest_alembic_pass(
    alembic_runner: MigrationContext, check: Callable[[MigrationContext], None]
) -> None:
    """They drive `env.py` with Alembic's own functions and an engine of the caller."""
    check(alembic_runner)


# SQLAlchemy does not reflect them on SQLite; test_migrate_changes compares their definitions.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_a_downgrade_leaves_no_trace(alembic_runner: MigrationContext, alembic_engine: sa.Engine) -> None:
    """pytest-alembic's experimental test; it rolls DDL back, so MariaDB gets the same comparison without that."""
    if alembic_engine.dialect.name == "mysql":
        _leaves_no_trace_without_rollback(alembic_runner, alembic_engine)
    else:
        downgrade_leaves_no_trace(alembic_runner)


def _leaves_no_trace_without_rollback(alembic_runner: MigrationContext, engine: sa.Engine) -> None:
    def difference_to(metadata: sa.MetaData) -> str:
        with engine.connect() as connection:
            found = produce_migrations(AlembicContext.configure(connection), metadata).upgrade_ops
            assert found is not None
            return render_python_code(found)

    for _ in alembic_runner.history.revisions[1:-1]:
        alembic_runner.migrate_up_one()
        reached = sa.MetaData()
        reached.reflect(engine)
        alembic_runner.migrate_down_one()
        undone = difference_to(reached)
        alembic_runner.migrate_up_one()
        alembic_runner.migrate_down_one()
        assert difference_to(reached) == undone
        alembic_runner.migrate_up_one()


def test_all_models_register_on_the_metadata(
    history: History, alembic_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pytest-alembic's experimental test: the discovery of the generated env.py finds every model of the package."""
    package = f"ledger_{alembic_engine.dialect.name}"
    workspace = Workspace(tmp_path, history.workspace.environ, history.workspace.processes)
    core.init_alembic(directory=tmp_path, progress=workspace.progress)
    workspace.write(f"{package}/__init__.py", f"from {package}.base import Base\n\nmetadata = Base.metadata\n")
    workspace.write(
        f"{package}/base.py", "from sqlalchemy.orm import DeclarativeBase\n\n\nclass Base(DeclarativeBase): ...\n"
    )
    for name in ("accounts", "bookings"):
        workspace.write(
            f"{package}/inner/{name}.py",
            f"from sqlalchemy.orm import Mapped, mapped_column\n\nfrom {package}.base import Base\n\n\n"
            f"class {name.title()}(Base):\n    __tablename__ = '{name}'\n"
            "    id: Mapped[int] = mapped_column(primary_key=True)\n",
        )
    workspace.write(f"{package}/inner/__init__.py", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with runner(config=_config(tmp_path), engine=alembic_engine) as context:
        all_models_register_on_metadata(context, model_package=package)
