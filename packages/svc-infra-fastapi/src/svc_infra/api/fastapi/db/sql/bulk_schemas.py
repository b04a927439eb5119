r"""The bodies of bulk requests and the schema of their answer.

A bulk create and a bulk upsert take an array of the bodies that create one record. A bulk update and a bulk delete take
an array of items that name their record:

    [{"id": 7, "data": {"name": "Ann"}, "if_match": "\"v3\""}, ...]      PATCH /users/bulk
    [{"id": 7}, {"id": 8, "if_match": "\"v1\""}]                        POST /users/bulk/delete
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    create_model,
)

from svc_infra.api.fastapi.db.sql.conditional import ETAGS_PATTERN
from svc_infra.api.fastapi.problem_document import ProblemDetails
from svc_infra.api.fastapi.problems import Problem, invalid_request

__all__ = ["ATOMIC", "PREFER", "BulkBody", "RefusedItem", "item_schema_of", "mixed_response", "result_schema_of"]

ATOMIC: Final[dict[str, Any]] = {
    "name": "atomic",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": True},
    "description": "Whether all items succeed or none.",
}
"""The query parameter of bulk requests, for the document."""
PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "`return=minimal` answers the count alone.",
}
"""The header of bulk requests, for the document."""

_ITEM_CONFIG: Final = ConfigDict(strict=True, extra="forbid", protected_namespaces=())
_RESERVED: Final = ("data", "if_match")


class KeyPart(Protocol):
    """One part of the id of a record, such as a column."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def write_type(self) -> object:
        """The annotation of its value in a body."""
        ...

    @property
    def description(self) -> str | None:
        """What it means, for the document."""
        ...


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An item of a body that is not valid.

    Attributes:
        problem: What is wrong with it; places are within the item.
    """

    problem: Problem


class BulkBody:
    """Validates the body of a bulk request.

    Args:
        item: The schema of an item.
        max_items: Items at most.
    """

    def __init__(self, item: type[BaseModel], max_items: int) -> None:
        bounded, make_list = Field(max_length=max_items), cast("Any", list)
        tolerant: Any = Annotated[item, WrapValidator(_or_refused)]
        self.annotation: Any = cast("Any", Annotated[make_list[item], bounded])
        self.whole: TypeAdapter[Any] = TypeAdapter(self.annotation)
        """Validates all items or raises."""
        self.each: TypeAdapter[Any] = TypeAdapter(cast("Any", Annotated[make_list[tolerant], bounded]))
        """Validates each item by itself; gives a `RefusedItem` in the place of one that is not valid."""


def _or_refused(value: Any, validate: Callable[[Any], Any]) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        return RefusedItem(invalid_request([{**mistake, "loc": ("body", *mistake["loc"])} for mistake in mistakes]))


def item_schema_of(
    name: str,
    id_columns: Sequence[KeyPart],
    data: type[BaseModel] | None,
    description: str,
    *,
    requires_match: bool = False,
) -> type[BaseModel]:
    """Make the schema of an item that names its record.

    Args:
        name: Name in the OpenAPI document.
        id_columns: The columns of the id, each a member of the item.
        data: The schema of the member `data`, or None for an item without.
        description: Its text in the document.
        requires_match: Whether the document says that `if_match` has to be there; the operation answers 428 if not.

    Raises:
        ValueError: A column of the id has the name of another member.
    """
    fields: dict[str, Any] = {}
    for column in id_columns:
        if column.name in _RESERVED:
            raise ValueError(f"{name}: an id field called {column.name!r} has no place beside the member of that name")
        fields[column.name] = (column.write_type, Field(description=column.description or "The record."))
    if data is not None:
        fields["data"] = (data, Field(description="The fields to change."))
    about = "The change is made only if the record has this ETag, as with the header If-Match."
    tag: dict[str, Any] = {"max_length": 1024, "pattern": ETAGS_PATTERN, "description": about}
    config = _ITEM_CONFIG.copy()
    kind: Any = str | None
    if requires_match:
        kind = Annotated[kind, WithJsonSchema({"type": "string", "maxLength": 1024, "pattern": ETAGS_PATTERN})]
        config["json_schema_extra"] = _requires_match
    fields["if_match"] = (kind, Field(None, **tag))
    made: type[BaseModel] = create_model(name, __config__=config, __doc__=description, **fields)
    return made


def _requires_match(schema: dict[str, Any]) -> None:
    schema.setdefault("required", []).append("if_match")


def result_schema_of(noun: str, read: type[BaseModel] | None) -> type[BaseModel]:
    """Make the schema of the answer to bulk requests.

    Args:
        noun: What its name begins with.
        read: The schema of the records in it; None for bulk deletes, which leave none to be shown.
    """
    fields: dict[str, Any] = {
        "index": (int, Field(description="Its place in the request, from 0.")),
        "status": (int, Field(description="The status that it would have had as a request of its own.")),
    }
    if read is not None:
        etag = Field(default_factory=str, description="The version that the record has now.")
        fields |= {"etag": (str, etag), "item": (read, Field(default_factory=_absent, description="The record."))}
    fields["problem"] = (ProblemDetails, Field(default_factory=_absent, description="Why it was refused."))
    noun += "Bulk" if read is not None else "BulkDelete"
    item: type[BaseModel] = create_model(f"{noun}Item", __doc__="What became of one item.", **fields)
    make_list: Any = list
    results = Field(description="One entry per item, in their order; empty when only a count was asked for.")
    made: type[BaseModel] = create_model(
        f"{noun}Result",
        __doc__="What became of the items of a bulk request.",
        succeeded=(int, Field(description="Items that were carried out.")),
        failed=(int, Field(description="Items that were refused; always 0 in an atomic request.")),
        results=(make_list[item], results),
    )
    return made


def mixed_response(result: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe the answer to a bulk request of which some items were refused, for the document."""
    return {207: {"model": result, "description": "Some items were refused"}}


def _absent() -> None:
    """Stand in for a member that an answer may lack."""
