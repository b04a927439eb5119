"""Names for constraints whose model gives none, so that a downgrade can drop what the upgrade adds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from alembic.operations import ops
from sqlalchemy import Dialect
from sqlalchemy.sql.elements import conv

from svc_infra.db.sql.core.operations import leaf_operations

__all__ = ["name_constraints"]


def name_constraints(operations: ops.OpContainer, dialect: Dialect) -> None:
    """Name the unnamed constraints that are added to a table, by the naming convention of `ModelBase`.

    Without a name the database chooses one, which `downgrade()` does not know. Those of a new table go with it.
    """
    for operation in leaf_operations(operations):
        if isinstance(operation, ops.CreateUniqueConstraintOp) and operation.constraint_name is None:
            operation.constraint_name = _name(dialect, "uq", operation.table_name, _names(operation.columns))
        elif isinstance(operation, ops.CreateForeignKeyOp) and operation.constraint_name is None:
            parts = [*_names(operation.local_cols), operation.referent_table]
            operation.constraint_name = _name(dialect, "fk", operation.source_table, parts)
        elif isinstance(operation, ops.CreateCheckConstraintOp) and operation.constraint_name is None:
            parts = [hashlib.blake2b(str(operation.condition).encode(), digest_size=4).hexdigest()]
            operation.constraint_name = _name(dialect, "ck", operation.table_name, parts)


def _names(columns: Sequence[object]) -> list[str]:
    return [str(getattr(column, "name", column)) for column in columns]


def _name(dialect: Dialect, kind: str, table: str, parts: Sequence[str]) -> conv:
    """Join the parts, within the length that the database allows."""
    name = "_".join([kind, table, *parts])
    limit = dialect.max_constraint_name_length or dialect.max_identifier_length
    if len(name) > limit:
        digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        name = f"{name[: limit - len(digest) - 1]}_{digest}"
    return conv(name)
