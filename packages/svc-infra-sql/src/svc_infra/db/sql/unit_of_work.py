"""Writes through the session's unit of work, for models whose constructor, validators or events need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from svc_infra.db.sql.errors import StaleVersion
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.visibility import Deleted

__all__ = ["add", "add_many", "assign", "change", "remove", "undone_on_error"]

M = TypeVar("M")


def add(execution: Execution[M], values: Mapping[str, Any]) -> M:
    """Make an object of the values, flush it, and load what the database filled in."""
    return add_many(execution, [values])[0]


def add_many(execution: Execution[M], rows: Sequence[Mapping[str, Any]]) -> list[M]:
    """Make an object of each row, flush them together, and load what the database filled in."""
    session = execution.orm_session
    entities = [execution.plan.fields.construct(values) for values in rows]
    session.add_all(entities)
    session.flush()
    for entity in entities:
        _complete(session, execution, entity)
    return entities


def undone_on_error(execution: Execution[M]) -> AbstractContextManager[object]:
    """A block of which nothing is left when it fails, where the database has savepoints.

    It is the session's own kind of savepoint: a flush that fails rolls back to the last of those, past all others.
    """
    return execution.orm_session.begin_nested() if execution.capabilities.has_savepoints else nullcontext()


def change(
    execution: Execution[M],
    parameters: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    version: object = None,
    deleted: Deleted = "exclude",
) -> M | None:
    """Set the values on the object with an id and flush it; None when there is no visible one.

    Raises:
        StaleVersion: When it has another version than the one given.
    """
    entity = _find(execution, parameters, deleted, version)
    if entity is None:
        return None
    assign(execution, entity, values)
    session = execution.orm_session
    session.flush()
    _complete(session, execution, entity)
    return entity


def assign(execution: Execution[M], entity: M, values: Mapping[str, Any]) -> None:
    """Set the values on an object, and count its version up where the ORM does not."""
    for name, value in values.items():
        setattr(entity, name, value)
    counted = execution.plan.version_field
    if counted is not None and execution.plan.fields.mapper.version_id_col is None:
        setattr(entity, counted, getattr(entity, counted) + 1)


def remove(
    execution: Execution[M], parameters: Mapping[str, Any], deleted: Deleted = "exclude", version: object = None
) -> bool:
    """Delete the object with an id, with what its relationships cascade to; False when there is no visible one.

    Raises:
        StaleVersion: When it has another version than the one given.
    """
    entity = _find(execution, parameters, deleted, version)
    if entity is None:
        return False
    session = execution.orm_session
    session.delete(entity)
    session.flush()
    return True


def _find(execution: Execution[M], parameters: Mapping[str, Any], deleted: Deleted, version: object) -> M | None:
    """The object with an id, as it is in the database and locked when it must have a version."""
    guarded = version is not None
    statement = execution.orm_statements.select_one(None, deleted, "update" if guarded else None)
    result = execution.run_orm(statement, parameters, populate_existing=guarded)
    entity: M | None = result.scalars().unique().one_or_none()
    counted = execution.plan.version_field
    if entity is not None and guarded and counted is not None and getattr(entity, counted) != version:
        raise StaleVersion(
            f"{execution.plan.fields.model.__name__} has version {getattr(entity, counted)!r} by now, not {version}; "
            "read it again"
        )
    return entity


def _complete(session: Session, execution: Execution[M], entity: M) -> None:
    missing = instance_state(entity).unloaded & set(execution.plan.fields.names)
    if missing:
        session.refresh(entity, sorted(missing))
