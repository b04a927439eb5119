"""Row-level security by a revision: what the guide shows is applied and removed by `svc-infra sql`."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ProgrammingError

from svc_infra.db.sql.core import find_project, init_alembic
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import ForeignKeyViolation
from svc_infra.db.sql.rls import bind_tenant

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "tenants.md"
TABLES = """
revision, down_revision, branch_labels, depends_on = "one", None, None, None
from alembic import op
import sqlalchemy as sa

def upgrade():
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.UniqueConstraint("tenant_id", "id"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("any_project", sa.Integer, sa.ForeignKey("projects.id")),
        sa.Column("own_project", sa.Integer),
        sa.ForeignKeyConstraint(["tenant_id", "own_project"], ["projects.tenant_id", "projects.id"]),
    )

def downgrade():
    op.drop_table("tasks")
    op.drop_table("projects")
"""


@pytest.fixture
def project(postgres_url: str, tmp_path: Path) -> Path:
    """A project whose second revision is the guide's."""
    versions = init_alembic(directory=tmp_path) / "versions"
    (versions.parent / "env.py").write_text(
        "from sqlalchemy import MetaData\n"
        "from svc_infra.db.sql.core.environment import run_migrations\n"
        "run_migrations(metadata=MetaData())\n"
    )
    (recipe,) = [code for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "op." in code]
    (versions / "one.py").write_text(TABLES)
    names = 'revision, down_revision, branch_labels, depends_on = "two", "one", None, None\n'
    (versions / "two.py").write_text(names + recipe)
    return find_project(tmp_path).root


def migrate(project: Path, url: str, *arguments: str) -> str:
    """Run `svc-infra sql` and return its output."""
    command = [str(Path(sys.executable).with_name("svc-infra")), "sql", *arguments]
    done = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "SQL_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clerk(postgres_admin_url: str) -> Iterator[tuple[Connection, str]]:
    """The database's superuser, and the name of a role that owns nothing."""
    admin = create_engine(
        postgres_admin_url.replace("postgresql:", "postgresql+psycopg:", 1), isolation_level="AUTOCOMMIT"
    )
    role = f"clerk_{uuid.uuid4().hex[:8]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'"))
        yield connection, role
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    admin.dispose()


async def test_the_guide_s_revision_confines_raw_sql_until_it_is_undone(
    project: Path, postgres_url: str, clerk: tuple[Connection, str]
) -> None:
    """A role that is not the owner sees and writes its tenant's rows only; the downgrade lets go of it."""
    admin, role = clerk
    await asyncio.to_thread(migrate, project, postgres_url, "upgrade")
    admin.execute(text("INSERT INTO projects VALUES (1, 'a'), (2, 'b')"))
    admin.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
    async with Database(f"postgresql://{role}:pw@{postgres_url.rpartition('@')[2]}") as database:

        async def seen(tenant: str | None) -> list[int]:
            async with database.session() as session:
                if tenant is not None:
                    await bind_tenant(session, tenant)
                return list((await session.execute(text("SELECT id FROM projects ORDER BY id"))).scalars())

        async def write(statement: str) -> None:
            async with database.session() as session:
                await bind_tenant(session, "a")
                await session.execute(text(statement))

        assert (await seen("a"), await seen("b"), await seen(None)) == ([1], [2], [])
        with pytest.raises(ProgrammingError, match="row-level security"):
            await write("INSERT INTO projects VALUES (3, 'b')")
        # PostgreSQL checks foreign keys past its policies, which is why a repository looks for itself.
        await write("INSERT INTO tasks (id, tenant_id, any_project) VALUES (1, 'a', 2)")
        with pytest.raises(ForeignKeyViolation):
            await write("INSERT INTO tasks (id, tenant_id, own_project) VALUES (2, 'a', 2)")
        await asyncio.to_thread(migrate, project, postgres_url, "downgrade", "one")
        assert await seen("a") == [1, 2]
    script = await asyncio.to_thread(migrate, project, postgres_url, "upgrade", "one:two", "--sql")
    assert "CREATE POLICY tenant_isolation ON projects" in script
