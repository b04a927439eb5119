"""Alembic migrations that several replicas can run at once and that refuse to lose data."""
