"""The two forms of a repository's results: objects of the model, and rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from sqlalchemy import Result, Row
from sqlalchemy.orm import Session

from svc_infra.db.sql.entities import EntityLoader
from svc_infra.db.sql.fields import ModelFields

if TYPE_CHECKING:
    ResultRow: TypeAlias = Row[*tuple[Any, ...]]
else:
    ResultRow: TypeAlias = Row

__all__ = ["EntityForm", "ResultForm", "ResultRow", "RowForm"]

M = TypeVar("M")
T_co = TypeVar("T_co", covariant=True)


class ResultForm(Protocol[T_co]):
    """How rows of the database become results."""

    @property
    def names(self) -> tuple[str, ...]:
        """The fields to read when rows are read directly."""

    @property
    def orm_names(self) -> tuple[str, ...] | None:
        """The fields to read through the ORM; None reads objects."""

    def from_rows(self, session: Session | None, rows: Iterable[Sequence[Any]], *, refresh: bool) -> Sequence[T_co]:
        """Results of directly read rows that hold the fields `names`."""

    def from_orm(self, result: Result[Any]) -> Sequence[T_co]:
        """Results of a statement that the ORM ran."""


class EntityForm(Generic[M]):
    """Results are objects of the model, held by the session."""

    def __init__(self, fields: ModelFields[M]) -> None:
        self.loader = EntityLoader(fields)
        self.names = fields.names
        self.orm_names: tuple[str, ...] | None = None

    def from_rows(self, session: Session | None, rows: Iterable[Sequence[Any]], *, refresh: bool) -> list[M]:
        """The objects of the rows."""
        if session is None:
            raise TypeError("objects need an AsyncSession, not a connection; use the row form, SqlRepository.rows")
        return self.loader.load(session, rows, refresh=refresh)

    def from_orm(self, result: Result[Any]) -> list[M]:
        """The objects that the ORM loaded."""
        return list(result.scalars().unique())


class RowForm:
    """Results are rows (named tuples) of chosen fields; no object is made and the session holds nothing."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.orm_names: tuple[str, ...] | None = names

    def from_rows(self, session: Session | None, rows: Iterable[Sequence[Any]], *, refresh: bool) -> list[ResultRow]:  # noqa: ARG002
        """The rows themselves."""
        return list(rows)  # type: ignore[arg-type]

    def from_orm(self, result: Result[Any]) -> list[ResultRow]:
        """The rows themselves."""
        return list(result.all())
