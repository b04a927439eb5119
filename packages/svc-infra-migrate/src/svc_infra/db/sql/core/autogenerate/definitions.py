"""The definitions that the database keeps of its indexes."""

from __future__ import annotations

import re

from sqlalchemy import Connection, text

__all__ = ["index_definitions"]


def index_definitions(connection: Connection, table: str, schema: str | None) -> dict[str, str]:
    """Return what follows "CREATE INDEX name ON table" for each index of a table.

    Empty where the database keeps no text.

    On PostgreSQL that is ` USING btree (lower(name)) WHERE (n > 5)`, on SQLite the text of the statement from the first
    parenthesis on, without needless blanks.
    """
    if connection.dialect.name == "postgresql":
        rows = connection.execute(
            text(
                "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i"
                " JOIN pg_class c ON c.oid = i.indexrelid"
                " JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace"
                " WHERE t.relname = :table AND"
                " CASE WHEN :schema = '' THEN pg_table_is_visible(t.oid) ELSE n.nspname = :schema END"
            ),
            {"table": table, "schema": schema or ""},
        )
        return {
            name: re.sub(r"^CREATE (UNIQUE )?INDEX .*? ON .*? (?=USING )", r"\1", definition)
            for name, definition in rows
        }
    if connection.dialect.name == "sqlite":
        source = "sqlite_temp_master" if schema == "temp" else "sqlite_master"
        rows = connection.exec_driver_sql(
            f"SELECT name, sql FROM {source}"  # noqa: S608
            " WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
            (table,),
        )
        return {name: _of_sqlite(definition) for name, definition in rows}
    return {}


def _of_sqlite(definition: str) -> str:
    unique = "UNIQUE " if re.match(r"\s*CREATE\s+UNIQUE", definition, re.IGNORECASE) else ""
    return unique + " ".join(definition[definition.index("(") :].split())
