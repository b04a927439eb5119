"""One operation of a repository on a session or a connection, in SQLAlchemy's synchronous half.

The async half enters it once per operation, however many statements that sends, because each crossing costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Result
from sqlalchemy.orm import Session

from svc_infra.db.sql.fields import ModelFields

__all__ = ["Execution"]

M = TypeVar("M")


class Execution(Generic[M]):
    """Runs statements over one model.

    Args:
        target: The session, whose pending changes are flushed first if it has autoflush, or a bare connection.
        fields: The model's fields.

    Attributes:
        session: The session; None on a bare connection.
        reads_directly: Whether rows are read past the ORM.
        writes_directly: Whether rows are written past the unit of work.
    """

    __slots__ = ("_connection", "_fields", "reads_directly", "session", "writes_directly")

    def __init__(self, target: Session | Connection, fields: ModelFields[M]) -> None:
        self._fields = fields
        self.session: Session | None
        if isinstance(target, Session):
            self.session, self._connection = target, None
            self.reads_directly = fields.reads_directly(target)
            self.writes_directly = self.reads_directly and fields.writes_directly(target)
            if self.reads_directly and target.autoflush:
                target.flush()
        else:
            self.session, self._connection = None, target
            self.reads_directly = self.writes_directly = True

    @property
    def orm_session(self) -> Session:
        """The session, where only a session will do.

        Raises:
            TypeError: On a bare connection.
        """
        if self.session is None:
            raise TypeError(f"objects of {self._fields.model.__name__} need an AsyncSession, not a connection")
        return self.session

    def connect(self, statement: Executable) -> Connection:
        """The connection for a statement; a session may choose it by model and statement."""
        if self._connection is not None:
            return self._connection
        return self.orm_session.connection(bind_arguments={"mapper": self._fields.mapper, "clause": statement})

    def run(
        self, statement: Executable, parameters: Mapping[str, object] | Sequence[Mapping[str, object]]
    ) -> CursorResult[Any]:
        """Run a statement over the table."""
        return self.connect(statement).execute(statement, parameters)

    def run_orm(self, statement: Executable, parameters: Mapping[str, object], **options: Any) -> Result[Any]:
        """Run a statement over the mapped class through the session, so that its listeners see it."""
        return self.orm_session.execute(statement, parameters, execution_options=options)
