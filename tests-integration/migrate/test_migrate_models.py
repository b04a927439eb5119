"""Autogenerate on real databases: renames keep the data, schemas, drops that are kept, and what is not compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

Make = Callable[[str], Workspace]

PEOPLE = """
import sqlalchemy as sa

naming = {{"uq": "uq_%(table_name)s_%(column_0_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"}}
metadata = sa.MetaData(naming_convention=naming)
sa.Table("{table}", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("{column}", sa.String(20), unique=True, nullable=False),
    sa.Column("town", sa.String(20), index=True),
)
"""


def change_models(workspace: Workspace, models: str) -> core.Project:
    (workspace.root / "migrations" / "env.py").unlink(missing_ok=True)
    return workspace.init(models)


def run_sql(workspace: Workspace, *statements: str) -> None:
    def work(connection: sa.Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)
        connection.commit()

    run_on_connection(resolve_target(workspace.project), work)


def read(workspace: Workspace, query: str) -> list[tuple[object, ...]]:
    def work(connection: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(query)]

    return run_on_connection(resolve_target(workspace.project), work)


@pytest.fixture(params=["postgres", "mysql", "sqlite"])
def anywhere(request: pytest.FixtureRequest, make_workspace: Make) -> Workspace:
    """A project on each database."""
    return make_workspace(request.getfixturevalue(f"{request.param}_url"))


def test_renames_keep_the_rows_on_every_database(anywhere: Workspace) -> None:
    """A column and then a table with a unique constraint and an index is renamed, and renamed back."""
    change_models(anywhere, PEOPLE.format(table="people", column="name"))
    core.revision("first", autogenerate=True, project=anywhere.project)
    core.upgrade(project=anywhere.project)
    run_sql(anywhere, "INSERT INTO people (id, name, town) VALUES (1, 'Ada', 'London')")

    change_models(anywhere, PEOPLE.format(table="people", column="full_name"))
    renamed = {"people.name": "full_name"}
    assert core.revision("column", autogenerate=True, renames=renamed, project=anywhere.project) is not None
    core.upgrade(project=anywhere.project)
    assert core.check(project=anywhere.project).ok

    change_models(anywhere, PEOPLE.format(table="persons", column="full_name"))
    assert (
        core.revision("table", autogenerate=True, renames={"people": "persons"}, project=anywhere.project) is not None
    )
    core.upgrade(project=anywhere.project)
    assert read(anywhere, "SELECT full_name, town FROM persons") == [("Ada", "London")]
    # Index and constraint keep the names that the convention gave them for the old table, until the next revision.
    assert core.revision("names", autogenerate=True, project=anywhere.project) is not None
    core.upgrade(project=anywhere.project)
    assert core.check(project=anywhere.project).ok

    core.downgrade(steps=3, project=anywhere.project)
    assert read(anywhere, "SELECT name, town FROM people") == [("Ada", "London")]


def test_what_is_never_compared_is_listed(anywhere: Workspace) -> None:
    """Views and triggers have no models, so the user is told to write revisions for them."""
    change_models(anywhere, PEOPLE.format(table="people", column="name"))
    core.revision("first", autogenerate=True, project=anywhere.project)
    core.upgrade(project=anywhere.project)
    run_sql(anywhere, "CREATE VIEW towns AS SELECT town FROM people")
    anywhere.progress.notes.clear()
    assert core.check(project=anywhere.project).ok
    assert "Not compared, write revisions for them by hand: 1 view" in anywhere.progress.notes


def test_unnamed_constraints_are_written_with_a_name(anywhere: Workspace) -> None:
    """Models without a naming convention: what is added by a revision can be dropped by it."""
    models = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True))
sa.Table("children", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(9){unique}),
    sa.Column("parent", sa.Integer{key}))
"""
    change_models(anywhere, models.format(unique="", key=""))
    core.revision("first", autogenerate=True, project=anywhere.project)
    core.upgrade(project=anywhere.project)
    change_models(anywhere, models.format(unique=", unique=True", key=', sa.ForeignKey("parents.id")'))
    core.revision("second", autogenerate=True, project=anywhere.project)
    core.upgrade(project=anywhere.project)
    assert core.check(project=anywhere.project).ok
    core.downgrade(project=anywhere.project)
    core.upgrade(project=anywhere.project)
    assert core.check(project=anywhere.project).ok


APPLICATION = """
from svc_infra.api.fastapi.db.sql.idempotency import IdempotencyKeys
from svc_infra.db.sql.base import ModelBase

keys = IdempotencyKeys(ModelBase.metadata)
"""


