"""What stays of a revision that fails: the statements that the database will not roll back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from svc_infra.db.sql.core.journal import Journal
    from svc_infra.db.sql.core.progress import Progress

__all__ = ["Effects"]

# MySQL and MariaDB commit before and after each of these.
# https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html
_IMPLICIT_COMMIT = re.compile(
    r"\s*(?:ALTER|CREATE(?!\s+TEMPORARY)|DROP(?!\s+TEMPORARY)|RENAME|TRUNCATE|ANALYZE|OPTIMIZE|REPAIR|GRANT|REVOKE|LOCK\s+TABLES)\b",
    re.IGNORECASE,
)
_FOLLOWED_BY = "svc_infra.effects"
_READS = re.compile(r"\s*(?:SELECT|SHOW|SET|PRAGMA|EXPLAIN|DESCRIBE|BEGIN|SAVEPOINT|RELEASE|WITH)\b", re.IGNORECASE)


class Effects:
    """Follows the statements of one revision at a time.

    Attributes:
        progress: What hears of each statement.
        revision: The revision.
        failed: The statement that failed, or None.
    """

    def __init__(self, connection: Connection, progress: Progress, journal: Journal | None = None) -> None:
        self._journal = journal
        self._connection = connection
        self._works: dict[str, str] = {}
        self.progress = progress
        self.revision: str = ""
        self._commits_ddl = connection.dialect.name in {"mysql", "mariadb"}
        self._open: list[str] = []
        self._kept: list[str] = []
        self.failed: str | None = None

    @classmethod
    def of(cls, connection: Connection) -> Effects | None:
        """Return what follows the connection, or None outside a revision."""
        found = connection.info.get(_FOLLOWED_BY)
        return found if isinstance(found, cls) else None

    def begin(self, revision: str) -> None:
        """Forget the revision before."""
        self.revision = revision
        self._open, self._kept, self.failed = [], [], None
        self._works.clear()

    @property
    def kept(self) -> list[str]:
        """Statements, and works on other connections, whose effect stays even when the revision fails now."""
        return [*self._kept, *self._works.values()]

    def keep(self, work: str, text: str) -> None:
        """Remember what a work of the revision has done on a connection of its own, in place of what it did before."""
        self._works[work] = text

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow the statements of the connection."""
        from sqlalchemy import event

        listeners: tuple[tuple[str, Callable[..., None]], ...] = (
            ("before_cursor_execute", self._before),
            ("after_cursor_execute", self._after),
            ("commit", self._committed),
            ("rollback", self._rolled_back),
        )
        for name, listener in listeners:
            event.listen(self._connection, name, listener)
        self._connection.info[_FOLLOWED_BY] = self
        try:
            yield
        finally:
            self._connection.info.pop(_FOLLOWED_BY, None)
            for name, listener in listeners:
                event.remove(self._connection, name, listener)

    def _before(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        self.failed = statement.strip()
        self.progress.statement(statement)
        if self._journal is not None and _IMPLICIT_COMMIT.match(statement):
            self._journal.starts(statement)

    def _after(self, connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        self.failed = None
        if self._journal is not None and _IMPLICIT_COMMIT.match(statement):
            self._journal.did()
        if _READS.match(statement):
            return
        self._open.append(statement.strip())
        autocommits = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if autocommits or (self._commits_ddl and _IMPLICIT_COMMIT.match(statement)):
            self._committed()

    def _committed(self, *_: object) -> None:
        self._kept += self._open
        self._open = []

    def _rolled_back(self, *_: object) -> None:
        self._open = []
