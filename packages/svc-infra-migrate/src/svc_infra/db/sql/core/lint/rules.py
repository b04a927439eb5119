"""The rules: what each operation does to a running service on each database, and the safe sequence.

Locks of PostgreSQL: https://www.postgresql.org/docs/current/sql-altertable.html and
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES . Online DDL of MySQL and MariaDB:
https://dev.mysql.com/doc/refman/8.4/en/innodb-online-ddl-operations.html .
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from alembic.operations import ops
from sqlalchemy import String, Text

__all__ = ["Hazard", "hazards"]

_EXCLUSIVE = "ACCESS EXCLUSIVE: nobody reads or writes the table meanwhile"
_SHARE = "SHARE: nobody writes the table meanwhile"
_VOLATILE = re.compile(
    r"\b(random|clock_timestamp|timeofday|gen_random_uuid|uuid_generate_v\w+|uuidv[47]|nextval)\s*\(", re.IGNORECASE
)


@dataclass(frozen=True)
class Hazard:
    """What a rule has to say about an operation."""

    rule: str
    risk: str
    lock: str
    instead: str


def hazards(
    operation: ops.MigrateOperation, dialect: str, *, new_tables: set[str], autocommits: bool
) -> Iterator[Hazard]:
    """Yield what is dangerous about an operation.

    Args:
        operation: The operation.
        dialect: Name of the database's dialect.
        new_tables: Tables that the same revision has created; nobody uses them yet.
        autocommits: Whether the operation runs outside a transaction.
    """
    if getattr(operation, "table_name", getattr(operation, "source_table", None)) in new_tables:
        return
    is_postgres = dialect == "postgresql"
    match operation:
        case ops.DropTableOp():
            yield Hazard(
                "drop-table",
                "Replicas of the old version fail as soon as they use it.",
                _lock(is_postgres, _EXCLUSIVE),
                "Deploy the code that does not use it first; drop it in a later release.",
            )
        case ops.DropColumnOp():
            yield Hazard(
                "drop-column",
                "Replicas of the old version still select and insert it, and fail.",
                _lock(is_postgres, _EXCLUSIVE),
                "Take it out of the model (deferred or excluded) and deploy; drop it in a later release.",
            )
        case ops.RenameTableOp():
            yield Hazard(
                "rename-table",
                "Replicas of the old version use the old name, and fail.",
                _lock(is_postgres, _EXCLUSIVE),
                "Create the new table and write to both, backfill, move the readers, drop the old one; "
                "or leave a view of the old name.",
            )
        case ops.AlterColumnOp():
            yield from _alter(operation, is_postgres=is_postgres)
        case ops.AddColumnOp():
            yield from _add(operation, is_postgres=is_postgres)
        case ops.CreateIndexOp() if is_postgres:
            yield from _index(
                concurrently=bool(operation.kw.get("postgresql_concurrently")), autocommits=autocommits, verb="create"
            )
        case ops.DropIndexOp() if is_postgres:
            yield from _index(
                concurrently=bool(operation.kw.get("postgresql_concurrently")), autocommits=autocommits, verb="drop"
            )
        case ops.CreateForeignKeyOp() if is_postgres and not operation.kw.get("postgresql_not_valid"):
            yield Hazard(
                "foreign-key-validates",
                "All rows are checked while both tables are locked.",
                "SHARE ROW EXCLUSIVE on both tables: nobody writes them meanwhile",
                "Add it with postgresql_not_valid=True, then "
                "op.execute('ALTER TABLE ... VALIDATE CONSTRAINT ...') in the next revision.",
            )
        case ops.CreateCheckConstraintOp() if is_postgres and not operation.kw.get("postgresql_not_valid"):
            yield Hazard(
                "check-validates",
                "All rows are checked while the table is locked.",
                _EXCLUSIVE,
                "Add it with postgresql_not_valid=True, then VALIDATE CONSTRAINT in the next revision.",
            )
        case ops.CreateUniqueConstraintOp() if is_postgres:
            yield Hazard(
                "unique-builds-index",
                "The index is built while the table is locked.",
                _EXCLUSIVE,
                "Create a unique index concurrently, then ALTER TABLE ... ADD CONSTRAINT ... UNIQUE USING INDEX ....",
            )
        case ops.CreatePrimaryKeyOp():
            yield Hazard(
                "primary-key-change",
                "The index is built and every row checked while the table is locked.",
                _lock(is_postgres, _EXCLUSIVE),
                "Create a unique index concurrently, then ADD CONSTRAINT ... PRIMARY KEY USING INDEX ....",
            )
        case _:
            return


def _alter(operation: ops.AlterColumnOp, *, is_postgres: bool) -> Iterator[Hazard]:
    if operation.modify_name is not None:
        yield Hazard(
            "rename-column",
            "Replicas of the old version use the old name, and fail.",
            _lock(is_postgres, _EXCLUSIVE),
            "Add the new column and write to both, backfill, move the readers, drop the old one in a later release.",
        )
    if operation.modify_type is not None and not _is_free(operation, is_postgres=is_postgres):
        yield Hazard(
            "type-change",
            "The table is rewritten, and its indexes with it.",
            _EXCLUSIVE if is_postgres else "writes are blocked while the table is copied",
            "Add a column of the new type and write to both, backfill, move the readers, drop the old one.",
        )
    if operation.modify_nullable is False:
        yield Hazard(
            "set-not-null",
            "All rows are read while the table is locked, and a NULL makes it fail.",
            _lock(is_postgres, _EXCLUSIVE),
            "Backfill; add CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in the next revision; "
            "then SET NOT NULL, which then reads nothing, and drop the CHECK.",
        )


def _add(operation: ops.AddColumnOp, *, is_postgres: bool) -> Iterator[Hazard]:
    column = operation.column
    default = column.server_default
    if not column.nullable and default is None and column.computed is None and column.identity is None:
        yield Hazard(
            "not-null-without-default",
            "It fails on a table with rows, and inserts of the old version fail afterwards.",
            "",
            "Add it nullable (or with a server_default), deploy the code that fills it, backfill, then forbid NULL.",
        )
    text = str(getattr(default, "arg", "")) if default is not None else ""
    if is_postgres and (_VOLATILE.search(text) or (column.computed is not None and column.computed.persisted)):
        yield Hazard(
            "volatile-default",
            "Every row is rewritten to hold its own value.",
            _EXCLUSIVE,
            "Add the column without it, set the default in a second statement, and backfill the old rows.",
        )


def _index(*, concurrently: bool, autocommits: bool, verb: str) -> Iterator[Hazard]:
    if not concurrently:
        lock = _SHARE if verb == "create" else _EXCLUSIVE
        risk = (
            "Writes wait until the index is built."
            if verb == "create"
            else "Readers and writers wait for the lock, and everybody behind it."
        )
        yield Hazard(
            f"{verb}-index-not-concurrently",
            risk,
            lock,
            f"with op.get_context().autocommit_block(): op.{verb}_index(..., postgresql_concurrently=True)",
        )
    elif not autocommits:
        yield Hazard(
            "concurrently-in-transaction",
            "PostgreSQL refuses it inside a transaction, so the revision fails.",
            "",
            "Put it into `with op.get_context().autocommit_block():`.",
        )


def _is_free(operation: ops.AlterColumnOp, *, is_postgres: bool) -> bool:
    """Tell whether PostgreSQL changes the type without touching the rows: longer or unlimited text."""
    old, new = operation.existing_type, operation.modify_type
    if not is_postgres or old is None or not isinstance(old, String) or not isinstance(new, (String, Text)):
        return False
    return new.length is None or (old.length is not None and old.length <= new.length)


def _lock(is_postgres: bool, lock: str) -> str:
    return lock if is_postgres else ""
