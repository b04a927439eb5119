"""The same project on every database."""

from __future__ import annotations

from collections.abc import Callable

import svc_infra.db.sql.core as core
from migrate.workspace import Workspace

MODELS = """
import sqlalchemy as sa

metadata = sa.MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"})
sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("email", sa.String(100), unique=True),
    sa.Column("balance", sa.Numeric(10, 2), nullable=False, server_default="0"),
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
)
"""


def test_a_first_revision_goes_up_and_down_and_leaves_no_difference(
    database_url: str, make_workspace: Callable[[str], Workspace]
) -> None:
    """Autogenerate, upgrade, a clean check, and downgrade work on the database."""
    workspace = make_workspace(database_url)
    project = workspace.init(MODELS)
    made = core.revision("first", autogenerate=True, project=project)
    assert made is not None
    core.upgrade(project=project)
    assert core.check(project=project).ok
    assert [item.revision for item in core.current(project=project)] == [made.revision]
    core.downgrade("base", project=project)
    assert core.current(project=project) == []


async def test_a_migration_in_a_running_loop_does_not_disturb_it(
    postgres_url: str, make_workspace: Callable[[str], Workspace]
) -> None:
    """The async driver runs in a loop of its own, beside the one that waits for it."""
    workspace = make_workspace(postgres_url)
    project = workspace.init()
    workspace.revision("one", 'op.create_table("t", sa.Column("id", sa.Integer, primary_key=True))')
    core.upgrade(project=project)
    assert [item.revision for item in core.current(project=project)] == ["one"]
