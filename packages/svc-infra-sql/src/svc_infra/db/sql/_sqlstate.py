"""What an error of a database is: its kind, what it names, and the SQLSTATE codes that tell the kind."""

from __future__ import annotations

from dataclasses import dataclass

from svc_infra.db.sql.errors import (
    CheckViolation,
    DeadlockDetected,
    Disconnected,
    ExclusionViolation,
    FailedTransaction,
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

Kind = type[SqlError]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a driver's error says.

    Attributes:
        kind: The typed error for it.
        constraint: The constraint that it names.
        columns: The columns that it names.
        table: The table that it names.
        detail: Its code, for the message.
        quoted: Names in its message, of which one may be the constraint's or the column's, when it tells no more.
    """

    kind: Kind
    constraint: str | None = None
    columns: tuple[str, ...] = ()
    table: str | None = None
    detail: str = ""
    quoted: tuple[str, ...] = ()


_SQLSTATE: dict[str, Kind] = {
    "23000": IntegrityViolation,
    "23001": ForeignKeyViolation,
    "23502": NotNullViolation,
    "23503": ForeignKeyViolation,
    "23505": UniqueViolation,
    "23514": CheckViolation,
    "23P01": ExclusionViolation,
    "25006": ReadOnlyViolation,
    "25P02": FailedTransaction,
    "25P03": Disconnected,  # idle_in_transaction_session_timeout ended the session
    "25P04": StatementTimeout,  # transaction_timeout
    "428C9": InvalidValue,  # generated_always: a value for a column that the database fills
    "40001": SerializationFailure,
    "40P01": DeadlockDetected,
    "44000": CheckViolation,  # WITH CHECK OPTION
    "53300": Disconnected,  # too_many_connections
    "55P03": LockTimeout,
    "57014": StatementTimeout,
    "57P01": Disconnected,
    "57P02": Disconnected,
    "57P03": Disconnected,
    "57P04": Disconnected,
    "57P05": Disconnected,
    "3D000": Disconnected,  # the database of the URL does not exist
    "01002": Disconnected,
    "HYT00": StatementTimeout,  # ODBC
    "HYT01": Disconnected,  # ODBC: connection timeout expired
}
_SQLSTATE_CLASS: dict[str, Kind] = {
    "08": Disconnected,
    "22": InvalidValue,
    "23": IntegrityViolation,
    "28": Disconnected,  # the server refused the user or password
}


def by_sqlstate(state: str | None) -> Kind | None:
    """Return the kind of a SQLSTATE, by the code or else by its class; None when it means none of ours."""
    if not state:
        return None
    return _SQLSTATE.get(state) or _SQLSTATE_CLASS.get(state[:2])