def test_the_table_of_idempotency_keys_is_found_where_it_is_declared(make_workspace: Make, sqlite_url: str) -> None:
    """A module without models that declares the table is imported too, or the next revision would drop it again."""
    workspace = make_workspace(sqlite_url)
    workspace.write("shop/__init__.py", "")
    workspace.write("shop/main.py", APPLICATION)
    made = workspace.spawn("sql", "setup-and-migrate")
    assert made.returncode == 0, made.stderr
    assert "Models: 1 table in shop.main" in made.stderr
    assert workspace.spawn("sql", "check").returncode == 0


def test_the_notes_of_mysql_are_no_messages_of_ours(make_workspace: Make, mysql_url: str) -> None:
    """The server has a note for each name of a primary key and each temporary table; stderr is for what matters."""
    workspace = make_workspace(mysql_url)
    workspace.init(PEOPLE.format(table="people", column="name"))
    assert workspace.spawn("sql", "revision", "--autogenerate", "-m", "first").returncode == 0
    done = workspace.spawn("sql", "upgrade")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["up"]
    told = workspace.spawn("sql", "check").stderr
    assert "Nothing pending, no differences." in told
    assert "ignored" not in told
    assert "rolled back" not in told


SCHEMAS = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True))
if {with_sales}:
    sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), schema="sales")
"""


def test_two_schemas_are_compared_and_a_third_by_name(postgres_url: str, make_workspace: Make) -> None:
    """The models' schemas are compared; `ALEMBIC_INCLUDE_SCHEMAS` adds one that no model is in any more."""
    workspace = make_workspace(postgres_url)
    change_models(workspace, SCHEMAS.format(with_sales=True))
    run_sql(workspace, "CREATE SCHEMA sales", "CREATE SCHEMA other", "CREATE TABLE other.theirs (id int)")
    core.revision("first", autogenerate=True, project=workspace.project)
    core.upgrade(project=workspace.project)
    assert core.check(project=workspace.project).ok
    change_models(workspace, SCHEMAS.format(with_sales=False))
    assert core.check(project=workspace.project).ok  # the schema is not looked at without a model
    workspace.environ["ALEMBIC_INCLUDE_SCHEMAS"] = "sales, other"
    found = core.check(project=workspace.project, raise_on_difference=False).differences
    assert found == ("drop table sales.orders",)
    assert any("Left alone" in note and "other.theirs" in note for note in workspace.progress.notes)


def test_skip_drops_keeps_tables_columns_and_indexes_on_every_database(anywhere: Workspace) -> None:
    """`ALEMBIC_SKIP_DROPS` proposes none of them and says which."""
    change_models(
        anywhere,
        PEOPLE.format(table="people", column="name") + 'sa.Table("logs", metadata, sa.Column("id", '
        "sa.Integer, primary_key=True))\n",
    )
    core.revision("first", autogenerate=True, project=anywhere.project)
    core.upgrade(project=anywhere.project)
    change_models(anywhere, PEOPLE.format(table="people", column="name").replace(", index=True", ""))
    anywhere.environ["ALEMBIC_SKIP_DROPS"] = "true"
    assert core.revision("drop", autogenerate=True, project=anywhere.project) is None
    (kept,) = {note for note in anywhere.progress.notes if note.startswith("Kept") and "people" in note}
    assert "index people.ix_people_town" in kept
    assert "table logs" in kept


CUSTOM = """
import enum

import sqlalchemy as sa

from migrate.custom_types import Light, Secret
from svc_infra.db.sql.types import ExactDecimal, UtcDateTime

metadata = sa.MetaData()
sa.Table("things", metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcDateTime),
    sa.Column("price", ExactDecimal(12, 3), server_default="0"),
    sa.Column("secret", Secret("key of the cipher", 40)),
    sa.Column("light", Light),
)
"""


def test_the_file_imports_the_types_that_it_names_and_runs(anywhere: Workspace) -> None:
    """Library types with their arguments; a type that its text does not make again as what the database stores."""
    project = change_models(anywhere, CUSTOM)
    made = core.revision("first", autogenerate=True, project=project)
    assert made is not None
    text = (anywhere.root / made.path).read_text()
    assert "import svc_infra.db.sql.types\n" in text
    assert "svc_infra.db.sql.types.ExactDecimal(precision=12, scale=3)" in text
    assert "sa.String(length=40)" in text
    assert "cipher" not in text
    core.upgrade(project=project)
    assert core.check(project=project).ok
    core.downgrade("base", project=project)
    core.upgrade(project=project)
