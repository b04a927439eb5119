"""The errors of svc-infra-mongo.

    MongoError
    ├── MongoSettingsError (ValueError)        the configuration can't be used
    ├── MongoNotInitialised (RuntimeError)     there is no client any more
    ├── MongoAlreadyInitialised (RuntimeError) another configuration is in use
    ├── MongoUnreachable (ConnectionError)     no server answered in time
    ├── NotFound                               no visible document has the key
    ├── StaleVersion                           the document was changed since it was read
    ├── InvalidQuery (ValueError)              the caller's input can't become a query
    │   ├── UnknownField                       a name that may not be used here
    │   └── InvalidValue                       a value that can't be stored or compared
    │       └── DocumentTooLarge               more than the 16 MiB that a document may have
    ├── UniqueViolation                        another document has the same values
    ├── DocumentRejected                       the collection's validator refused the document
    └── LockTimeout                            another process prepares the database

They are recognised by class and server code, never by message text. The driver's own error stays as `__cause__`.
"""

from __future__ import annotations

__all__ = [
    "DocumentRejected",
    "DocumentTooLarge",
    "InvalidQuery",
    "InvalidValue",
    "LockTimeout",
    "MongoAlreadyInitialised",
    "MongoError",
    "MongoNotInitialised",
    "MongoSettingsError",
    "MongoUnreachable",
    "NotFound",
    "StaleVersion",
    "UniqueViolation",
    "UnknownField",
]


class MongoError(Exception):
    """Base of every error that svc-infra-mongo raises by itself."""


class MongoSettingsError(MongoError, ValueError):
    """The configuration can't be used: an unknown option or driver, or a number out of range."""


class MongoNotInitialised(MongoError, RuntimeError):
    """`close_mongo` was called and `init_mongo` was not called since."""


class MongoAlreadyInitialised(MongoError, RuntimeError):
    """`init_mongo` was called with other settings while a client with the first ones is open."""


class MongoUnreachable(MongoError, ConnectionError):
    """No suitable server answered within the time."""


class NotFound(MongoError):
    """No visible document has the key: it never existed, is soft-deleted, or belongs to another tenant."""


class StaleVersion(MongoError):
    """The document has another version than the one that the caller read, so the write was not done."""


class InvalidQuery(MongoError, ValueError):
    """The caller's input can't become a query; nothing was sent to the database."""


class UnknownField(InvalidQuery):
    """A name is no field of the documents, or not one that may be used here."""


class InvalidValue(InvalidQuery):
    """A value can't be stored or compared, such as one that BSON does not know."""


class DocumentTooLarge(InvalidValue):
    """The document has more bytes than MongoDB takes, 16 MiB."""


class UniqueViolation(MongoError):
    """Another document has the same values in the fields of a unique index.

    Attributes:
        fields: Names of the fields of the index, empty when the server does not tell them.
        index: Position of the offending document in a bulk write, else None.
    """

    def __init__(self, message: str, *, fields: tuple[str, ...] = (), index: int | None = None) -> None:
        super().__init__(message)
        self.fields = fields
        self.index = index


class DocumentRejected(MongoError):
    """The collection's validator refused the document (server code 121)."""


class LockTimeout(MongoError):
    """Another process holds the lock for preparing the database."""
