"""Problems in the OpenAPI document: their schema, and for each status what it means and an example of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

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
        schema = {"$ref": "#/components/schemas/ProblemDetails"}
        found["content"] = {MEDIA_TYPE: {"schema": schema, "example": problem.body()}}
    if status == 503:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}
    return found


def problem_fields() -> dict[int | str, Any]:
    """Return the problem's schema in the form in which a route keeps the schemas of its responses."""
    probe = APIRoute("/", lambda: None, responses={"default": {"model": ProblemDetails}}, methods=["GET"])
    return {"problem": probe.response_fields["default"]}


def document_problems(app: FastAPI) -> None:
    """Let the document say of every 422 that it is a problem, as long as validation errors are answered as such."""
    document = app.openapi

    def openapi() -> dict[str, Any]:
        found = document()
        if answers_problems(app, RequestValidationError):
            _say_problems(found)
        return found

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way of changing the document


_FASTAPI: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}}
"""The content of a 422 as FastAPI describes it by itself."""


def _say_problems(document: dict[str, Any]) -> None:
    """Replace FastAPI's description of a 422, wherever it stands; one that the application wrote stays."""
    answers = [
        operation["responses"]
        for path in document.get("paths", {}).values()
        for operation in path.values()
        if isinstance(operation, dict) and operation.get("responses", {}).get("422", {}).get("content") == _FASTAPI
    ]
    if not answers:
        return
    schemas: dict[str, Any] = document["components"]["schemas"]
    for name, schema in _schemas().items():
        schemas.setdefault(name, schema)
    for each in answers:
        each["422"] = problem_response(422)
    if "#/components/schemas/HTTPValidationError" not in str(document):
        schemas.pop("HTTPValidationError", None)
        if "#/components/schemas/ValidationError" not in str(document):
            schemas.pop("ValidationError", None)


def _schemas() -> dict[str, Any]:
    found = ProblemDetails.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    inner = cast("dict[str, Any]", found.pop("$defs"))
    return {"ProblemDetails": found, **inner}
