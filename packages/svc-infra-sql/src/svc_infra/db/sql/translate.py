"""Turn the errors of SQLAlchemy and of every driver into the errors of `svc_infra.db.sql.errors`.

Recognition goes by SQLSTATE, by the driver's numeric code or by class, never by a message: messages are translated and
reworded. Where a driver puts the name of the constraint or of the columns only into its message, the names alone are
read from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import (
    CheckConstraint,
    Constraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.exc import DBAPIError, PendingRollbackError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.schema import ColumnCollectionConstraint

from svc_infra.db.sql._connecting import refused_place
from svc_infra.db.sql._diagnosis import diagnose, words_of
from svc_infra.db.sql._sqlstate import Diagnosis
from svc_infra.db.sql._written_table import written_table
from svc_infra.db.sql.errors import (
    CheckViolation,
    DeadlockDetected,
    Disconnected,
    EncryptionRefused,
    ExclusionViolation,
    FailedTransaction,
    ForeignKeyViolation,
    IntegrityViolation,
    InvalidValue,
    LockTimeout,
    NotNullViolation,
    PoolTimeout,
    ReadOnlyViolation,
    SchemaChanged,
    SerializationFailure,
    SqlError,
    StaleVersion,
    StatementTimeout,
    UniqueViolation,
)
from svc_infra.dburl import redact
from svc_infra.dburl.errors import EncryptionRefused as EncryptionRefusedByUrl

__all__ = ["VALUE_ERRORS", "at_row", "refusal", "translate", "translating"]

_MESSAGES: dict[type[SqlError], str] = {
    UniqueViolation: "another row has the same value",
    ForeignKeyViolation: "the row refers to one that does not exist, or is still referred to",
    NotNullViolation: "a value is missing",
    CheckViolation: "a value is not allowed",
    ExclusionViolation: "the row conflicts with another one",
    IntegrityViolation: "the database refused the data",
    SerializationFailure: "concurrent transactions could not be put in an order; run this one again",
    DeadlockDetected: "two transactions waited for each other; run this one again",
    SchemaChanged: "a table was altered since the statement was prepared; run the transaction again",
    LockTimeout: "another transaction held the lock too long",
    StatementTimeout: "the statement ran longer than its limit",
    Disconnected: "the connection to the database failed",
    FailedTransaction: "an earlier statement of the transaction failed; roll it back",
    ReadOnlyViolation: "a write in a read-only transaction or on a read-only server",
    InvalidValue: "a value does not fit its column",
}


VALUE_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the type of a column raises of a value that it can't bring into the driver's form, as a text for a Uuid."""

_UNREADABLE = frozenset({"42601", "42602", "42704", "42P01"})
"""What PostgreSQL says of a statement that it can't read, and of a text in a value whose type has a syntax or names."""

_KINDS: dict[type[Constraint], type[SqlError]] = {
    CheckConstraint: CheckViolation,
    ForeignKeyConstraint: ForeignKeyViolation,
    PrimaryKeyConstraint: UniqueViolation,
    UniqueConstraint: UniqueViolation,
}


def translate(error: BaseException, *, table: Table | None = None) -> SqlError | None:
    """Return the typed error for an error of SQLAlchemy or a driver, or None when it is of no known kind.

    Args:
        error: What was raised. A `SqlError` is returned as it is.
        table: The table that was written to; tells the columns of a constraint where the database only names it. Known
            by itself for statements of SQLAlchemy that a `Database` ran.

    Returns:
        An error whose `__cause__` is the driver's own one.
    """
    if isinstance(error, SqlError):
        return error
    if isinstance(error, PoolTimeoutError):
        told = str(error.args[0]) if error.args else "timed out"
        remedy = "raise DB_POOL_SIZE or DB_MAX_OVERFLOW, or hold sessions for a shorter time"
        return _caused(PoolTimeout(f"no connection became free in time ({told}); {remedy}"), error)
    if isinstance(error, EncryptionRefusedByUrl):
        return _caused(EncryptionRefused(error.place, error.problem, error.remedy), error)
    if isinstance(error, PendingRollbackError):
        return _caused(FailedTransaction(_MESSAGES[FailedTransaction]), error)
    if isinstance(error, StaleDataError):
        return _caused(StaleVersion("the row was changed or deleted since it was read"), error)
    cause = _driver_error(error)
    diagnosis = diagnose(cause)
    place = refused_place(error.orig if isinstance(error, DBAPIError) else error)
    if place is not None:
        if diagnosis is None or diagnosis.kind is not Disconnected:
            diagnosis = Diagnosis(Disconnected)
    elif diagnosis is None:
        if isinstance(error, DBAPIError):
            # An OSError is only told from the application's own when SQLAlchemy has wrapped it.
            if error.connection_invalidated or isinstance(cause, OSError):
                diagnosis = Diagnosis(Disconnected)
            elif table is not None and getattr(cause, "sqlstate", None) in _UNREADABLE:
                diagnosis = _misread(table)
        elif isinstance(error, StatementError) and isinstance(error.orig, VALUE_ERRORS):
            diagnosis = Diagnosis(InvalidValue)
    if diagnosis is None:
        return None
    if diagnosis.kind is Disconnected:
        origin = error.orig if isinstance(error, DBAPIError) and isinstance(cause, OSError) else cause
        diagnosis = replace(diagnosis, detail=_told(origin, diagnosis.detail, place))
    return _caused(_typed(diagnosis, table if table is not None else written_table(error)), cause)


@contextmanager
def translating(*, table: Table | None = None) -> Iterator[None]:
    """Raise the typed error in place of SQLAlchemy's for everything in the block; others pass unchanged."""
    try:
        yield
    except Exception as error:
        typed = translate(error, table=table)
        if typed is None or typed is error:
            raise
        raise typed from typed.__cause__


