"""The Pydantic models of a resource: `UserRead`, `UserCreate` and `UserUpdate`, made from its columns or given.

Each one that the application does not give is made from the model, so any of them can be replaced alone. What a client
may not write is left out of the generated bodies and ignored when it is sent all the same (as a client does that sends
back what it read); a name that means nothing is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, create_model

from fastapi.openapi.models import Example
from svc_infra.api.fastapi.db.sql.columns import ApiColumn
from svc_infra.api.fastapi.problems import ProblemError, invalid_request

__all__ = [
    "ResourceSchemas",
    "create_schema_of",
    "examples_of",
    "read_schema_of",
    "selection_schema_of",
    "update_schema_of",
]

NO_SUCH_FIELD: Final = "There is no such field"
_READ_CONFIG: Final = ConfigDict(
    from_attributes=True,
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="null",
    protected_namespaces=(),
)


@dataclass(frozen=True, slots=True)
class ResourceSchemas:
    """The three schemas of a resource.

    Attributes:
        read: What every response shows of a row.
        create: The body that creates a row.
        update: The body that changes some fields of a row.
        replace: The body that replaces a row.
        ignored: Names that a body may hold and that are dropped, because the server owns them.
        takes_more: Whether generated bodies let unknown names through, for hooks to consume.
        made: The schemas among these that were generated.
    """

    read: type[BaseModel]
    create: type[BaseModel]
    update: type[BaseModel]
    replace: type[BaseModel]
    ignored: frozenset[str]
    takes_more: bool = False
    made: frozenset[type[BaseModel]] = frozenset()


def _write_config(*, takes_more: bool) -> ConfigDict:
    # Extra names are looked at after validation: what the server owns is dropped there, and what means nothing refused.
    return ConfigDict(
        extra="allow",
        strict=True,
        val_json_bytes="base64",
        ser_json_bytes="base64",
        protected_namespaces=(),
        json_schema_extra={"additionalProperties": takes_more},
    )


def _doc(model: type[object], schema: str) -> str:
    own = model.__doc__
    return inspect.cleandoc(own) if own else f"{schema} of {model.__name__}."


def read_schema_of(
    model: type[object], columns: Mapping[str, ApiColumn], name: str, *, exclude: Collection[str] = ()
) -> type[BaseModel]:
    """Make the schema of a row as responses show it: every column that is not hidden.

    Args:
        model: The mapped class; its docstring becomes the description.
        columns: Its columns.
        name: Name in the OpenAPI document.
        exclude: Names to leave out besides the hidden ones.
    """
    fields: dict[str, Any] = {
        column.name: (column.read_type, _field(column))
        for column in columns.values()
        if not column.is_hidden and column.name not in exclude
    }
    made: type[BaseModel] = create_model(name, __config__=_READ_CONFIG, __doc__=_doc(model, "A record"), **fields)
    return made


def create_schema_of(
    model: type[object],
    columns: Mapping[str, ApiColumn],
    name: str,
    *,
    exclude: Collection[str] = (),
    takes_more: bool = False,
) -> type[BaseModel]:
    """Make the schema of the body that creates a row: what the server does not own.

    Args:
        model: The mapped class.
        columns: Its columns.
        name: Name in the OpenAPI document.
        exclude: Names to leave out besides the server's own.
        takes_more: Let names through that are no columns, for a hook to consume (such as `password`).
    """
    fields: dict[str, Any] = {}
    for column in columns.values():
        if column.is_server_owned or column.name in exclude or (takes_more and column.is_derived_secret):
            continue
        fields[column.name] = (column.write_type, _field(column, required=column.is_required))
    made: type[BaseModel] = create_model(
        name,
        __config__=_write_config(takes_more=takes_more),
        __doc__=_doc(model, "What creates a record"),
        **fields,
    )
    return made


def update_schema_of(
    model: type[object],
    columns: Mapping[str, ApiColumn],
    name: str,
    *,
    exclude: Collection[str] = (),
    takes_more: bool = False,
) -> type[BaseModel]:
    """Make the schema of the body that changes a row: every writable column, none required.

    A field that is absent stays; a field that is null becomes NULL, where its column can hold that. Arguments as in
    `create_schema_of`.
    """
    fields: dict[str, Any] = {}
    for column in columns.values():
        owned = column.is_server_owned or column.column.primary_key
        if owned or column.name in exclude or (takes_more and column.is_derived_secret):
            continue
        fields[column.name] = (column.write_type, _field(column, required=False))
    made: type[BaseModel] = create_model(
        name,
        __config__=_write_config(takes_more=takes_more),
        __doc__=_doc(model, "What changes a record"),
        **fields,
    )
    return made


def written_fields(body: BaseModel, schemas: ResourceSchemas) -> dict[str, object]:
    """Return what the client sent, by field name; what it left out is absent, so that it stays or takes its default.

    Raises:
        ProblemError: 422 for names that mean nothing.
    """
    sent, ignored = body.model_fields_set, schemas.ignored
    values = {name: getattr(body, name) for name in type(body).model_fields if name in sent}
    more = {name: value for name, value in (body.model_extra or {}).items() if name not in ignored}
    if more and not schemas.takes_more and type(body) in schemas.made:
        unknown = [{"loc": ("body", name), "msg": NO_SUCH_FIELD, "type": "extra_forbidden"} for name in more]
        raise ProblemError(invalid_request(unknown))
    values.update(more)
    return values


def _absent() -> None:
    """Stand in for a field that was not sent; its value is never read."""


def _field(column: ApiColumn, *, required: bool | None = None) -> Any:
    about: dict[str, Any] = {"description": column.description, "examples": column.examples}
    if required is None or required:
        return Field(**about)
    # A factory and no default: the OpenAPI document must not say that null is the default of a column that can't be
    # null.
    return Field(default_factory=_absent, **about)


def selection_schema_of(read: type[BaseModel], selectable: Collection[str]) -> type[BaseModel]:
    """Make the schema of a row of which `select` names some fields, called `<name>Selection` in the document.

    It describes answers and validates nothing: every field has the type that it has in *read*, and none is required.
    """
    fields: dict[str, Any] = {}
    for name, field in read.model_fields.items():
        if name in selectable:
            about: dict[str, Any] = {"description": field.description, "examples": field.examples}
            member = field.serialization_alias or field.alias
            made: Any = Field(default_factory=_absent, serialization_alias=member, **about)
            fields[name] = (field.rebuild_annotation(), made)
    about_all = f"{read.__name__} with those fields alone that `select` names."
    selection: type[BaseModel] = create_model(
        f"{read.__name__}Selection", __config__=_READ_CONFIG, __doc__=about_all, **fields
    )
    return selection


def examples_of(values: Sequence[object] | None) -> dict[str, Example] | None:
    """Return *values* in the form that the document has for the examples of a parameter."""
    return None if values is None else {str(value): {"value": value} for value in values}


def page_schema_of(read: type[BaseModel], selection: type[BaseModel] | None = None) -> type[BaseModel]:
    """Make the schema of a page of *read* or *selection*, called `Page_<name>_` in the OpenAPI document."""
    item: Any = read if selection is None else read | selection
    fields: dict[str, Any] = {
        "total": (
            int | None,
            Field(description="Rows that the request matches in all; null when they were not counted."),
        ),
        "items": (list[item], Field(description="The rows of this page.")),
        "limit": (int, Field(description="Rows of a page at most.")),
        "offset": (int, Field(description="Rows before this page.")),
    }
    for name, which in (("next_cursor", "after"), ("previous_cursor", "before")):
        about = f"Cursor of the page {which} this one, in a page by cursor; null when there is none."
        fields[name] = (str | None, Field(default_factory=_absent, description=about))
    made: type[BaseModel] = create_model(f"Page_{read.__name__}_", __doc__="A page of records.", **fields)
    return made
