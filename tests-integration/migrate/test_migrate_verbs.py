"""The verbs around a database as a whole, on real ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace
from svc_infra.db.sql.core.connection import run_on_connection
from svc_infra.db.sql.core.target import resolve_target

Make = Callable[[str], Workspace]

ALL_TYPES = """
op.create_table(
    "orders table",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant id", sa.Integer),
    sa.Column("price", sa.Numeric(10, 2)),
    sa.Column("at", sa.DateTime),
    sa.Column("day", sa.Date),
    sa.Column("data", sa.JSON),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("key", sa.Uuid),
)
op.get_bind().execute(
    sa.text("INSERT INTO " + op.get_bind().dialect.identifier_preparer.quote("orders table") + " VALUES "
    "(1, 7, 1.50, '2026-01-02 03:04:05', '2026-01-02', '{}', 'abc', '12345678123456781234567812345678'),"
    "(2, 8, 1.50, '2026-01-02 03:04:05', '2026-01-02', '{}', 'abc', '12345678123456781234567812345678')")
)
"""


def tables(workspace: Workspace) -> list[str]:
    return sorted(
        run_on_connection(
            resolve_target(workspace.project), lambda connection: sa.inspect(connection).get_table_names()
        )
    )


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite"])
def test_an_emptied_database_is_migrated_again_and_a_tenants_rows_come_out_as_json(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make
) -> None:
    """`reset` and `export-tenant`, with names that need quotes and every type."""
    workspace = make_workspace(request.getfixturevalue(f"{kind}_url"))
    workspace.init()
    workspace.revision("r1", ALL_TYPES)
    project = workspace.project
    core.upgrade(project=project)
    run_on_connection(
        resolve_target(project),
        lambda connection: (connection.exec_driver_sql("CREATE TABLE extra (id INTEGER)"), connection.commit()),
    )
    output = io.StringIO()
    assert core.export_tenant("orders table", "7", output, tenant_field="tenant id", project=project) == 1
    (row,) = json.loads(output.getvalue())
    assert (row["price"], row["day"]) == ("1.50", "2026-01-02")

    core.reset(project=project)
    assert tables(workspace) == ["alembic_version", "orders table"]


def test_reset_asks_for_the_name_outside_development(sqlite_url: str, make_workspace: Make) -> None:
    """In production it is refused, for another name too, and done for the right one."""
    workspace = make_workspace(sqlite_url)
    workspace.init()
    workspace.environ["APP_ENV"] = "production"
    project = workspace.project
    with pytest.raises(core.Refused, match="APP_ENV is 'production'"):
        core.reset(project=project)
    with pytest.raises(core.Refused, match="nothing was done"):
        core.reset(yes="other", project=project)
    core.reset(yes=resolve_target(project).url.database, project=project)


@pytest.mark.parametrize("kind", ["postgres_admin", "sqlite", "duckdb"])
def test_a_missing_database_is_created_once(
    kind: str, request: pytest.FixtureRequest, make_workspace: Make, tmp_path: Path
) -> None:
    """The second call finds it there."""
    url = request.getfixturevalue(f"{kind}_url")
    base = sa.make_url(url)
    name = str(tmp_path / "new.db") if base.get_backend_name() != "postgresql" else f"{base.database}_new"
    fresh = base.set(database=name).render_as_string(hide_password=False)
    workspace = make_workspace(fresh)
    workspace.init()
    assert core.create_database(project=workspace.project)
    try:
        assert not core.create_database(project=workspace.project)
        assert core.ping(project=workspace.project) < 10
    finally:
        if kind == "postgres_admin":
            target = resolve_target(workspace.project, url)

            def drop(connection: sa.Connection) -> None:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f'DROP DATABASE "{name}"')

            run_on_connection(target, drop)


def test_waiting_for_a_database_that_never_answers_ends_at_the_deadline(make_workspace: Make) -> None:
    """With the reason, and without the password."""
    workspace = make_workspace("postgresql://me:s3cret@127.0.0.1:1/app?sslmode=disable")
    workspace.init()
    with pytest.raises(core.MigrationError, match="gave up after") as raised:
        core.wait(0.2, project=workspace.project)
    assert "s3cret" not in str(raised.value)