def _driver_error(error: BaseException) -> BaseException:
    """Follow SQLAlchemy's and its adapters' wrapping down to the error that the driver raised."""
    if isinstance(error, StatementError) and error.orig is not None:
        error = error.orig
    # SQLAlchemy's asyncpg adapter raises an error of its own, caused by asyncpg's.
    if type(error).__module__.startswith("sqlalchemy.") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _misread(table: Table) -> Diagnosis | None:
    """What is wrong when PostgreSQL can't read a part of a statement over the table, which a repository has made."""
    from sqlalchemy.dialects import postgresql

    kinds = (
        postgresql.JSONPATH,
        postgresql.REGCLASS,
        postgresql.REGCONFIG,
        postgresql.TSQUERY,
        postgresql.TSVECTOR,
    )
    found = [column.name for column in table.columns if isinstance(column.type, kinds)]
    # Which of several it was is in the message alone.
    return Diagnosis(InvalidValue, quoted=tuple(found) if len(found) == 1 else ()) if found else None


def _told(cause: BaseException | None, code: str, place: str | None) -> str:
    """Say what the server or the driver says of a connection: who has to act needs more than a code.

    Unlike other errors' texts these hold no values of rows.
    """
    arguments = cause.args if cause is not None else ()
    # MySQL's drivers have (code, text).
    text = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], str) else str(cause or "")
    words = redact(" ".join(text.split()))
    told = f"{words} ({code})" if code and words and code not in words and words != code else words or code
    return f"can't connect to {place}: {told}" if place and place not in told else told


def _typed(diagnosis: Diagnosis, table: Table | None) -> SqlError:
    if diagnosis.kind is IntegrityViolation and table is not None:
        diagnosis = _among_constraints(diagnosis, table)
    message = _MESSAGES[diagnosis.kind]
    if not issubclass(diagnosis.kind, IntegrityViolation):
        if diagnosis.detail:
            message = f"{message}: {diagnosis.detail}"
        if diagnosis.kind is InvalidValue and table is not None and (named := _named_columns(diagnosis.quoted, table)):
            refused = InvalidValue(f"{table.name}.{named[0]}: {message}")
            refused.columns = named
            return refused
        return diagnosis.kind(message)
    columns = diagnosis.columns or _columns_of(diagnosis.constraint, table)
    if not columns and diagnosis.kind is CheckViolation and table is not None:
        columns = _named_columns(diagnosis.quoted or words_of(diagnosis.constraint or ""), table)
    names = ", ".join(columns) or diagnosis.constraint
    if columns and diagnosis.kind is CheckViolation and diagnosis.constraint is not None:
        message = f"{message} ({diagnosis.constraint})"
    table_name = diagnosis.table or (table.name if table is not None else None)
    where = ".".join(part for part in (table_name, names) if part)
    return diagnosis.kind(
        f"{where}: {message}" if where else message,
        constraint=diagnosis.constraint,
        columns=columns,
        table=table_name,
    )


def refusal(error: Exception, table: Table) -> SqlError | None:
    """The typed error; what SQLAlchemy does not send raises the types' and the driver's errors as they are."""
    typed = translate(error, table=table)
    if typed is None and isinstance(error, VALUE_ERRORS):
        typed = InvalidValue("a value does not fit its column")
        typed.__cause__ = error
    return typed


def at_row(error: SqlError, index: int) -> SqlError:
    """The error, with the index of the row that it is about."""
    error.row = index
    error.args = (f"row {index}: {error.args[0] if error.args else ''}", *error.args[1:])
    return error


def _among_constraints(diagnosis: Diagnosis, table: Table) -> Diagnosis:
    """Find the constraint of the table that a message names, for drivers that tell no more than that."""
    kinds: dict[str, type[SqlError]] = {}
    for constraint in table.constraints:
        kind = _KINDS.get(type(constraint))
        if kind is not None and isinstance(constraint.name, str):
            kinds[constraint.name] = kind
    kinds |= {index.name: UniqueViolation for index in table.indexes if index.unique and index.name is not None}
    for name in diagnosis.quoted:
        if name in kinds:
            return Diagnosis(kinds[name], name)
    return diagnosis


def _columns_of(constraint: str | None, table: Table | None) -> tuple[str, ...]:
    if constraint is None or table is None:
        return ()
    if constraint == "PRIMARY":  # MySQL's name of every primary key
        return tuple(column.name for column in table.primary_key.columns)
    candidates: list[ColumnCollectionConstraint | Index] = [
        candidate for candidate in table.constraints if isinstance(candidate, ColumnCollectionConstraint)
    ]
    for candidate in (*candidates, *table.indexes):
        if candidate.name == constraint:
            if isinstance(candidate, CheckConstraint) and not candidate.columns:
                return _named_columns(words_of(str(candidate.sqltext)), table)
            return tuple(column.name for column in candidate.columns)
    for candidate in candidates:
        names = tuple(column.name for column in candidate.columns)
        # MySQL calls an unnamed key after its first column.
        if (
            isinstance(candidate, UniqueConstraint)
            and not isinstance(candidate.name, str)
            and names[:1] == (constraint,)
        ):
            return names
    return ()


def _named_columns(words: Collection[str], table: Table) -> tuple[str, ...]:
    """The columns of the table that are among the words."""
    wanted = {word.lower() for word in words}
    return tuple(column.name for column in table.columns if column.name.lower() in wanted)


def _caused(error: SqlError, cause: BaseException) -> SqlError:
    error.__cause__ = cause
    return error
