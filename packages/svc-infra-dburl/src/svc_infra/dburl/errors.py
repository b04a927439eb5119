"""The errors of svc-infra-dburl.

    DatabaseUrlError (ValueError)
    ├── NoDatabaseConfigured    no place holds a URL or the parts of one
    ├── UnreadableSource        a file that was named is missing, empty, unreadable, too long or not text
    ├── IncompleteParts         the DB_* variables are too few to make a URL of them
    ├── InvalidUrl              the text is not a database URL
    │   └── UnknownScheme       it is a URL, but of no database that is known here
    ├── InvalidOption           a parameter or DB_* variable is unknown, or has a value that it can't have
    │   └── ConflictingOptions  two of them contradict each other
    ├── UnknownDriver           the driver named is none of the database's
    ├── MissingDriver           the driver is not installed
    └── EncryptionRefused       the URL wants TLS and the server offers none, found when connecting

Each says which place was looked at, what is wrong with what was found there, and what to do about it. None repeats a
value that could be, or contain, a secret.
"""

from __future__ import annotations

__all__ = [
    "ConflictingOptions",
    "DatabaseUrlError",
    "EncryptionRefused",
    "IncompleteParts",
    "InvalidOption",
    "InvalidUrl",
    "MissingDriver",
    "NoDatabaseConfigured",
    "UnknownDriver",
    "UnknownScheme",
    "UnreadableSource",
]


class DatabaseUrlError(ValueError):
    """Base of every error of this package: the configuration names no usable database.

    Attributes:
        place: The variable, file or argument in question, e.g. ``SQL_URL``.
        problem: What is wrong there, without the secret.
        remedy: What to do about it.
    """

    def __init__(self, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}. {remedy}.")
        self.place = place
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[DatabaseUrlError], tuple[str, str, str]]:
        return type(self), (self.place, self.problem, self.remedy)


class NoDatabaseConfigured(DatabaseUrlError):
    """No place holds a URL or the parts of one; the message lists every place that was looked at."""


class UnreadableSource(DatabaseUrlError):
    """A file that a variable names is missing, empty, unreadable, too long or not text."""


class IncompleteParts(DatabaseUrlError):
    """The DB_* variables are too few to make a URL of them; the message names those that are missing."""


class InvalidUrl(DatabaseUrlError):
    """The text is not a database URL."""


class UnknownScheme(InvalidUrl):
    """The text is a URL, but of no database that is known here."""


class InvalidOption(DatabaseUrlError):
    """A parameter of the URL or a DB_* variable is unknown, or has a value that it can't have."""


class ConflictingOptions(InvalidOption):
    """Two parameters or variables contradict each other, so that following one would betray the other."""


class UnknownDriver(DatabaseUrlError):
    """The driver named in the URL or in a variable is none of the database's drivers."""


class MissingDriver(DatabaseUrlError):
    """The driver that is needed is not installed; the message names the extra that installs it."""


class EncryptionRefused(DatabaseUrlError):
    """The URL wants TLS, and the server that answered offers none."""
