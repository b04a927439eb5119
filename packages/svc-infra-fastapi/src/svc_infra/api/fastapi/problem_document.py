"""Problems in the OpenAPI document: their schema, and for each status what it means and an example of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from svc_infra.api.fastapi.problems import MEDIA_TYPE, NOT_FOUND, FieldError, Problem, answers_problems

__all__ = ["ProblemDetails", "ProblemField", "document_problems", "problem_fields", "problem_response"]


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 defines it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"required": ["type", "title", "status", "detail"]}
    )

    type: str = Field(
        description="Names the kind of problem; stable, meant for programs.",
        examples=["urn:svc-infra:problem:not-found"],
    )
    title: str = Field(description="The kind of problem in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status code.", examples=[404])
    detail: str = Field(description="What happened, for people.", examples=["Not found"])
    errors: list[ProblemField] = Field(default_factory=list, description="The inputs at fault.")


class ProblemField(BaseModel):
    """One input at fault."""

    loc: list[str | int] = Field(
        description="Where it stands, from the outside inwards.", examples=[["body", "name"], ["query", "limit"]]
    )
    msg: str = Field(description="What is wrong with it, for people.", examples=["Field required"])
    type: str = Field(description="What is wrong with it, for programs.", examples=["missing"])


ProblemDetails.model_rebuild()

_MISSING: Final = FieldError(loc=["body", "name"], msg="Field required", type="missing")
_TAKEN: Final = FieldError(loc=["body", "name"], msg="Another record has this value", type="unique")

_PROBLEMS: Final[Mapping[int, tuple[str, Problem | None]]] = {
    304: ("Not modified since the version that the client has", None),
    400: ("The request can't be carried out", Problem("not-null-violation", 400, "Missing required field.")),
    404: ("There is no such record", NOT_FOUND),
    408: (
        "The request took too long to arrive",
        Problem("request-timeout", 408, "The import took longer than 600 seconds; nothing was written."),
    ),
    409: (
        "The record conflicts with another one",
        Problem("unique-violation", 409, "Record already exists.", errors=[_TAKEN]),
    ),
    412: (
        "The record was changed since the version that the client has",
        Problem("precondition-failed", 412, "The record is not a version that the request asks for. Read it again."),
    ),
    413: ("The body is too large", Problem("content-too-large", 413, "The body is larger than 1048576 bytes.")),
    415: (
        "The body is of another media type",
        Problem("unsupported-media-type", 415, "The Content-Type is 'text/plain'; send application/json."),
    ),
    422: (
        "A parameter or field is not valid",
        Problem("invalid-request", 422, "name: Field required", errors=[_MISSING]),
    ),
    428: (
        "The request must say which version it changes",
        Problem("precondition-required", 428, "Say by If-Match which version is to be changed."),
    ),
    503: (
        "The database can't serve the request at present",
        Problem("pool-exhausted", 503, "Too many requests at once. Try again."),
    ),
}
"""For each status what it means here and a problem that has it."""


def problem_response(status: int) -> dict[str, Any]:
    """Return the OpenAPI response object of a status that generated routes answer with."""
    meaning, problem = _PROBLEMS[status]
    found: dict[str, Any] = {"description": meaning}
    if problem is not None:
        schema = _reference(ProblemDetails.__name__)
        found["content"] = {MEDIA_TYPE: {"schema": schema, "example": problem.body()}}
    if status == 503:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}
    return found


def problem_fields() -> dict[int | str, Any]:
    """Return the problem's schema in the form in which a route keeps the schemas of its responses."""
    probe = APIRoute("/", lambda: None, responses={"default": {"model": ProblemDetails}}, methods=["GET"])
    return {"problem": probe.response_fields["default"]}


def document_problems(app: FastAPI) -> None:
    """Let the document say of every 422 that it is a problem, as long as validation errors are answered as such.

    An application may have a model of its own that is called as one of these; problems are not described by it then.
    """
    document = app.openapi

    def openapi() -> dict[str, Any]:
        found = document()
        operations = [
            operation
            for path in found.get("paths", {}).values()
            for operation in path.values()
            if isinstance(operation, dict)
        ]
        if answers_problems(app, RequestValidationError):
            _say_problems(found, operations)
        _refer_to_ours(found, operations)
        return found

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way of changing the document


_FASTAPI: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
"""The content of a 422 as FastAPI describes it by itself."""


def _say_problems(document: dict[str, Any], operations: Sequence[dict[str, Any]]) -> None:
    """Replace FastAPI's description of a 422, wherever it stands; one that the application wrote stays."""
    answers = [
        operation["responses"]
        for operation in operations
        if operation.get("responses", {}).get("422", {}).get("content") == _FASTAPI
    ]
    if not answers:
        return
    schemas: dict[str, Any] = document["components"]["schemas"]
    names = _names_in(schemas)
    details = ProblemDetails.model_json_schema(mode="serialization")
    details.pop("$defs")
    details["properties"]["errors"]["items"] = _reference(names[ProblemField])
    schemas.setdefault(names[ProblemDetails], details)
    schemas.setdefault(names[ProblemField], ProblemField.model_json_schema(mode="serialization"))
    for each in answers:
        each["422"] = problem_response(422)
    if "#/components/schemas/HTTPValidationError" not in str(document):
        schemas.pop("HTTPValidationError", None)
        if "#/components/schemas/ValidationError" not in str(document):
            schemas.pop("ValidationError", None)


def _refer_to_ours(document: dict[str, Any], operations: Sequence[dict[str, Any]]) -> None:
    """Let problems refer to the name that their schema has in the document."""
    name = _names_in(document.get("components", {}).get("schemas", {}))[ProblemDetails]
    for operation in operations:
        for answer in operation.get("responses", {}).values():
            content = answer.get("content", {})
            if content.get(MEDIA_TYPE, {}).get("schema") == _reference(ProblemDetails.__name__):
                content[MEDIA_TYPE] = {**content[MEDIA_TYPE], "schema": _reference(name)}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _names_in(schemas: Mapping[str, Any]) -> dict[type[BaseModel], str]:
    """Return what the schemas are called in a document.

    That is their name, or the long one that Pydantic gives to each of two models of one name.
    """
    names: dict[type[BaseModel], str] = {}
    for model in (ProblemDetails, ProblemField):
        short, long = model.__name__, f"{model.__module__}.{model.__name__}".replace(".", "__")
        taken = schemas.get(short)
        is_free = taken is None or set(taken.get("properties", ())) == set(model.model_fields)
        names[model] = short if is_free and long not in schemas else long
    return names
