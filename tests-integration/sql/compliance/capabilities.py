"""What each database is expected to be able to do: the data behind the compliance suite and the table in the manual.

A capability that a database lacks stands in `MISSING` with its reason. The suite proves both sides: what is not in
`MISSING` must pass, and what is must fail, so that a database that learns something is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CAPABILITIES", "MISSING", "TARGETS", "Target", "missing"]


@dataclass(frozen=True, slots=True)
class Target:
    """A database through one of its drivers.

    Attributes:
        database: The database's name.
        driver: The driver's name.
        scheme: How its URLs begin.
        fixture: The fixture that gives an empty database.
        backend: SQLAlchemy's name of the database.
    """

    database: str
    driver: str
    scheme: str
    fixture: str
    backend: str

    def __str__(self) -> str:
        return f"{self.backend}-{self.driver}"


TARGETS = (
    Target("PostgreSQL", "asyncpg", "postgresql+asyncpg", "postgres_url", "postgresql"),
    Target("PostgreSQL", "psycopg", "postgresql+psycopg", "postgres_url", "postgresql"),
    Target("MySQL, MariaDB", "asyncmy", "mysql+asyncmy", "mysql_url", "mysql"),
    Target("MySQL, MariaDB", "aiomysql", "mysql+aiomysql", "mysql_url", "mysql"),
    Target("SQLite", "aiosqlite", "sqlite+aiosqlite", "sqlite_url", "sqlite"),
    Target("DuckDB", "duckdb", "duckdb", "duckdb_url", "duckdb"),
    Target("SQL Server", "mssql-python", "mssql+mssqlpython", "mssql_url", "mssql"),
    Target("SQL Server", "aioodbc", "mssql+aioodbc", "mssql_url", "mssql"),
    Target("Snowflake", "snowflake", "snowflake", "snowflake_url", "snowflake"),
)

CAPABILITIES = MappingProxyType(
    {
        "connect": "Connect and ping",
        "repository": "Create, read, update, delete, search with the repository",
        "upsert": "Upserts (`upsert`, `upsert_many`)",
        "transactions": "Transactions, also of several sessions at once",
        "savepoints": "Savepoints",
        "read_only": "Read-only transactions that refuse writes",
        "retries": "Lost transactions are retried",
        "statement_limit": "Statements are cut at their limit",
        "cancellation": "Cancelling a task ends its statement",
        "row_locks": "Row locks (`FOR UPDATE NOWAIT`)",
        "streaming": "Streaming results",
        "returning": "`RETURNING`",
        "constraints": "Typed errors of violated constraints",
        "error_codes": "The kind of a violated constraint is a code of the driver",
        "transactional_ddl": "Schema changes roll back",
        "reflection": "Reflection of tables, keys and constraints",
        "migrations": "Migrations up and down",
        "uuid": "UUID",
        "decimal": "Exact decimals (`ExactDecimal`)",
        "datetime": "Aware date and time (`UtcDateTime`)",
        "date": "Date",
        "json": "JSON",
        "bytes": "Bytes",
        "enum": "Enumerations",
        "text": "Text in every script",
        "boolean": "Booleans",
        "bigint": "64-bit integers",
        "float": "Floats of double precision",
        "arrays": "Arrays",
    }
)

MISSING = MappingProxyType(
    {
        "mysql": {
            "returning": "MySQL has none; SQLAlchemy does not use MariaDB's for UPDATE",
            "transactional_ddl": "each schema change commits",
            "arrays": "no such type; use JSON",
        },
        "mysql-aiomysql": {
            "bytes": "aiomysql 0.3.2 can't send bytes together with PyMySQL 1.2; use asyncmy",
        },
        "sqlite": {
            "row_locks": "a writer locks the database",
            "arrays": "no such type; use JSON",
        },
        "duckdb": {
            "savepoints": "not in DuckDB",
            "row_locks": "concurrent writers of a row fail at once instead of waiting",
            "error_codes": "DuckDB 1.5 has one class for all constraints; the SQL keyword in its message tells which",
        },
        "mssql": {
            "upsert": "no INSERT that updates; `get`, then `create` or `update`",
            "read_only": "not in SQL Server; what was written is rolled back",
            "arrays": "no such type; use JSON",
        },
        "mssql-mssql-python": {
            "error_codes": "mssql-python 1.16 drops SQL Server's number; the SQL keyword or the constraint's name "
            "in the message tells which",
        },
        "snowflake": {
            "upsert": "no INSERT that updates; `get`, then `create` or `update`",
            "streaming": "snowflake-sqlalchemy 2.1's asynchronous dialect has none; read pages by cursor",
            "savepoints": "not in Snowflake",
            "read_only": "not in Snowflake; what was written is rolled back",
            "row_locks": "not in Snowflake",
            "returning": "not in Snowflake",
            "transactional_ddl": "each schema change commits",
            "constraints": "only NOT NULL is enforced",
            "error_codes": "only NOT NULL is enforced",
        },
    }
)


def missing(target: Target, capability: str) -> str | None:
    """Return why a database lacks a capability, or None when it has it."""
    of_database = MISSING.get(target.backend, {}).get(capability)
    return of_database or MISSING.get(str(target), {}).get(capability)
