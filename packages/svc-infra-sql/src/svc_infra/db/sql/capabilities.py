"""What databases differ in where SQLAlchemy's dialects don't tell, as data."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["Capabilities", "capabilities_of"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The traits of one kind of database; the defaults are the cautious ones.

    Attributes:
        integer_bits: Size of what an INTEGER column holds.
        has_time_zones: Whether DateTime(timezone=True) keeps the instant; where not, instants are stored as UTC.
        has_special_floats: Whether NaN and the infinities can be stored.
        has_intervals: Whether an Interval is a type of its own; where not, it is stored as a time since 1970.
        has_nul_text: Whether text may hold NUL characters.
        conflict: How an INSERT meets a taken key: `ON CONFLICT (key)`, `ON DUPLICATE KEY`, or not at all, so that there
            is no upsert. SQL Server and Snowflake have only MERGE: on the one it is not atomic without a lock on the
            key's range, on the other it returns no rows and looks for keys that are not enforced.
        has_savepoints: Whether a part of a transaction can be undone.
        locks_of: Whether FOR UPDATE OF names the table, so that joined rows are not locked too.
        has_row_locks: Whether FOR UPDATE locks rows; where not, a writer locks the whole database.
        compares_rows: Whether `(a, b) > (x, y)` is used to find the place in an index.
        nulls_ascending: Where NULL stands in ascending order unless told. It is left to the database, as another place
            would keep it from reading the order off an index; `User.name.asc().nulls_last()` asks for one.
        nulls_descending: Where NULL stands in descending order unless told.
        has_arrays: Whether one parameter can carry a list, so that `= ANY(list)` is one statement for every length.
        reads_json_rows: Whether many rows go best as one JSON text.
        numbers_enums: Whether an enumeration is ordered by its members' places and yet compared by their text.
        has_null_order: Whether ORDER BY takes NULLS FIRST and NULLS LAST.
        live_unique: How a unique key leaves soft-deleted rows out: by a partial index, by a generated column, not at
            all, so that it counts every row, or there are no unique keys.
        largest_parameters: Most bound parameters of one statement.
    """

    integer_bits: int = 32
    has_time_zones: bool = True
    has_special_floats: bool = False
    has_intervals: bool = False
    has_nul_text: bool = False
    conflict: Literal["conflict", "duplicate", "none"] = "none"
    has_savepoints: bool = True
    has_row_locks: bool = True
    locks_of: bool = False
    compares_rows: bool = False
    nulls_ascending: Literal["first", "last"] = "first"
    nulls_descending: Literal["first", "last"] = "last"
    has_arrays: bool = False
    reads_json_rows: bool = False
    numbers_enums: bool = False
    has_null_order: bool = False
    live_unique: Literal["partial index", "generated column", "every row", "none"] = "partial index"
    largest_parameters: int = 2000

    @property
    def most_listed(self) -> int:
        """Most values of the lists in one statement without arrays, with parameters to spare for the rest of it."""
        return self.largest_parameters - 100


_POSTGRESQL = Capabilities(
    has_intervals=True,
    has_special_floats=True,
    conflict="conflict",
    locks_of=True,
    compares_rows=True,
    nulls_ascending="last",
    nulls_descending="first",
    has_arrays=True,
    has_null_order=True,
    # The wire protocol counts them in 16 bits (PostgreSQL manual, "Message Formats", Bind).
    largest_parameters=32767,
)
_MYSQL = Capabilities(
    has_time_zones=False,
    has_nul_text=True,
    conflict="duplicate",
    # MySQL manual, "The ENUM Type", "Enumeration Sorting".
    numbers_enums=True,
    live_unique="generated column",
    largest_parameters=65535,
)
_KNOWN = MappingProxyType(
    {
        "postgresql": _POSTGRESQL,
        "mysql": _MYSQL,
        "mariadb": _MYSQL,
        "sqlite": Capabilities(
            integer_bits=64,
            has_time_zones=False,
            conflict="conflict",
            has_row_locks=False,
            compares_rows=True,
            has_null_order=True,
            # SQLITE_MAX_VARIABLE_NUMBER since 3.32 (sqlite.org/limits.html).
            largest_parameters=32766,
        ),
        "duckdb": Capabilities(
            has_intervals=True,
            has_special_floats=True,
            conflict="conflict",
            has_savepoints=False,
            has_row_locks=False,
            reads_json_rows=True,
            numbers_enums=True,
            # default_null_order since 0.8 (duckdb.org, "ORDER BY clause").
            nulls_ascending="last",
            nulls_descending="last",
            has_null_order=True,
            # "Creating partial indexes is not supported currently" (1.5), and no index of a generated column.
            live_unique="every row",
            largest_parameters=32767,
        ),
        "snowflake": Capabilities(
            has_savepoints=False,
            has_row_locks=False,
            nulls_ascending="last",
            nulls_descending="first",
            # Standard tables have no indexes and enforce no unique constraint.
            live_unique="none",
        ),
        "mssql": Capabilities(largest_parameters=2000),
    }
)


def capabilities_of(dialect_name: str) -> Capabilities:
    """The traits of a database by the name of its SQLAlchemy dialect; cautious ones for an unknown one."""
    return _KNOWN.get(dialect_name, Capabilities())
