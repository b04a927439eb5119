"""Which rules a statement breaks that a revision writes itself: SQL in `op.execute()`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

__all__ = ["broken_by_sql", "statements_of"]

_NAME = r"(?:ONLY\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?P<table>[\w.\"`\[\]]+)"
_ALTER = rf"ALTER\s+TABLE\s+{_NAME}\s+.*?"
# What DROP takes in ALTER TABLE beside a column, whose word COLUMN may be left out.
_NO_COLUMN = "(?:CONSTRAINT|DEFAULT|NOT|IDENTITY|EXPRESSION|INDEX|KEY|PRIMARY|FOREIGN|CHECK|PARTITION)\\b"
_CREATE_INDEX = r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+"
_ADD = rf"{_ALTER}\bADD\s+(?:CONSTRAINT\s+\S+\s+)?"
_ANY: frozenset[str] = frozenset()
_POSTGRES, _MYSQL = frozenset({"postgresql"}), frozenset({"mysql", "mariadb"})

# Each: the rule, the statement's beginning, the databases (all when empty).
_PATTERNS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("drop-table", rf"DROP\s+TABLE\s+{_NAME}", _ANY),
    ("drop-schema", r"DROP\s+(?:SCHEMA|DATABASE)\b", _ANY),
    ("truncate", rf"TRUNCATE\s+(?:TABLE\s+)?{_NAME}", _ANY),
    ("drop-column", rf"{_ALTER}\bDROP\s+(?:COLUMN\b|(?!{_NO_COLUMN})\w)", _ANY),
    ("rename-table", rf"{_ALTER}\bRENAME\s+TO\b", _ANY),
    ("rename-table", r"RENAME\s+TABLE\b", _MYSQL),
    ("rename-column", rf"{_ALTER}\bRENAME\s+(?!TO\b|CONSTRAINT\b|INDEX\b|KEY\b)", _ANY),
    ("rename-column", rf"{_ALTER}\bCHANGE\s+(?:COLUMN\s+)?(\S+)\s+(?!\2\s)", _MYSQL),
    ("type-change", rf"{_ALTER}\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b", _POSTGRES),
    ("type-change", rf"{_ALTER}\b(?:MODIFY|CHANGE|CONVERT\s+TO\s+CHARACTER\s+SET)\b", _MYSQL),
    ("set-not-null", rf"{_ALTER}\bSET\s+NOT\s+NULL\b", _POSTGRES),
    ("create-index-not-concurrently", rf"{_CREATE_INDEX}(?!CONCURRENTLY\b).*?\bON\s+{_NAME}", _POSTGRES),
    ("drop-index-not-concurrently", r"DROP\s+INDEX\s+(?!CONCURRENTLY\b)", _POSTGRES),
    ("reindex-not-concurrently", r"REINDEX\s+(?!.*\bCONCURRENTLY\b)", _POSTGRES),
    ("concurrently-in-transaction", r"(?:CREATE|DROP|REINDEX)\b.*\bINDEX\s+CONCURRENTLY\b", _POSTGRES),
    ("foreign-key-validates", rf"{_ADD}FOREIGN\s+KEY\b(?!.*\bNOT\s+VALID\b)", _POSTGRES | _MYSQL),
    ("check-validates", rf"{_ADD}CHECK\b(?!.*\bNOT\s+VALID\b)", _POSTGRES),
    ("unique-builds-index", rf"{_ADD}UNIQUE\b(?!\s+USING\s+INDEX\b)", _POSTGRES),
    ("primary-key-change", rf"{_ADD}PRIMARY\s+KEY\b(?!\s+USING\s+INDEX\b)", _ANY),
    ("exclusion-builds-index", rf"{_ADD}EXCLUDE\b", _POSTGRES),
    ("table-rewrite", r"VACUUM\s+(?:\(.*\bFULL\b|FULL\b)|CLUSTER\s", _POSTGRES),
    ("table-rewrite", rf"{_ALTER}\bSET\s+(?:LOGGED|UNLOGGED|TABLESPACE|ACCESS\s+METHOD)\b", _POSTGRES),
    ("table-rewrite", r"OPTIMIZE\s+TABLE\b", _MYSQL),
    ("lock-table", r"LOCK\s+(?:TABLES?\b|\w)", _ANY),
    ("refresh-not-concurrently", r"REFRESH\s+MATERIALIZED\s+VIEW\s+(?!CONCURRENTLY\b)", _POSTGRES),
    ("whole-table-write", rf"(?:UPDATE|DELETE\s+FROM)\s+{_NAME}(?!.*\bWHERE\b)", _ANY),
)  # fmt: skip
_COMPILED = tuple(
    (rule, re.compile(pattern, re.IGNORECASE | re.DOTALL), dialects) for rule, pattern, dialects in _PATTERNS
)
_VALIDATE = re.compile(r"ALTER\s+TABLE\s+.*\bVALIDATE\s+CONSTRAINT\s+(\S+)", re.IGNORECASE | re.DOTALL)
_NOT_VALID = re.compile(r"ALTER\s+TABLE\s+.*\bADD\s+CONSTRAINT\s+(\S+).*\bNOT\s+VALID\b", re.IGNORECASE | re.DOTALL)
_CREATES = re.compile(rf"CREATE\s+(?:TEMP\w*\s+|UNLOGGED\s+)?TABLE\s+{_NAME}", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_QUOTED = re.compile(r"(\$\w*\$).*?\1|'(?:[^']|'')*'", re.DOTALL)


def broken_by_sql(
    sql: str, dialect: str, new_tables: set[str], unvalidated: set[str], *, autocommits: bool
) -> Iterator[str]:
    """Yield the names of the rules that statements break.

    Args:
        sql: One statement or several.
        dialect: Name of the database's dialect.
        new_tables: Tables that the revision has created; those that the statements create are added.
        unvalidated: Constraints that the revision has added as NOT VALID; those of the statements are added.
        autocommits: Whether they run outside a transaction.
    """
    for statement in statements_of(sql):
        if (created := _CREATES.match(statement)) is not None:
            new_tables.add(_plain(created["table"]))
        if (added := _NOT_VALID.match(statement)) is not None and not autocommits:
            unvalidated.add(_plain(added[1]))
        validated = _VALIDATE.match(statement)
        if validated is not None and _plain(validated[1]) in unvalidated and not autocommits:
            yield "validate-with-constraint"
        yield from _broken_by(statement, dialect, new_tables, autocommits=autocommits)


def _broken_by(statement: str, dialect: str, new_tables: Collection[str], *, autocommits: bool) -> Iterator[str]:
    for rule, pattern, dialects in _COMPILED:
        if dialects and dialect not in dialects:
            continue
        found = pattern.match(statement)
        if found is None or (rule == "concurrently-in-transaction" and autocommits):
            continue
        if _plain(found.groupdict().get("table") or "") not in new_tables:
            yield rule


def statements_of(sql: str) -> list[str]:
    """Split SQL at its semicolons, without comments and with the contents of texts and function bodies taken out.

    >>> statements_of("SELECT ';' -- one; two" + chr(10) + "; DROP TABLE t")
    ["SELECT ''", 'DROP TABLE t']
    """
    bare = _QUOTED.sub("''", _COMMENT.sub(" ", sql))
    return [" ".join(part.split()) for part in bare.split(";") if part.strip()]


def _plain(name: str) -> str:
    return name.rpartition(".")[2].strip('"`[]')
