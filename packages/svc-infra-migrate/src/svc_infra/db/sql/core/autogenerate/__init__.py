"""Comparing the database with the models: what Alembic's autogenerate misses or reports without cause."""
