"""SQLAlchemy dialects that run a synchronous driver under `create_async_engine`: DuckDB and Microsoft SQL Server.

`Database` uses them by itself. For an engine of one's own, `register_dialects()` makes the plain URLs
(`duckdb:///file`, `mssql+mssqlpython://host/db`) work with both `create_engine` and `create_async_engine`; the URLs
`duckdb+thread://` and `mssql+thread://` work without it, as they are entry points of this distribution.
"""

from __future__ import annotations

from sqlalchemy.dialects import registry

__all__ = ["register_dialects"]


def register_dialects() -> None:
    """Give the plain URLs of DuckDB and mssql-python an asynchronous side, in this process.

    Their synchronous side stays what it is. An entry point can't do it: `duckdb` is that of duckdb-sqlalchemy, and
    SQLAlchemy looks for `mssql.mssqlpython` in itself first. Calling it again changes nothing.
    """
    package = __name__
    registry.register("duckdb", f"{package}.duckdb", "DuckDBDialect")
    registry.register("duckdb.duckdb_sqlalchemy", f"{package}.duckdb", "DuckDBDialect")
    registry.register("mssql.mssqlpython", f"{package}.mssql", "MSSQLDialect")
