"""Upgrades beside stock Alembic with the same driver, in turns: nothing to do, and 500 revisions from the beginning.

    python -m benchmarks.migrate [sqlite] [postgres]

PostgreSQL comes from TEST_POSTGRES_URL or is started for the run. Limits: 1.3 x stock Alembic with nothing to do, 1.2 x
for 500 revisions.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from alembic import command
from alembic.config import Config

import svc_infra.db.sql.core as core

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests-integration"))

NewDatabase = Callable[[], str]

NOTHING_LIMIT, MANY_LIMIT = 1.3, 1.2

STOCK_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

engine = engine_from_config(context.config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
# Alembic's own template `async`.
STOCK_ASYNC_ENV = """
import asyncio

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config


def run(connection):
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    section = context.config.get_section("alembic")
    engine = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
"""
REVISION = '''"""step {number}"""
import sqlalchemy as sa
from alembic import op

revision = "r{number:04}"
down_revision = {down!r}


def upgrade():
    op.create_table("t{number}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))


def downgrade():
    op.drop_table("t{number}")
'''


def write_project(root: Path, *, revisions: int, stock_env: str | None) -> None:
    core.init_alembic(directory=root)
    (root / "alembic.template").write_text((root / "alembic.ini").read_text())
    if stock_env is not None:
        (root / "migrations" / "env.py").write_text(stock_env)
    for number in range(revisions):
        down = f"r{number - 1:04}" if number else None
        path = root / "migrations" / "versions" / f"r{number:04}.py"
        path.write_text(REVISION.format(number=number, down=down))


def use_database(root: Path, url: str) -> None:
    template = (root / "alembic.template").read_text()
    (root / "alembic.ini").write_text(template.replace("# sqlalchemy.url =", f"sqlalchemy.url = {url}"))


def upgrade_stock(root: Path) -> None:
    command.upgrade(Config(root / "alembic.ini"), "head")


def upgrade_ours(root: Path) -> None:
    core.upgrade(project=core.find_project(root))


def seconds(run: Callable[[Path], None], root: Path) -> float:
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run(root)
    return time.perf_counter() - began


def compare(
    label: str, new_database: NewDatabase, stock_env: str, revisions: int, rounds: int, limit: float, *, fresh: bool
) -> bool:
    """Run both in turns and compare the medians; with *fresh* from an empty database each time."""
    with tempfile.TemporaryDirectory() as folder:
        roots = {"stock": Path(folder, "stock"), "ours": Path(folder, "ours")}
        runs = {"stock": upgrade_stock, "ours": upgrade_ours}
        times: dict[str, list[float]] = {name: [] for name in roots}
        for name, root in roots.items():
            root.mkdir()
            write_project(root, revisions=revisions, stock_env=stock_env if name == "stock" else None)
            use_database(root, new_database())
            runs[name](root)
        for _ in range(rounds):
            for name, root in roots.items():
                if fresh:
                    use_database(root, new_database())
                    shutil.rmtree(root / "migrations" / "versions" / "__pycache__", ignore_errors=True)
                times[name].append(seconds(runs[name], root))
    stock, ours = (statistics.median(times[name]) for name in ("stock", "ours"))
    ratio = ours / stock
    print(f"{label}: stock {stock * 1000:.1f} ms, ours {ours * 1000:.1f} ms, ratio {ratio:.2f} (limit {limit})")
    return ratio <= limit


def sqlite_databases(stack: ExitStack) -> NewDatabase:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    numbers = itertools.count()
    return lambda: f"sqlite:///{folder}/{next(numbers)}.db"


def postgres_databases(stack: ExitStack) -> NewDatabase:
    from dbservers.postgres import open_postgres
    from dbservers.workspace import Workspace

    workspace = Workspace()
    stack.callback(workspace.close)
    server = stack.enter_context(open_postgres(workspace))
    return lambda: server.create_database().replace("postgresql://", "postgresql+asyncpg://").replace("sslmode", "ssl")


def main(names: list[str]) -> int:
    kept: list[bool] = []
    with ExitStack() as stack:
        for name in names or ["sqlite", "postgres"]:
            databases = {"sqlite": sqlite_databases, "postgres": postgres_databases}[name](stack)
            env = STOCK_ASYNC_ENV if name == "postgres" else STOCK_ENV
            kept += [
                compare(f"{name}, nothing to do, 20 revisions", databases, env, 20, 15, NOTHING_LIMIT, fresh=False),
                compare(f"{name}, nothing to do, 500 revisions", databases, env, 500, 5, NOTHING_LIMIT, fresh=False),
                compare(f"{name}, 500 revisions", databases, env, 500, 3, MANY_LIMIT, fresh=True),
            ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
