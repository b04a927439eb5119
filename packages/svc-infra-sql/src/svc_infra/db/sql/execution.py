"""One operation of a repository on a session or a connection, in SQLAlchemy's synchronous half.

The async half enters it once per operation, however many statements that sends, because each crossing costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Executable, Result
from sqlalchemy.orm import Session

from svc_infra.db.sql.capabilities import Capabilities, capabilities_of
from svc_infra.db.sql.direct import count_directly, run_directly
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.filter_scope import FilterScope
from svc_infra.db.sql.lone import LoneConnection
from svc_infra.db.sql.plan import RepositoryPlan
from svc_infra.db.sql.search import search_pattern
from svc_infra.db.sql.statements import Selection, Statements
from svc_infra.db.sql.uuid7 import uuid7
from svc_infra.db.sql.values import ValueChecker
from svc_infra.db.sql.visibility import scope_parameter

__all__ = ["Execution", "counted", "fetched"]

M = TypeVar("M")


class Execution(Generic[M]):
    """Runs statements over one model.

    Args:
        target: The session, whose pending changes are flushed first if it has autoflush, or a bare connection.
        plan: What is known about the model.
        scope: The values of the scope fields.

    Attributes:
        plan: What is known about the model.
        session: The session; None on a bare connection.
        reads_directly: Whether rows are read past the ORM.
        dialect_name: Name of the database's dialect.
        checker: The checks of values.
    """

    __slots__ = (
        "_connection", "_scope", "checker", "dialect_name", "plan", "reads_directly", "session",
    )  # fmt: skip

    def __init__(
        self, target: Session | Connection | LoneConnection, plan: RepositoryPlan[M], scope: Mapping[str, object]
    ) -> None:
        self.plan: RepositoryPlan[M] = plan
        self._scope = scope
        self.session: Session | None
        self.reads_directly: bool
        self._connection: Connection | LoneConnection | None
        fields = plan.fields
        if isinstance(target, Session):
            self.session, self._connection = target, None
            self.reads_directly = fields.reads_directly(target)
            if self.reads_directly and target.autoflush:
                target.flush()
            self.dialect_name: str = target.get_bind(mapper=fields.mapper).dialect.name
        else:
            self.session, self._connection = None, target
            self.reads_directly = fields.reads_directly(None)
            self.dialect_name = target.dialect.name
        self.checker: ValueChecker = plan.checker(self.dialect_name)

    @property
    def writes_directly(self) -> bool:
        """Whether rows are written past the unit of work."""
        return self.reads_directly and self.plan.fields.writes_directly(self.session)

    @property
    def capabilities(self) -> Capabilities:
        """Those of the database."""
        return capabilities_of(self.dialect_name)

    @property
    def statements(self) -> Statements[M]:
        """The statements over the table."""
        return self.plan.statements(self.dialect_name)

    @property
    def orm_statements(self) -> Statements[M]:
        """The statements over the mapped class."""
        return self.plan.statements(self.dialect_name, orm=True)

    @property
    def orm_session(self) -> Session:
        """The session, where only a session will do.

        Raises:
            TypeError: On a bare connection.
        """
        if self.session is None:
            raise TypeError(
                f"objects of {self.plan.fields.model.__name__} need an AsyncSession, not a connection, "
                "as the ORM must handle them"
            )
        return self.session

    def scope_parameters(self) -> dict[str, Any]:
        """The bound parameters that every statement carries.

        Raises:
            InvalidValue: When a value of the scope does not fit its column.
        """
        return {scope_parameter(name): self.checker.value(name, value) for name, value in self._scope.items()}

    def scope_values(self) -> dict[str, Any]:
        """The checked values of the scope fields."""
        return {name: self.checker.value(name, value) for name, value in self._scope.items()}

    def created(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The checked values of a row to insert: the data, the scope's values, and a key when nothing else gives one.

        Raises:
            InvalidValue: When a value does not fit its field.
            NotNullViolation: When a field that may not be NULL is given None and has no default.
        """
        values = self.checker.values({**data, **self._scope}, creating=True)
        generated = self.plan.fields.generated_key
        if generated is not None and values.get(generated) is None:
            values[generated] = self.checker.value(generated, str(uuid7()))
        return values

    def by_id(self, id: object) -> dict[str, Any]:  # noqa: A002
        """The parameters of a statement about the row with an id."""
        parameters = self.plan.id_parameters(self.checker, id)
        if self._scope:
            parameters.update(self.scope_parameters())
        return parameters

    def by_selection(self, selection: Selection, q: str | None = None) -> dict[str, Any]:
        """The parameters of a statement about the rows of a selection."""
        parameters = self.scope_parameters() if self._scope else {}
        if selection.where:
            scope = FilterScope(
                self.plan.fields,
                self.plan.visibility,
                checker=lambda fields: self.plan.checker(self.dialect_name, fields),
            )
            selection.where.bind(scope)
            self._check_number(scope.parameters.values())
            parameters.update(scope.parameters)
        if selection.searched and q is not None:
            parameters["search_pattern"] = search_pattern(q)
        return parameters

    def _check_number(self, values: Iterable[object]) -> None:
        """Check that lists, each value of which is a parameter where there are no arrays, are not too long.

        Raises:
            InvalidValue: When they are.
        """
        if self.capabilities.has_arrays:
            return
        number, most = sum(len(value) for value in values if isinstance(value, list)), self.capabilities.most_listed
        if number > most:
            raise InvalidValue(f"lists of {number} values are too long for {self.dialect_name}, which takes {most}")

    def connect(self, statement: Executable) -> Connection:
        """The connection for a statement; a session may choose it by model and statement."""
        if self._connection is not None:
            # A LoneConnection has what the methods use that are one statement, and refuses the rest.
            return cast("Connection", self._connection)
        mapper = self.plan.fields.mapper
        return self.orm_session.connection(bind_arguments={"mapper": mapper, "clause": statement})

    def run(
        self, statement: Executable, parameters: Mapping[str, object] | Sequence[Mapping[str, object]]
    ) -> CursorResult[Any]:
        """Run a statement over the table."""
        return self.connect(statement).execute(statement, parameters)

    def fetch(self, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run a statement over the table that returns rows, on the driver itself where that is the same."""
        return fetched(self.connect(statement), statement, parameters)

    def run_orm(self, statement: Executable, parameters: Mapping[str, object], **options: Any) -> Result[Any]:
        """Run a statement over the mapped class through the session, so that its listeners see it."""
        if self.session is None:
            return self.connect(statement).execute(statement, parameters, execution_options=options)
        return self.orm_session.execute(statement, parameters, execution_options=options)


def fetched(connection: Connection, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Any]:
    """The rows of a statement that returns some, run on the driver itself where that is the same.

    Of a row only the values in their order are promised.
    """
    if isinstance(connection, LoneConnection):
        return connection.fetch(statement, parameters)
    rows = run_directly(connection, statement, parameters)
    return connection.execute(statement, parameters).all() if rows is None else rows


def counted(connection: Connection, statement: Executable, parameters: Mapping[str, Any]) -> int:
    """How many rows a statement wrote that returns none, run on the driver itself where that is the same."""
    if isinstance(connection, LoneConnection):
        return connection.count(statement, parameters)
    written = count_directly(connection, statement, parameters)
    return connection.execute(statement, parameters).rowcount if written is None else written
