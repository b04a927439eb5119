"""Rows to objects of the session, without SQLAlchemy's loading machinery where a row is an object.

It does for plain models (see `ModelFields.is_plain`) what the ORM's loading does, at a third of the cost: an object
that the session already holds is the one returned, a new one enters the identity map as persistent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from svc_infra.db.sql.fields import ModelFields

__all__ = ["EntityLoader"]

M = TypeVar("M")


class EntityLoader(Generic[M]):
    """Makes objects from rows that hold every field of the model in order.

    Args:
        fields: The fields of a model that is plain.
    """

    def __init__(self, fields: ModelFields[M]) -> None:
        self._fields = fields
        self._mapper = fields.mapper
        self._manager = fields.mapper.class_manager
        self._names = fields.names
        self._identity_class = fields.mapper.class_
        self._positions = tuple(fields.names.index(name) for name in fields.primary_key)

    def load(self, session: Session, rows: Iterable[Sequence[Any]], *, refresh: bool = False) -> list[M]:
        """The objects of the rows, in their order.

        Args:
            session: The session that they belong to.
            rows: Rows with every field in the order of `ModelFields.names`.
            refresh: Whether an object that the session already holds takes the row's values; it keeps its own when not,
                as after any SELECT of the ORM, but for attributes that are expired.
        """
        identity_map, names, positions = session.identity_map, self._names, self._positions
        new_instance, session_id = self._manager.new_instance, session.hash_key
        single = positions[0] if len(positions) == 1 else None
        found: list[M] = []
        for row in rows:
            key = (row[single],) if single is not None else tuple(row[position] for position in positions)
            identity = (self._identity_class, key, None)
            entity: Any = identity_map.get(identity)
            if entity is None:
                entity = new_instance()
                state = instance_state(entity)
                state.key = identity
                state.session_id = session_id
                entity.__dict__.update(zip(names, row))  # noqa: B905 (checking the lengths costs a tenth of it all)
                # As the ORM's own loading does of what it did not find there.
                identity_map._add_unpresent(state, identity)  # noqa: SLF001
            else:
                self._update(entity, row, refresh=refresh)
            found.append(entity)
        return found

    def _update(self, entity: Any, row: Sequence[Any], *, refresh: bool) -> None:
        state = instance_state(entity)
        known = state.dict
        for name, value in zip(self._names, row, strict=True):
            if refresh or name not in known:
                set_committed_value(entity, name, value)

    def held(self, session: Session, key: Sequence[object]) -> M | None:
        """The object with the primary key that the session holds, or None."""
        return session.identity_map.get((self._identity_class, tuple(key), None))
