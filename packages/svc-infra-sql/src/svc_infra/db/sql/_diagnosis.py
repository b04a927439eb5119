"""Read what happened out of a driver's own error: its kind, and the constraint, columns and table that it names.

Each driver is told by the package that its error class comes from, so none of them is imported here. Codes come from:
PostgreSQL, appendix A "Error Codes"; MySQL, "Server Error Message Reference"; MariaDB, "Error Codes"; SQLite,
"Result and Error Codes"; ODBC, appendix A "Error Codes"; Snowflake, "Driver error codes".

DuckDB 1.5 has a class per kind of error and no code, also not in its JSON errors (`errors_as_json`): one class means
all constraints. Which one it was is read from the SQL keywords (UNIQUE, NOT NULL, ...) in its message, which the
library holds in one language; anything else stays an `IntegrityViolation`. For SQL Server see `_mssql_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from svc_infra.db.sql._mssql_errors import read_mssql_python, read_odbc
from svc_infra.db.sql._sqlstate import Diagnosis, Kind, by_sqlstate
from svc_infra.db.sql.errors import (
    CheckViolation,
    DeadlockDetected,
    Disconnected,
    FailedTransaction,
    ForeignKeyViolation,
    IntegrityViolation,
    InvalidValue,
    LockTimeout,
    NotNullViolation,
    ReadOnlyViolation,
    SchemaChanged,
    SerializationFailure,
    StatementTimeout,
    UniqueViolation,
)


def diagnose(error: BaseException) -> Diagnosis | None:
    """Diagnose a driver's own error, or return None when it is not a driver's or of no known kind."""
    for ancestor in type(error).__mro__:
        read = _READERS.get(ancestor.__module__.partition(".")[0])
        if read is not None:
            return read(error)
    return None


_MYSQL: dict[int, Kind] = {
    1020: SerializationFailure,  # MariaDB, innodb_snapshot_isolation: the record changed since it was read
    1022: UniqueViolation,
    1040: Disconnected,  # too many connections
    1044: Disconnected,
    1045: Disconnected,
    1048: NotNullViolation,
    1049: Disconnected,
    1053: Disconnected,
    1062: UniqueViolation,
    1152: Disconnected,
    1205: LockTimeout,
    1213: DeadlockDetected,
    1216: ForeignKeyViolation,
    1217: ForeignKeyViolation,
    1264: InvalidValue,
    1265: InvalidValue,
    1290: ReadOnlyViolation,  # --read-only and other server options
    1292: InvalidValue,
    1317: StatementTimeout,  # the query was interrupted
    1364: NotNullViolation,  # no value and no default
    1365: InvalidValue,  # division by zero
    1366: InvalidValue,
    1406: InvalidValue,
    1451: ForeignKeyViolation,
    1452: ForeignKeyViolation,
    1557: ForeignKeyViolation,
    1569: UniqueViolation,
    1586: UniqueViolation,
    1761: ForeignKeyViolation,
    1762: ForeignKeyViolation,
    1792: ReadOnlyViolation,
    1836: ReadOnlyViolation,
    1927: Disconnected,  # MariaDB: the connection was killed
    1969: StatementTimeout,  # MariaDB: max_statement_time
    2002: Disconnected,
    2003: Disconnected,
    2005: Disconnected,
    2006: Disconnected,
    2013: Disconnected,
    2014: Disconnected,
    2026: Disconnected,  # TLS
    2045: Disconnected,
    2055: Disconnected,
    3024: StatementTimeout,  # MySQL: max_execution_time
    3572: LockTimeout,  # NOWAIT
    3819: CheckViolation,
    4025: CheckViolation,  # MariaDB
}

_SQLITE: dict[int, Kind] = {
    5: LockTimeout,  # SQLITE_BUSY after busy_timeout
    6: LockTimeout,  # SQLITE_LOCKED
    8: ReadOnlyViolation,
    9: StatementTimeout,  # SQLITE_INTERRUPT
    14: Disconnected,  # SQLITE_CANTOPEN
    18: InvalidValue,  # SQLITE_TOOBIG
    19: IntegrityViolation,
    20: InvalidValue,  # SQLITE_MISMATCH
    26: Disconnected,  # SQLITE_NOTADB
    261: LockTimeout,  # SQLITE_BUSY_RECOVERY
    275: CheckViolation,
    517: SerializationFailure,  # SQLITE_BUSY_SNAPSHOT: another connection wrote since this transaction read
    787: ForeignKeyViolation,
    1299: NotNullViolation,
    1555: UniqueViolation,  # primary key
    1811: IntegrityViolation,  # RAISE(ABORT) of a trigger
    2067: UniqueViolation,
    2579: UniqueViolation,  # rowid
    3091: InvalidValue,  # the type of a STRICT table's column
}

_IDENTIFIER = r'"(?:[^"]|"")+"|[^\W\d]\w*'
_LAST_QUOTED = re.compile(r"[`']([^`']+)[`'][^`']*$")
_KEY = re.compile(r"\((.*?)\)=\(", re.DOTALL)


#: libpq could not connect, or lost the connection; asyncpg sends when it has read the server's last words.
_LOST: Final = frozenset({"OperationalError", "ConnectionTimeout", "InternalClientError"})


def _is_of_outdated_plan(error: Any, source: Any) -> bool:
    """Whether PostgreSQL refused a prepared statement whose result has other types by now.

    Its code is that of any feature that it has not; it tells the function, which asyncpg takes for a class of its own.
    """
    is_asyncpgs = type(error).__name__ == "InvalidCachedStatementError"
    return is_asyncpgs or getattr(source, "source_function", None) == "RevalidateCachedQuery"


def _postgresql(error: Any) -> Diagnosis | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    kind = by_sqlstate(state)
    if state is None and type(error).__name__ in _LOST:
        return Diagnosis(Disconnected)
    source = getattr(error, "diag", error)
    if kind is None and state == "0A000" and _is_of_outdated_plan(error, source):
        kind = SchemaChanged
    if kind is None:
        return None
    column = getattr(source, "column_name", None)
    detail = getattr(source, "message_detail", None) or getattr(source, "detail", None)
    columns = (column,) if column else _columns_in_key(detail)
    constraint = getattr(source, "constraint_name", None)
    table = getattr(source, "table_name", None)
    return Diagnosis(
        kind, constraint, columns if issubclass(kind, IntegrityViolation) else (), table, f"SQLSTATE {state}"
    )


def _columns_in_key(detail: str | None) -> tuple[str, ...]:
    """Read the columns of `Key (a, "b c")=(1, 2) ...`, which every language keeps; () for an expression index."""
    match = _KEY.search(detail or "")
    if match is None:
        return ()
    names = re.findall(_IDENTIFIER, match[1])
    if ", ".join(names) != match[1]:
        return ()
    return tuple(name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names)


def _mysql(error: Any) -> Diagnosis | None:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if code is None:
        return None
    kind = _MYSQL.get(code)
    if kind is None:
        return None
    message = str(error.args[1]) if len(error.args) > 1 else ""
    quoted: list[str] = re.findall(r"'((?:[^']|'')*)'", message)
    ticked: list[str] = re.findall(r"`([^`]+)`", message)
    detail = f"error {code}"
    if kind is UniqueViolation and quoted:
        table, _, key = quoted[-1].rpartition(".")  # MySQL 8 says 'table.key', MariaDB 'key'
        return Diagnosis(kind, key, (), table or None, detail)
    if kind is NotNullViolation and quoted:
        return Diagnosis(kind, None, (quoted[0],), None, detail)
    if kind is ForeignKeyViolation and "CONSTRAINT" in message and len(ticked) > 3:
        # (`schema`.`table`, CONSTRAINT `name` FOREIGN KEY (`column`, ...) REFERENCES `other` (`id`))
        names = re.search(r"CONSTRAINT `([^`]+)` FOREIGN KEY \(([^)]*)\)", message)
        if names:
            return Diagnosis(kind, names[1], tuple(re.findall(r"`([^`]+)`", names[2])), ticked[1], detail)
    if kind is CheckViolation:
        if ticked:  # MariaDB: CONSTRAINT `name` failed for `schema`.`table`
            return Diagnosis(kind, ticked[0], (), ticked[-1] if len(ticked) > 1 else None, detail)
        return Diagnosis(kind, quoted[0] if quoted else None, (), None, detail)
    if kind is InvalidValue:
        return Diagnosis(kind, detail=detail, quoted=tuple(_LAST_QUOTED.findall(message)))
    return Diagnosis(kind, detail=detail)


def _sqlite(error: Any) -> Diagnosis | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    kind = _SQLITE.get(code) or _SQLITE.get(code & 0xFF)
    if kind is None:
        return None
    named = str(error).rpartition(": ")[2]
    if kind in (UniqueViolation, NotNullViolation):
        if named.startswith("index '"):  # an index on an expression
            return Diagnosis(kind, named[7:-1])
        pairs = [name.rpartition(".") for name in named.split(", ")]
        return Diagnosis(kind, None, tuple(column for _, _, column in pairs), pairs[0][0] or None)
    if kind is CheckViolation:
        return Diagnosis(kind, named)
    return Diagnosis(kind, detail=getattr(error, "sqlite_errorname", ""))


_DUCKDB: dict[str, Kind] = {
    "ConnectionException": Disconnected,
    "ConversionException": InvalidValue,
    "FatalException": Disconnected,
    "InterruptException": StatementTimeout,
    "IOException": Disconnected,
    "OutOfRangeException": InvalidValue,
    "SerializationException": SerializationFailure,
    "TypeMismatchException": InvalidValue,
}


def _duckdb(error: Any) -> Diagnosis | None:
    text = str(error)
    name = type(error).__name__
    if name in ("TransactionException", "InvalidInputException"):
        if "read-only mode" in text:
            return Diagnosis(ReadOnlyViolation)
        if name == "InvalidInputException":
            return Diagnosis(InvalidValue) if "too large" in text else None
        if "is aborted" in text:
            return Diagnosis(FailedTransaction)
        # A key that a concurrent transaction has taken meanwhile is refused at the commit.
        if "UNIQUE constraint" in text:
            return Diagnosis(UniqueViolation)
        # "Conflict on update!" and its kin: optimistic concurrency lost; other texts are misuse, e.g. a nested BEGIN.
        return Diagnosis(SerializationFailure) if "onflict" in text else None
    if name != "ConstraintException":
        return Diagnosis(_DUCKDB[name]) if name in _DUCKDB else None
    if match := re.search(r"NOT NULL constraint failed: (?:(.+)\.)?(.+)", text):
        return Diagnosis(NotNullViolation, None, (match[2],), match[1])
    if match := re.search(r"CHECK constraint failed on table (.+) with expression (.+)", text):
        return Diagnosis(CheckViolation, None, (), match[1], quoted=words_of(match[2]))
    if "foreign key constraint" in text:
        return Diagnosis(ForeignKeyViolation)
    if match := re.search(r'Duplicate key "(.*)" violates', text, re.DOTALL):
        return Diagnosis(UniqueViolation, None, tuple(re.findall(r"(?:^|, )(\w+): ", match[1])))
    if "UNIQUE constraint" in text:  # of a row that the same transaction has written; only the value is told
        return Diagnosis(UniqueViolation)
    if "onflict" in text:
        return Diagnosis(SerializationFailure)
    return Diagnosis(IntegrityViolation)


def words_of(condition: str) -> tuple[str, ...]:
    """Return the words of a condition, but those of its texts."""
    return tuple(re.findall(r"\w+", re.sub(r"'[^']*'", "", condition)))


_SNOWFLAKE: dict[int, Kind] = {
    100072: NotNullViolation,
    604: StatementTimeout,  # the statement was cancelled
    625: LockTimeout,
    630: StatementTimeout,  # STATEMENT_TIMEOUT_IN_SECONDS
    200001: UniqueViolation,  # hybrid tables
}


def _snowflake(error: Any) -> Diagnosis | None:
    errno = getattr(error, "errno", None)
    kind = _SNOWFLAKE.get(errno) if isinstance(errno, int) else None
    kind = kind or by_sqlstate(getattr(error, "sqlstate", None))
    if kind is None and isinstance(errno, int) and 250000 <= errno < 252000:  # the driver's connection errors
        kind = Disconnected
    return Diagnosis(kind, detail=f"error {errno}") if kind else None


_READERS: dict[str, Callable[[Any], Diagnosis | None]] = {
    "_duckdb": _duckdb,
    "aiomysql": _mysql,
    "asyncmy": _mysql,
    "asyncpg": _postgresql,
    "duckdb": _duckdb,
    "mssql_python": read_mssql_python,
    "psycopg": _postgresql,
    "psycopg2": _postgresql,
    "pymysql": _mysql,
    "pyodbc": read_odbc,
    "snowflake": _snowflake,
    "sqlite3": _sqlite,
}
