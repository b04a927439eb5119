"""What a mapped class offers: its fields (column attributes), keys and how its rows may be read and written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as dataclass_fields
from functools import cached_property
from typing import Any, Generic, TypeVar

from sqlalchemy import CHAR, JSON, Column, Dialect, Enum, Integer, String, Table, Uuid
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.orm import Mapper, QueryableAttribute, RelationshipDirection, Session

from svc_infra.db.sql.errors import InvalidQuery, UnknownField

__all__ = ["ModelFields"]

M = TypeVar("M")

_LAZY_LOADS = frozenset({"select", "raise", "raise_on_sql", "noload", "dynamic", "write_only", True, False, None})
_LONGEST_NAME = 100


class ModelFields(Generic[M]):
    """The fields of a model, by the names of its column attributes.

    Reading them does not configure SQLAlchemy's mappers, so a repository may be made at import time, before the models
    that this one is related to are imported.

    Attributes:
        model: The mapped class.
        mapper: Its mapper.
        columns: Name of each column attribute to its column.
        names: The names, in the order of the columns.
        primary_key: Names of the primary key's attributes.

    Raises:
        TypeError: When the class is not mapped.
    """

    def __init__(self, model: type[M]) -> None:
        mapper: Mapper[M] | None = sa_inspect(model, raiseerr=False)
        if not isinstance(mapper, Mapper):
            raise TypeError(f"{model!r} is not a mapped class; derive it from ModelBase and give it a __tablename__")
        self.model = model
        self.mapper = mapper
        columns: Mapping[str, object] = dict(mapper.columns.items())
        self.columns: Mapping[str, Column[Any]] = {
            name: column for name, column in columns.items() if isinstance(column, Column)
        }
        self.names: tuple[str, ...] = tuple(self.columns)
        self._by_column: dict[object, str] = {column: name for name, column in reversed(self.columns.items())}
        # Of a joined inheritance the key is the base's column, the attribute's column the subclass's.
        self.primary_key: tuple[str, ...] = tuple(
            mapper.get_property_by_column(column).key for column in mapper.primary_key
        )
        self._relations: dict[str, tuple[QueryableAttribute[Any], ModelFields[Any]]] = {}

    @cached_property
    def writable(self) -> Mapping[str, Column[Any]]:
        """The columns of the fields that data can set: all but those that the database computes."""
        return {name: column for name, column in self.columns.items() if column.computed is None}

    @property
    def table(self) -> Table:
        """The table that the model is mapped to."""
        table = self.mapper.local_table
        if not isinstance(table, Table):
            raise TypeError(f"{self.model.__name__} is mapped to {table!r}, which is no table")
        return table

    def name_of(self, column: object) -> str | None:
        """The field that a column belongs to, or None when it is not one of this model's."""
        return self._by_column.get(column)

    def of_columns(self, names: Collection[str]) -> tuple[str, ...]:
        """The fields whose columns have these names in the database."""
        return tuple(name for name, column in self.columns.items() if column.name in names)

    def column(self, name: str, *, use: str = "used") -> Column[Any]:
        """The column of a field.

        Args:
            name: Name of the field.
            use: What the caller wants of it, for the error's text, such as "ordered by".

        Raises:
            UnknownField: When the model has no such field; the message lists those it has.
        """
        given: object = name  # it may come from a client
        text = given if isinstance(given, str) else None
        column = None if text is None else self.columns.get(text)
        if column is None:
            is_other = text is not None and hasattr(self.model, text)
            kind = "is no column, so it can't be" if is_other else "does not exist, so it can't be"
            called = f"({type(given).__name__})" if text is None or len(text) > _LONGEST_NAME else text
            raise UnknownField(
                f"{self.model.__name__}.{called} {kind} {use}; the fields are {', '.join(sorted(self.names))}"
            )
        return column

    def comparable(self, name: str, *, use: str) -> Column[Any]:
        """The column of a field whose values the database can compare, which it can't those of JSON (but of JSONB).

        Raises:
            UnknownField: When the model has no such field.
            InvalidQuery: When its values can't be compared.
        """
        column = self.column(name, use=use)
        if isinstance(column.type, JSON):
            from sqlalchemy.dialects.postgresql import JSONB
            from sqlalchemy.dialects.postgresql.base import PGDialect

            dialect: Dialect = PGDialect()  # type: ignore[no-untyped-call]
            if not isinstance(column.type.dialect_impl(dialect), JSONB):
                raise InvalidQuery(
                    f"{self.model.__name__}.{name} is JSON, which has no order and no equality, so it can't be {use}; "
                    "JSONB has, and is_null and contains can be asked of it as it is"
                )
        return column

    def relation(self, name: str) -> tuple[QueryableAttribute[Any], ModelFields[Any]]:
        """A relationship's attribute and the fields of the model that it leads to. Configures the mappers.

        Raises:
            UnknownField: When the model has no relationship of this name.
        """
        found = self._relations.get(name)
        if found is None:
            relations = self.mapper.relationships
            if name not in relations:
                known = ", ".join(sorted(relations.keys())) or "none"
                raise UnknownField(f"{self.model.__name__}.{name} is no relationship; there are: {known}")
            found = self._relations[name] = (getattr(self.model, name), ModelFields(relations[name].mapper.class_))
        return found

    def require(self, names: Iterable[str], *, use: str) -> None:
        """Check that every name is a field.

        Raises:
            UnknownField: For the first one that is not.
        """
        for name in names:
            self.column(name, use=use)

    def identity_fields(self, id_attr: str | Sequence[str] | None) -> tuple[str, ...]:
        """The fields by which rows are addressed: the given ones, else `id` when there is one, else the primary key.

        Raises:
            UnknownField: When a given name is no field.
        """
        if id_attr is None:
            return ("id",) if "id" in self.columns else self.primary_key
        names = (id_attr,) if isinstance(id_attr, str) else tuple(id_attr)
        self.require(names, use="the id")
        return names

    @cached_property
    def generated_key(self) -> str | None:
        """The primary key, when a UUID may be made for it: one column of text or UUID that nothing else fills."""
        if len(self.primary_key) != 1:
            return None
        column = self.columns[self.primary_key[0]]
        kind = column.type
        is_wide = isinstance(kind, String) and not isinstance(kind, Enum) and (kind.length is None or kind.length >= 36)
        is_free = column.default is None and column.server_default is None and not column.foreign_keys
        return self.primary_key[0] if is_free and (is_wide or isinstance(kind, Uuid)) else None

    @cached_property
    def has_exact_key(self) -> bool:
        """Whether a primary key is read as it was written, so that returned rows are told apart by it."""
        kinds = [self.columns[name].type for name in self.primary_key]
        return all(isinstance(kind, Integer | Uuid | String) and not isinstance(kind, CHAR | Enum) for kind in kinds)

    @cached_property
    def counts_key(self) -> bool:
        """Whether the database counts the primary key up, row by row."""
        counted = getattr(self.table, "autoincrement_column", None)
        if counted is None or not isinstance(counted.type, Integer):  # SQLAlchemy 2.0 means Numeric, too
            return False
        return self.primary_key == (self.name_of(counted),) and counted.default is None

    @cached_property
    def is_plain(self) -> bool:
        """Whether one row of the table is one object, so that rows can be turned into objects directly.

        Not so with inheritance, deferred or composed attributes and relationships that are loaded eagerly; SQLAlchemy's
        own loading is used then. Configures the mappers.
        """
        mapper = self.mapper
        if mapper.inherits is not None or mapper.polymorphic_on is not None or mapper.always_refresh:
            return False
        if not isinstance(mapper.local_table, Table) or list(mapper.composites):
            return False
        if any(
            attribute.deferred or len(attribute.columns) != 1 or not isinstance(attribute.columns[0], Column)
            for attribute in mapper.column_attrs
        ):
            return False
        return all(relation.lazy in _LAZY_LOADS for relation in mapper.relationships)

    @cached_property
    def _is_constructed_plainly(self) -> bool:
        manager = self.mapper.class_manager
        if manager.original_init is not self.mapper.registry.constructor or self.mapper.validators:
            return False
        generator = self.mapper.version_id_generator
        if self.mapper.version_id_col is not None and (not callable(generator) or generator(1) != 2):
            return False
        return not any(manager[name].dispatch.set for name in self.names)

    def construct(self, values: Mapping[str, Any]) -> M:
        """An object of the model with the values, by its constructor.

        That of a dataclass may demand fields that the database fills, and not take others that it can hold.
        """
        if not is_dataclass(self.model):
            return self.model(**values)
        given, later = dict(values), {}
        for each in dataclass_fields(self.model):
            if not each.init:
                if each.name in given:
                    later[each.name] = given.pop(each.name)
            elif each.name not in given and each.default is MISSING and each.default_factory is MISSING:
                relation = self.mapper.relationships.get(each.name)
                given[each.name] = [] if relation is not None and relation.uselist else None
        entity = self.model(**given)
        for name, value in later.items():
            setattr(entity, name, value)
        return entity

    @cached_property
    def cascades_deletes(self) -> bool:
        """Whether deleting an object makes the ORM touch objects that relate to it. Configures the mappers."""
        return any(
            not relation.passive_deletes
            and not relation.viewonly
            and relation.direction is not RelationshipDirection.MANYTOONE
            for relation in self.mapper.relationships
        )

    def reads_directly(self, session: Session | None) -> bool:
        """Whether rows may be read past SQLAlchemy's ORM: nothing listens to loading, neither model nor session."""
        if session is None:
            return self.is_plain
        model_events, session_events = self.mapper.class_manager.dispatch, session.dispatch
        return self.is_plain and not (
            model_events.load
            or model_events.refresh
            or session_events.do_orm_execute
            or session_events.loaded_as_persistent
        )

    def writes_directly(self, session: Session | None) -> bool:
        """Whether rows that are read directly may be written so, too: nothing is skipped of what the ORM would call.

        That is a constructor, a validator or a listener of the unit of work.
        """
        model_events = self.mapper.dispatch
        if (
            not self._is_constructed_plainly
            or model_events.before_insert
            or model_events.after_insert
            or model_events.before_update
            or model_events.after_update
            or model_events.before_delete
            or model_events.after_delete
        ):
            return False
        if session is None:
            return True
        session_events = session.dispatch
        return not (
            session_events.before_flush
            or session_events.after_flush
            or session_events.after_flush_postexec
            or session_events.before_attach
            or session_events.after_attach
            or session_events.transient_to_pending
            or session_events.pending_to_persistent
            or session_events.persistent_to_deleted
            or session_events.deleted_to_detached
        )
