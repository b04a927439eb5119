"""What happened, read out of the errors of SQL Server's two drivers.

Both tell the SQLSTATE, mssql-python 1.16 in the words of its own fixed table. Below 23000 ("integrity constraint
violated") only SQL Server's error number tells which constraint it was, and mssql-python drops it. There the SQL
keywords and quoted names in the message decide, which SQL Server keeps in all its languages; a name alone is looked up
among the constraints of the table that was written to. Numbers come from "Database Engine events and errors".
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from svc_infra.db.sql._sqlstate import Diagnosis, Kind, by_sqlstate
from svc_infra.db.sql.errors import (
    CheckViolation,
    DeadlockDetected,
    Disconnected,
    ForeignKeyViolation,
    IntegrityViolation,
    InvalidValue,
    LockTimeout,
    NotNullViolation,
    ReadOnlyViolation,
    SerializationFailure,
    SqlError,
    StatementTimeout,
    UniqueViolation,
)

__all__ = ["read_mssql_python", "read_odbc"]

#: The states of ODBC that mean one of our kinds ("Appendix A: ODBC Error Codes"); the more special ones first.
_STATES = (
    *("08001", "08002", "08003", "08004", "08007", "08S01", "01002", "28000", "HYT01"),
    *("22001", "22002", "22003", "22007", "22008", "22012", "22015", "22018", "22019", "22025", "22026"),
    *("23000", "44000", "40001", "HY008", "HYT00"),
)

_NUMBERS: dict[int, Kind] = {
    515: NotNullViolation,
    1205: DeadlockDetected,
    1222: LockTimeout,
    2601: UniqueViolation,
    2627: UniqueViolation,
    2628: InvalidValue,
    3906: ReadOnlyViolation,
    3960: SerializationFailure,  # snapshot isolation: the row changed since the transaction began
    4060: Disconnected,
    8152: InvalidValue,
    18456: Disconnected,
}

#: What mssql-python calls a failure of the connection that came without a SQLSTATE (its connection.py).
_LOST = "Connection operation failed"

_NAME = re.compile(r"""['"“”„«»]([^'"“”„«»]+)['"“”„«»]""")
#: SQL keywords of a message, which no translation replaces, and the kind that they mean.
_KEYWORDS: tuple[tuple[re.Pattern[str], type[SqlError]], ...] = (
    (re.compile(r"\b(FOREIGN KEY|REFERENCE)\b"), ForeignKeyViolation),
    (re.compile(r"\b(PRIMARY|UNIQUE) KEY\b|\bunique index\b"), UniqueViolation),
    (re.compile(r"\bCHECK\b"), CheckViolation),
    (re.compile(r"\bNULL\b"), NotNullViolation),
)


def read_mssql_python(error: Any) -> Diagnosis | None:
    """Diagnose an error of mssql-python."""
    told = getattr(error, "driver_error", "")
    # For a state that its table does not have, it puts the state itself.
    state = _state_of_text().get(told) or told.rpartition(" ")[2]
    kind = Disconnected if told == _LOST else _kind_of_state(state)
    if kind is IntegrityViolation:
        return _violation(str(getattr(error, "ddbc_error", "")))
    if kind is Disconnected:
        return Diagnosis(kind, detail=str(error))
    return Diagnosis(kind, detail=f"SQLSTATE {state}") if kind else None


def read_odbc(error: Any) -> Diagnosis | None:
    """Diagnose an error of pyodbc: its arguments are the SQLSTATE and a text that ends with the error's number."""
    state = error.args[0] if error.args and isinstance(error.args[0], str) else None
    text = str(error.args[1]) if len(error.args) > 1 else ""
    number = re.search(r"\((\d+)\) \(SQL", text)
    kind = (_NUMBERS.get(int(number[1])) if number else None) or _kind_of_state(state)
    if kind is not None and issubclass(kind, IntegrityViolation):
        return _violation(text, kind)
    return Diagnosis(kind, detail=f"SQLSTATE {state}") if kind else None


@cache
def _state_of_text() -> dict[str, str]:
    """Return the SQLSTATE of each text in mssql-python's table."""
    from mssql_python.exceptions import sqlstate_to_exception

    found: dict[str, str] = {}
    for state in _STATES:
        error = sqlstate_to_exception(state, "")
        if error is not None:
            found.setdefault(error.driver_error, state)
    return found


def _kind_of_state(state: str | None) -> Kind | None:
    if state == "HY008":
        return StatementTimeout
    kind = by_sqlstate(state)
    return DeadlockDetected if kind is SerializationFailure else kind  # SQL Server reports its deadlocks as 40001


def _violation(text: str, kind: Kind = IntegrityViolation) -> Diagnosis:
    """Tell which constraint was violated."""
    names = tuple(_NAME.findall(text))
    if kind is IntegrityViolation:
        kind = next((kind for keyword, kind in _KEYWORDS if keyword.search(text)), IntegrityViolation)
    if not names or kind is IntegrityViolation:
        return Diagnosis(kind, quoted=names)
    if kind is NotNullViolation:  # of column 'c', table 'database.schema.table'
        table = names[1].rpartition(".")[2] if len(names) > 1 else None
        return Diagnosis(kind, None, (names[0],), table)
    # A duplicate names the object, then the index; the others name the constraint first.
    is_index = kind is UniqueViolation and not _KEYWORDS[1][0].search(text.replace("unique index", ""))
    return Diagnosis(kind, names[1] if is_index and len(names) > 1 else names[0])
