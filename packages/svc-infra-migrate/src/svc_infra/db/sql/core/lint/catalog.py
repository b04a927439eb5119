"""What each rule says: the risk, the lock, and the safe sequence.

Locks of PostgreSQL: https://www.postgresql.org/docs/current/sql-altertable.html and
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES . Online DDL of MySQL and MariaDB:
https://dev.mysql.com/doc/refman/8.4/en/innodb-online-ddl-operations.html .
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RULES", "Rule", "rule_table"]

_EXCLUSIVE = "ACCESS EXCLUSIVE: nobody reads or writes the table meanwhile"
_SHARE = "SHARE: nobody writes the table meanwhile"
_COPIED = "writes are blocked while the table is copied"
_AUTOCOMMIT = "with op.get_context().autocommit_block():"


@dataclass(frozen=True)
class Rule:
    """A rule of the lint.

    Attributes:
        risk: What happens to the service meanwhile.
        lock: The lock that PostgreSQL takes, or empty.
        instead: The safe sequence.
        other_lock: The lock of other databases, or empty.
    """

    risk: str
    lock: str
    instead: str
    other_lock: str = ""

    def lock_on(self, dialect: str) -> str:
        """Return the lock that a database takes."""
        return self.lock if dialect == "postgresql" else self.other_lock


RULES: dict[str, Rule] = {
    "drop-table": Rule(
        "Replicas of the old version fail as soon as they use it.",
        _EXCLUSIVE,
        "Deploy the code that does not use it first; drop it in a later release.",
    ),
    "drop-column": Rule(
        "Replicas of the old version still select and insert it, and fail.",
        _EXCLUSIVE,
        "Take it out of the model (deferred or excluded) and deploy; drop it in a later release.",
    ),
    "drop-schema": Rule(
        "Replicas of the old version fail as soon as they use a table of it.",
        _EXCLUSIVE,
        "Deploy the code that does not use it first; drop it in a later release.",
    ),
    "rename-table": Rule(
        "Replicas of the old version use the old name, and fail.",
        _EXCLUSIVE,
        "Create the new table and write to both, backfill, move the readers, drop the old one; "
        "or leave a view of the old name.",
    ),
    "rename-column": Rule(
        "Replicas of the old version use the old name, and fail.",
        _EXCLUSIVE,
        "Add the new column and write to both, backfill, move the readers, drop the old one in a later release.",
    ),
    "type-change": Rule(
        "The table is rewritten, and its indexes with it.",
        _EXCLUSIVE,
        "Add a column of the new type and write to both, backfill, move the readers, drop the old one.",
        _COPIED,
    ),
    "set-not-null": Rule(
        "All rows are read while the table is locked, and a NULL makes it fail.",
        _EXCLUSIVE,
        "Backfill; add CHECK (column IS NOT NULL) NOT VALID; VALIDATE it in the next revision; "
        "then SET NOT NULL, which then reads nothing, and drop the CHECK.",
        _COPIED,
    ),
    "not-null-without-default": Rule(
        "It fails on a table with rows, and inserts of the old version fail afterwards.",
        "",
        "Add it nullable (or with a server_default), deploy the code that fills it, backfill, then forbid NULL.",
    ),
    "volatile-default": Rule(
        "Every row is rewritten to hold its own value.",
        _EXCLUSIVE,
        "Add the column without it, set the default in a second statement, and backfill the old rows.",
    ),
    "numbered-column": Rule(
        "Every row is rewritten to be given its number.",
        _EXCLUSIVE,
        "Create a new table with the column, copy the rows in batches while writing to both, and change over.",
        _COPIED,
    ),
    "json-column": Rule(
        "json has no equality, so that SELECT DISTINCT, UNION and GROUP BY on the table fail.",
        "",
        "Use jsonb: sa.dialects.postgresql.JSONB.",
    ),
    "create-index-not-concurrently": Rule(
        "Writes wait until the index is built.",
        _SHARE,
        f"{_AUTOCOMMIT} op.create_index(..., postgresql_concurrently=True)",
    ),
    "drop-index-not-concurrently": Rule(
        "Readers and writers wait for the lock, and everybody behind it.",
        _EXCLUSIVE,
        f"{_AUTOCOMMIT} op.drop_index(..., postgresql_concurrently=True)",
    ),
    "reindex-not-concurrently": Rule(
        "Writes wait until the index is built, and so do readers that would use it.",
        "ACCESS EXCLUSIVE on the index and SHARE on its table",
        f"{_AUTOCOMMIT} op.execute('REINDEX INDEX CONCURRENTLY ...')",
    ),
    "concurrently-in-transaction": Rule(
        "PostgreSQL refuses it inside a transaction, so the revision fails.",
        "",
        f"Put it into `{_AUTOCOMMIT}`.",
    ),
    "foreign-key-validates": Rule(
        "All rows are checked while both tables are locked.",
        "SHARE ROW EXCLUSIVE on both tables: nobody writes them meanwhile",
        "Add it with postgresql_not_valid=True, then "
        "op.execute('ALTER TABLE ... VALIDATE CONSTRAINT ...') in the next revision. "
        "On MySQL and MariaDB use an online schema change, or a quiet hour.",
        _COPIED,
    ),
    "check-validates": Rule(
        "All rows are checked while the table is locked.",
        _EXCLUSIVE,
        "Add it with postgresql_not_valid=True, then VALIDATE CONSTRAINT in the next revision.",
    ),
    "exclusion-builds-index": Rule(
        "The index is built and all rows are compared while the table is locked.",
        _EXCLUSIVE,
        "There is no way without the lock: do it while the table is small, or in a quiet hour.",
    ),
    "validate-with-constraint": Rule(
        "The lock of ADD CONSTRAINT is held while all rows are read, as if NOT VALID were not there.",
        _EXCLUSIVE,
        "VALIDATE CONSTRAINT in the next revision: each revision is a transaction of its own.",
    ),
    "unique-builds-index": Rule(
        "The index is built while the table is locked, and rows that repeat a value make it fail.",
        _EXCLUSIVE,
        "Create a unique index concurrently, then ALTER TABLE ... ADD CONSTRAINT ... UNIQUE USING INDEX ....",
    ),
    "unique-fails-on-duplicates": Rule(
        "Rows that repeat a value make it fail, in the middle of a deployment.",
        "",
        "Look for duplicates first and clean them up in a revision before; let the code refuse new ones meanwhile.",
    ),
    "primary-key-change": Rule(
        "The index is built and every row checked while the table is locked.",
        _EXCLUSIVE,
        "Create a unique index concurrently, then ADD CONSTRAINT ... PRIMARY KEY USING INDEX ....",
        _COPIED,
    ),
    "table-rewrite": Rule(
        "The whole table is written anew while it is locked.",
        _EXCLUSIVE,
        "Use pg_repack, or copy the rows into a new table in batches; not in a revision.",
        _COPIED,
    ),
    "lock-table": Rule(
        "Everybody waits until the transaction ends.",
        "the one that it names, ACCESS EXCLUSIVE by default",
        "Lock the rows that you change (SELECT ... FOR UPDATE), or change them in batches.",
        "the table, for everybody",
    ),
    "truncate": Rule(
        "The data is lost, and replicas of the old version read an empty table.",
        _EXCLUSIVE,
        "Delete in batches with svc_infra.db.sql.core.backfill's transactions, after a dump.",
    ),
    "refresh-not-concurrently": Rule(
        "Readers of the view wait until it is filled.",
        "ACCESS EXCLUSIVE on the view",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index on the view.",
    ),
    "whole-table-write": Rule(
        "Every row stays locked until the revision ends, and the log grows by the size of the table.",
        "ROW EXCLUSIVE, and the lock of every row",
        "svc_infra.db.sql.core.backfill, which writes in small batches and can go on after an interruption.",
        "the lock of every row",
    ),
    "not-linted": Rule(
        "It needs a database to run, so the rest of the revision was not looked at.",
        "",
        "Check it by hand, and say so in a suppression.",
    ),
}
"""The rules by name, as a suppression names them."""


def rule_table() -> str:
    """Return the rules as a table in Markdown, for the documentation."""
    lines = ["| Rule | Risk | Lock on PostgreSQL | Safe sequence |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {rule.risk} | {rule.lock} | {rule.instead} |" for name, rule in RULES.items()]
    return "\n".join(lines) + "\n"
