"""Run by Alembic for every command. The work is done by the library, so that fixes reach this project by an update."""

from svc_infra.db.sql.core.environment import run_migrations

run_migrations(discover_packages=["quickstart"])
