"""Alembic's view of databases that it does not know, or knows too little of; importing the module registers them."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from alembic.ddl.impl import DefaultImpl
from alembic.ddl.sqlite import SQLiteImpl

if TYPE_CHECKING:
    from alembic.operations.batch import ApplyBatchImpl
    from sqlalchemy import Table

__all__ = ["register_impls"]


class _SQLite(SQLiteImpl):
    """SQLite, whose batch operations leave generated columns to the database.

    Alembic 1.20 copies them with the other columns into the new table, which SQLite refuses.
    """

    __dialect__ = "sqlite"

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Take generated columns out of what is copied."""
        super().prep_table_for_batch(batch_impl, table)
        new_table = batch_impl.new_table
        for name, transfer in batch_impl.column_transfers.items():
            if new_table is None or (name in new_table.columns and new_table.columns[name].computed is not None):
                transfer.pop("expr", None)


def register_impls(dialect: str) -> None:
    """Register the database `dialect` when neither Alembic nor the dialect's own package does.

    Without it `--sql` ends with a KeyError for Snowflake, and for DuckDB unless its package is installed. That one's
    own implementation also alters tables that have indexes, which DuckDB refuses, by rebuilding them.
    """
    if dialect == "duckdb":
        with suppress(ModuleNotFoundError):
            import_module("duckdb_sqlalchemy.alembic_impl")
    is_transactional = {"snowflake": False, "duckdb": True}.get(dialect)
    if is_transactional is None:
        return
    try:
        DefaultImpl.get_by_dialect(_Named(dialect))  # type: ignore[arg-type]
    except KeyError:
        type(f"_{dialect}", (DefaultImpl,), {"__dialect__": dialect, "transactional_ddl": is_transactional})


class _Named:
    """The part of a dialect that the look-up asks for."""

    def __init__(self, name: str) -> None:
        self.name = name
