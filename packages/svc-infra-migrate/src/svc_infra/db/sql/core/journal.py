"""What a revision has done so far, where the database can't roll it back and the process may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    update,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["JOURNAL_TABLE", "Journal"]

JOURNAL_TABLE = "svc_infra_migration_journal"
"""The table that is there while a revision runs, and stays when one was cut off."""

_JOURNAL = Table(
    JOURNAL_TABLE,
    MetaData(),
    Column("revision", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False),
    Column("done", Boolean, nullable=False),
)


class Journal:
    """Writes each DDL statement down before and after it runs, on a connection of its own.

    Attributes:
        earlier: What an earlier run of the present revision had done when it was cut off, a line for each statement.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._revision: str | None = None
        self._position = 0
        self.earlier: tuple[str, ...] = ()

    @classmethod
    @contextmanager
    def open(cls, engine: Engine) -> Iterator[Journal]:
        """Create the table, and drop it at the end unless a revision was cut off."""
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            _JOURNAL.create(connection, checkfirst=True)
            try:
                yield cls(connection)
            finally:
                if (
                    inspect(connection).has_table(JOURNAL_TABLE)
                    and connection.execute(select(_JOURNAL)).first() is None
                ):
                    _JOURNAL.drop(connection)

    def begin(self, revision: str) -> None:
        """Read what an earlier run of the revision did, and begin behind it."""
        rows = self._connection.execute(
            select(_JOURNAL).where(_JOURNAL.c.revision == revision).order_by(_JOURNAL.c.position)
        ).all()
        self._revision, self._position = revision, rows[-1].position + 1 if rows else 0
        self.earlier = tuple(row.statement if row.done else f"{row.statement}  (perhaps: cut off here)" for row in rows)

    def starts(self, statement: str) -> None:
        """Write down that a statement is about to run; between revisions there is nothing to write down."""
        if self._revision is None:
            return
        self._connection.execute(
            insert(_JOURNAL).values(
                revision=self._revision, position=self._position, statement=statement.strip(), done=False
            )
        )

    def failed(self) -> None:
        """Strike the statement that was started: it had no effect."""
        self._connection.execute(
            delete(_JOURNAL).where(_JOURNAL.c.revision == self._revision, _JOURNAL.c.position == self._position)
        )

    def did(self) -> None:
        """Write down that the statement has run."""
        if self._revision is None:
            return
        self._connection.execute(
            update(_JOURNAL)
            .where(_JOURNAL.c.revision == self._revision, _JOURNAL.c.position == self._position)
            .values(done=True)
        )
        self._position += 1

    def finish(self) -> None:
        """Forget the revision, which is applied or undone completely."""
        self._connection.execute(delete(_JOURNAL).where(_JOURNAL.c.revision == self._revision))
        self._revision, self.earlier = None, ()
