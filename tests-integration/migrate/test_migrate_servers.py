"""The same project on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

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


PERCENT = "p%d%%s@:/ %41"


@pytest.fixture
def url_with_percent(request: pytest.FixtureRequest, kind: str) -> Iterator[str]:
    """A database whose user has a password with everything that a URL, a format and an ini file give a meaning."""
    if kind == "postgres":
        url = sa.make_url(request.getfixturevalue("postgres_admin_url"))
        name = f"{url.database}_percent"
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        quoted = f'"{name}"'
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {quoted} LOGIN PASSWORD '{PERCENT.replace('%', '%%')}'")
            connection.exec_driver_sql(f"GRANT ALL ON SCHEMA public TO {quoted}")
        yield url.set(username=name, password=PERCENT).render_as_string(hide_password=False)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {quoted}")
            connection.exec_driver_sql(f"DROP ROLE {quoted}")
        engine.dispose()
    else:
        server = request.getfixturevalue("mysql_server")
        url = sa.make_url(request.getfixturevalue("mysql_url"))
        user = f"percent_{url.database}"[:32]
        server.execute(f"CREATE USER '{user}'@'%%' IDENTIFIED BY %s", PERCENT)
        server.execute(f"GRANT ALL ON `{url.database}`.* TO '{user}'@'%%'")
        yield url.set(username=user, password=PERCENT).render_as_string(hide_password=False)
        server.execute(f"DROP USER '{user}'@'%%'")


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_password_with_percent_signs_works_wherever_the_url_stands(
    kind: str, url_with_percent: str, make_workspace: Callable[[str], Workspace]
) -> None:
    """In the variable, in --database-url, and in alembic.ini with and without doubled percent signs."""
    workspace = make_workspace(url_with_percent)
    workspace.init()
    workspace.revision("one", "pass")
    ini = workspace.root / "alembic.ini"
    template = ini.read_text()
    assert workspace.run("sql", "upgrade").returncode == 0
    del workspace.environ["SQL_URL"]
    places = [("--database-url", url_with_percent), (), ()]
    for place, text in zip(places, ["", url_with_percent, url_with_percent.replace("%", "%%")], strict=True):
        ini.write_text(template.replace("# sqlalchemy.url =", f"sqlalchemy.url = {text}") if text else template)
        done = workspace.run("sql", "current", "--json", *place)
        assert done.returncode == 0, done.stderr
        assert '"one"' in done.stdout
