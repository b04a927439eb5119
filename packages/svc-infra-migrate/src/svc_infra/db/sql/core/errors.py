"""The errors of svc-infra-migrate.

    MigrationError
    ├── ProjectNotFound            no Alembic configuration in this folder or above it
    ├── ProjectExists              `init` would overwrite files
    ├── TargetNotResolved          no usable database URL
    ├── DatabaseFailed             the database can't be reached or refuses
    ├── DiscoveryError             a module with models can't be imported
    ├── RevisionError              the revision files don't allow what was asked
    │   ├── MultipleHeads          two branches wait to be merged
    │   └── UnknownRevision        a revision that no file has
    ├── Pending                    the database is not at the newest revision
    ├── Drift                      the database differs from the models
    ├── MigrationFailed            a revision failed; says what stayed of it
    ├── LockNotObtained            another process migrates and did not finish in time
    └── Refused                    a guard stopped a change that could lose data

The command line maps them to its exit codes: 3 for `Pending` and `Drift`, 4 for `LockNotObtained`, 1 for the rest.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DatabaseFailed",
    "DiscoveryError",
    "Drift",
    "LockNotObtained",
    "MigrationError",
    "MigrationFailed",
    "MultipleHeads",
    "Pending",
    "ProjectExists",
    "ProjectNotFound",
    "Refused",
    "RevisionError",
    "TargetNotResolved",
    "UnknownRevision",
]


class MigrationError(Exception):
    """Base of every error that svc-infra-migrate raises by itself.

    Attributes:
        exit_code: What the command line exits with when this error ends it.
    """

    exit_code: ClassVar[int] = 1


class ProjectNotFound(MigrationError):
    """No Alembic configuration was found in the folder or above it."""


class ProjectExists(MigrationError):
    """Files of a migration environment are there already and would be overwritten."""


class TargetNotResolved(MigrationError):
    """No database URL is configured, or the configured one can't be used."""


class DatabaseFailed(MigrationError):
    """The database can't be reached, refuses the user, or refuses a statement outside of a revision."""


class DiscoveryError(MigrationError):
    """A module that defines models can't be imported, or no models were found where some are needed."""


class RevisionError(MigrationError):
    """The revision files don't allow what was asked."""


class MultipleHeads(RevisionError):
    """The revision files end in several heads and the command needs one."""


class UnknownRevision(RevisionError):
    """A revision was named, or is recorded in the database, that no revision file has."""


class Pending(MigrationError):
    """The database is not at the newest revision."""

    exit_code: ClassVar[int] = 3


class Drift(MigrationError):
    """The database differs from the models."""

    exit_code: ClassVar[int] = 3


class MigrationFailed(MigrationError):
    """A revision failed. The message says what is applied, what stayed of the failed one, and how to go on."""


class LockNotObtained(MigrationError):
    """Another process held the migration lock until the deadline."""

    exit_code: ClassVar[int] = 4


class Refused(MigrationError):
    """A guard stopped a change that could lose data; the message names the option that allows it."""
