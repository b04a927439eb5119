"""Writes through the session's unit of work, for models whose constructor, validators or events need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.plan import RepositoryPlan

__all__ = ["add", "change", "remove"]

M = TypeVar("M")


def add(session: Session, plan: RepositoryPlan[M], values: Mapping[str, Any]) -> M:
    """Make an object of the values, flush it, and load what the database filled in."""
    entity = plan.fields.model(**values)
    session.add(entity)
    session.flush()
    _complete(session, plan, entity)
    return entity


def change(
    execution: Execution[M], plan: RepositoryPlan[M], parameters: Mapping[str, Any], values: Mapping[str, Any]
) -> M | None:
    """Set the values on the visible object with an id and flush it; None when there is none."""
    session = execution.orm_session
    entity = _find(execution, plan, parameters)
    if entity is None:
        return None
    for name, value in values.items():
        setattr(entity, name, value)
    session.flush()
    _complete(session, plan, entity)
    return entity


def remove(execution: Execution[M], plan: RepositoryPlan[M], parameters: Mapping[str, Any]) -> bool:
    """Delete the visible object with an id, with what its relationships cascade to; False when there is none."""
    session = execution.orm_session
    entity = _find(execution, plan, parameters)
    if entity is None:
        return False
    session.delete(entity)
    session.flush()
    return True


def _find(execution: Execution[M], plan: RepositoryPlan[M], parameters: Mapping[str, Any]) -> M | None:
    statement = plan.orm_statements.select_one(None, "exclude")
    result = execution.run_orm(statement, parameters)
    entity: M | None = result.scalars().unique().one_or_none()
    return entity


def _complete(session: Session, plan: RepositoryPlan[M], entity: M) -> None:
    missing = instance_state(entity).unloaded & set(plan.fields.names)
    if missing:
        session.refresh(entity, sorted(missing))
