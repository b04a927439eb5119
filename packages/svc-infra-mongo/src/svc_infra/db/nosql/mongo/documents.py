"""Between documents as stored and entities as callers see them: ids, models, field names, types."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar, cast

from svc_infra.db.nosql.mongo.errors import InvalidValue, UnknownField
from svc_infra.db.nosql.mongo.identifiers import IdType, new_id, parse_id, show_id
from svc_infra.db.nosql.mongo.types import Document

__all__ = ["DocumentForm"]

T = TypeVar("T")


class DocumentForm(Generic[T]):
    """How the documents of one collection look.

    Args:
        model: A Pydantic model of what callers see, or None for plain dicts.
        fields: The names of the fields; None: those of the model, or any without a model.
        id_attr: What callers call `_id`.
        id_type: How ids are stored.
    """

    def __init__(self, model: type[T] | None, fields: Collection[str] | None, id_attr: str, id_type: IdType) -> None:
        self.model = model
        self.id_attr = id_attr
        self.id_type: IdType = id_type
        model_fields: Mapping[str, Any] | None = getattr(model, "model_fields", None)
        if model is not None and model_fields is None:
            raise TypeError(f"{model.__name__} is no Pydantic model")
        names = fields if fields is not None else model_fields
        self.fields: frozenset[str] | None = None if names is None else frozenset({*names, id_attr})
        self._adapters: dict[str, Any] = {}

    def require(self, names: Collection[str], what: str) -> None:
        """Raise unless the names are fields. `a.b` counts as `a`.

        Raises:
            UnknownField: One is not.
        """
        for name in names:
            top, *deeper = name.split(".")
            if "\0" in name or any(not part or part.startswith("$") for part in (top, *deeper)):
                raise UnknownField(f"{name!r} can't be {what}")
            if self.fields is not None and top not in self.fields:
                raise UnknownField(f"{name!r} is no field; fields are {', '.join(sorted(self.fields))}")

    def entity(self, document: Mapping[str, Any]) -> T:
        """Return a stored document as callers see it."""
        seen: Document = {self.id_attr: show_id(document.get("_id"))}
        seen.update((name, value) for name, value in document.items() if name != "_id")
        if self.model is None:
            return cast("T", seen)
        return cast("T", cast("Any", self.model).model_validate(seen))

    def parse_id(self, value: object) -> object:
        """Return the stored form of an id; None when no document can have it."""
        return parse_id(value, self.id_type)

    def new_document(self, data: Mapping[str, object], defaults: Mapping[str, object]) -> Document:
        """Return the document to store for the data of a create: checked, with an id, `defaults` last.

        Raises:
            UnknownField: A name is no field.
            InvalidValue: A value is not what the model wants, or the id can't be one.
        """
        self._require_plain(data)
        given = data.get(self.id_attr)
        if given is None:
            stored_id = new_id(self.id_type)
        else:
            stored_id = self.parse_id(given)
            if stored_id is None:
                raise InvalidValue(f"{given!r} can't be an id of type {self.id_type}")
        values = {**data, **defaults}
        values.pop(self.id_attr, None)
        if self.model is not None:
            values = self._validated({self.id_attr: show_id(stored_id), **values})
        return {"_id": stored_id, **values}

    def changes(self, data: Mapping[str, object]) -> Document:
        """Return the values to set for the data of an update, checked field by field.

        Raises:
            UnknownField: A name is no field.
            InvalidValue: A value is not what the model wants.
        """
        self._require_plain(data)
        if self.model is None:
            return dict(data)
        return {name: self._validated_field(name, value) for name, value in data.items()}

    def _require_plain(self, data: Mapping[str, object]) -> None:
        for name in data:
            if "." in str(name):
                raise UnknownField(f"{name!r} can't be a field of the data; give the whole value of the field")
        self.require(tuple(data), "a field of the data")

    def _validated(self, values: Document) -> Document:
        from pydantic import ValidationError

        try:
            made = cast("Any", self.model).model_validate(values)
        except ValidationError as error:
            raise _invalid(error) from error
        dumped: Document = made.model_dump()
        dumped.pop(self.id_attr, None)
        # What is not in the model, such as the tenant or the time of the delete, is the repository's and stays.
        return {**{name: value for name, value in values.items() if name != self.id_attr}, **dumped}

    def _validated_field(self, name: str, value: object) -> object:
        from typing import Annotated

        from pydantic import TypeAdapter, ValidationError

        info = cast("Any", self.model).model_fields.get(name)
        if info is None:
            return value
        if name not in self._adapters:
            checked: Any = Annotated[info.annotation, info]  # pyright: ignore[reportInvalidTypeForm] # made at run time
            self._adapters[name] = TypeAdapter(checked)
        try:
            adapter = self._adapters[name]
            return cast("object", adapter.dump_python(adapter.validate_python(value)))
        except ValidationError as error:
            raise _invalid(error, name) from error


def _invalid(error: Any, name: str | None = None) -> InvalidValue:
    details = error.errors(include_url=False, include_input=False)
    parts = [
        f"{'.'.join(str(part) for part in ([name] if name else []) + list(detail['loc']))}: {detail['msg']}"
        for detail in details
    ]
    return InvalidValue("; ".join(parts))
