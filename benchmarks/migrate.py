"""Upgrades beside stock Alembic on one SQLite file, in turns: nothing to do, and 500 revisions from the beginning.

Limits: 1.3 x stock Alembic with nothing to do, 1.2 x for 500 revisions.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config

import svc_infra.db.sql.core as core

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


def write_project(root: Path, *, revisions: int, stock: bool) -> None:
    core.init_alembic(directory=root)
    ini = root / "alembic.ini"
    ini.write_text(ini.read_text().replace("# sqlalchemy.url =", f"sqlalchemy.url = sqlite:///{root}/app.db"))
    if stock:
        (root / "migrations" / "env.py").write_text(STOCK_ENV)
    for number in range(revisions):
        down = f"r{number - 1:04}" if number else None
        path = root / "migrations" / "versions" / f"r{number:04}.py"
        path.write_text(REVISION.format(number=number, down=down))


def upgrade_stock(root: Path) -> None:
    command.upgrade(Config(root / "alembic.ini"), "head")


def upgrade_ours(root: Path) -> None:
    core.upgrade(project=core.find_project(root))


def seconds(run: Callable[[Path], None], root: Path) -> float:
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        run(root)
    return time.perf_counter() - began


def compare(label: str, revisions: int, rounds: int, limit: float, *, fresh: bool) -> bool:
    """Run both in turns and compare the medians; with *fresh* from an empty database each time."""
    with tempfile.TemporaryDirectory() as folder:
        roots = {"stock": Path(folder, "stock"), "ours": Path(folder, "ours")}
        runs = {"stock": upgrade_stock, "ours": upgrade_ours}
        times: dict[str, list[float]] = {name: [] for name in roots}
        for name, root in roots.items():
            root.mkdir()
            write_project(root, revisions=revisions, stock=name == "stock")
            runs[name](root)
        for _ in range(rounds):
            for name, root in roots.items():
                if fresh:
                    (root / "app.db").unlink()
                    shutil.rmtree(root / "migrations" / "versions" / "__pycache__", ignore_errors=True)
                times[name].append(seconds(runs[name], root))
    stock, ours = (statistics.median(times[name]) for name in ("stock", "ours"))
    ratio = ours / stock
    print(f"{label}: stock {stock * 1000:.1f} ms, ours {ours * 1000:.1f} ms, ratio {ratio:.2f} (limit {limit})")
    return ratio <= limit


def main() -> int:
    kept = [
        compare("nothing to do, 20 revisions", 20, 15, NOTHING_LIMIT, fresh=False),
        compare("nothing to do, 500 revisions", 500, 5, NOTHING_LIMIT, fresh=False),
        compare("500 revisions", 500, 3, MANY_LIMIT, fresh=True),
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
