"""The errors of svc-infra-sql.

    SqlError
    ├── NotFound                    no visible row has the key
    ├── StaleVersion                the row was changed since it was read
    ├── InvalidQuery (ValueError)   the caller's input can't become a statement
    │   ├── UnknownField            a name that is no column of the model
    │   └── InvalidValue            a value that its column can't hold
    ├── IntegrityViolation          the database refused the data
    │   ├── UniqueViolation
    │   ├── ForeignKeyViolation
    │   ├── NotNullViolation
    │   ├── CheckViolation
    │   └── ExclusionViolation
    ├── RetryableError              the same transaction may succeed when run again
    │   ├── SerializationFailure
    │   ├── DeadlockDetected
    │   └── SchemaChanged           a table was altered since the statement was prepared
    ├── LockTimeout                 another transaction held the row or table too long
    ├── StatementTimeout            the statement ran longer than its limit and was cut
    ├── PoolTimeout                 no connection became free in time
    ├── Disconnected                the server refused, closed or never answered
    │   └── EncryptionRefused       the URL wants TLS, and the server offers none (also a DatabaseUrlError)
    ├── ReadOnlyViolation           a write in a read-only transaction
    ├── FailedTransaction           an earlier statement failed, and the transaction was not rolled back
    ├── InvalidSetting (ValueError) a setting of the Database that means nothing
    └── UnusableDatabase (RuntimeError)   the Database is closed, or belongs to another process or event loop

They are recognised by SQLSTATE or driver code, never by message text, and are the same on every database. The driver's
own error stays as `__cause__`.
"""

from __future__ import annotations

from svc_infra.dburl.errors import EncryptionRefused as EncryptionRefusedByUrl

__all__ = [
    "CheckViolation",
    "DeadlockDetected",
    "Disconnected",
    "EncryptionRefused",
    "ExclusionViolation",
    "FailedTransaction",
    "ForeignKeyViolation",
    "IntegrityViolation",
    "InvalidQuery",
    "InvalidSetting",
    "InvalidValue",
    "LockTimeout",
    "NotFound",
    "NotNullViolation",
    "PoolTimeout",
    "ReadOnlyViolation",
    "RetryableError",
    "SchemaChanged",
    "SerializationFailure",
    "SqlError",
    "StaleVersion",
    "StatementTimeout",
    "UniqueViolation",
    "UnknownField",
    "UnusableDatabase",
]


class SqlError(Exception):
    """Base of every error that svc-infra-sql raises by itself.

    Attributes:
        row: Index of the row that a write of many rows was refused for, or None.
        fields: Fields of the model that it is about, as far as a repository knows them.
    """

    row: int | None = None
    fields: tuple[str, ...] = ()


class NotFound(SqlError):
    """No visible row has the key: it never existed, is soft-deleted, or belongs to another tenant."""


class StaleVersion(SqlError):
    """The row has another version than the one that the caller read, so the write was not done."""


class InvalidQuery(SqlError, ValueError):
    """The caller's input can't become a statement; nothing was sent to the database."""


class UnknownField(InvalidQuery):
    """A name is no column of the model, or not one that may be used here."""


class InvalidValue(InvalidQuery):
    """A value is of a type or size that its column can't hold.

    Attributes:
        columns: Names of the columns in question, empty where the database does not tell them.
    """

    columns: tuple[str, ...] = ()


class IntegrityViolation(SqlError):
    """The database refused the data because of a constraint.

    Attributes:
        constraint: Name of the constraint, or None where the database does not tell it.
        columns: Names of the columns in question, empty where the database does not tell them. `fields` are the fields
            of the model that they belong to.
        table: Name of the table, or None where the database does not tell it.
    """

    def __init__(
        self,
        message: str,
        *,
        constraint: str | None = None,
        columns: tuple[str, ...] = (),
        table: str | None = None,
    ) -> None:
        super().__init__(message)
        self.constraint = constraint
        self.columns = columns
        self.table = table


class UniqueViolation(IntegrityViolation):
    """Another row has the same values in the columns of a unique constraint or primary key."""


class ForeignKeyViolation(IntegrityViolation):
    """The row refers to a row that does not exist, or is still referred to."""


class NotNullViolation(IntegrityViolation):
    """A column that needs a value was given none."""


class CheckViolation(IntegrityViolation):
    """A value does not satisfy a CHECK constraint."""


class ExclusionViolation(IntegrityViolation):
    """The row conflicts with another one under an exclusion constraint (PostgreSQL)."""


class RetryableError(SqlError):
    """The transaction was rolled back by the database and may succeed when all of it is run again."""


class SerializationFailure(RetryableError):
    """Concurrent transactions could not be put in an order (SQLSTATE 40001)."""


class DeadlockDetected(RetryableError):
    """Two transactions waited for each other and this one was chosen to end (SQLSTATE 40P01)."""


class SchemaChanged(RetryableError):
    """A table was altered since the connection prepared the statement; the next run prepares it anew (PostgreSQL)."""


class LockTimeout(SqlError):
    """A lock was not obtained within the lock timeout."""


class StatementTimeout(SqlError):
    """The statement ran longer than the statement timeout and was cancelled."""


class PoolTimeout(SqlError):
    """No connection of the pool became free within the pool timeout."""


class Disconnected(SqlError):
    """The database refused the connection, closed it, or did not answer in time."""


class EncryptionRefused(Disconnected, EncryptionRefusedByUrl):
    """The URL wants TLS, and the server that answered offers none."""


class ReadOnlyViolation(SqlError):
    """A write was tried in a read-only transaction or on a read-only server."""


class FailedTransaction(SqlError):
    """An earlier statement of the transaction failed; nothing more can be done in it but to roll it back.

    To go on after a refusal, as of a key that is taken, run what may be refused in `session.begin_nested()`.
    """


class InvalidSetting(SqlError, ValueError):
    """A setting of the `Database` is not of its kind or out of range; raised at start, before any connection."""


class UnusableDatabase(SqlError, RuntimeError):
    """The `Database` can't be used here: it is closed, was used before a fork, or belongs to another event loop."""
