"""From the drivers' errors to this package's, by class and server code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from svc_infra.db.nosql.mongo.errors import (
    DocumentRejected,
    DocumentTooLarge,
    InvalidValue,
    MongoError,
    MongoUnreachable,
    UniqueViolation,
)

if TYPE_CHECKING:
    from pymongo.errors import BulkWriteError

__all__ = ["refusals", "translate", "translating"]

# https://www.mongodb.com/docs/manual/reference/error-codes/
_DUPLICATE_KEY = (11000, 11001, 12582)
_VALIDATION_FAILED = 121
# BadValue, and names of embedded fields that a server before 5.0 refuses: with a dollar or a dot, or empty.
_BAD_VALUES = (2, 52, 56, 57)
_TOO_LARGE = (10334, 17419, 17420)


@contextmanager
def translating() -> Iterator[None]:
    """Raise what the driver raises inside as this package's error, with the driver's as its cause."""
    try:
        yield
    except MongoError:
        raise
    except Exception as error:
        translated = translate(error)
        if translated is None:
            raise
        raise translated from error


def translate(error: BaseException) -> MongoError | None:
    """Return this package's error for a driver's, or None for one that it has no name for."""
    from bson.errors import BSONError
    from pymongo.errors import (
        BulkWriteError,
        ConnectionFailure,
        OperationFailure,
        PyMongoError,
        ServerSelectionTimeoutError,
    )
    from pymongo.errors import DocumentTooLarge as DriverFindsTooLarge

    if isinstance(error, BulkWriteError):
        failures: list[Mapping[str, Any]] = (error.details or {}).get("writeErrors", [])
        return _by_code(failures[0].get("code"), failures[0], failures[0].get("index")) if failures else None
    if isinstance(error, PyMongoError) and error.timeout:
        return MongoUnreachable("the MongoDB server did not answer in time")
    if isinstance(error, OperationFailure):
        return _by_code(error.code, error.details or {}, None)
    if isinstance(error, ConnectionFailure | ServerSelectionTimeoutError):
        return MongoUnreachable("the MongoDB server refused the connection, closed it, or did not answer in time")
    if isinstance(error, DriverFindsTooLarge):
        return DocumentTooLarge("the document is larger than the 16 MiB that MongoDB takes")
    if isinstance(error, BSONError | OverflowError | UnicodeEncodeError):
        return InvalidValue(f"a value can't be stored in MongoDB: {error}")
    return None


def refusals(error: BulkWriteError) -> dict[int, MongoError]:
    """Return for each refused operation of an unordered bulk write its position and this package's error.

    Raises:
        BulkWriteError: The error itself, when something in it is not about an operation.
    """
    details: Mapping[str, Any] = error.details or {}
    found: dict[int, MongoError] = {}
    for failure in details.get("writeErrors", []):
        translated = _by_code(failure.get("code"), failure, failure["index"])
        if translated is None:
            raise error
        found[failure["index"]] = translated
    if not found:
        raise error
    return found


def _by_code(code: int | None, details: Mapping[str, Any], index: int | None) -> MongoError | None:
    if code in _DUPLICATE_KEY:
        fields = tuple(cast("Mapping[str, Any]", details.get("keyPattern") or {}))
        which = ", ".join(fields) or "a unique index"
        at = "" if index is None else f" (document {index} of the batch)"
        return UniqueViolation(f"another document has the same {which}{at}", fields=fields, index=index)
    if code == _VALIDATION_FAILED:
        return DocumentRejected("the collection's validator refused the document")
    if code in _TOO_LARGE:
        return DocumentTooLarge("the document is larger than the 16 MiB that MongoDB takes")
    if code in _BAD_VALUES:
        return InvalidValue("the server refused a value")
    return None
