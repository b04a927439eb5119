"""How the OpenAPI document describes problems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from fastapi.routing import APIRoute
from svc_infra.api.fastapi.problems import MEDIA_TYPE

__all__ = ["ProblemDetails", "problem_fields", "problem_response"]


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

    loc: list[str | int] = Field(description="Where it stands, from the outside inwards.")
    msg: str = Field(description="What is wrong with it, for people.")
    type: str = Field(description="What is wrong with it, for programs.")


ProblemDetails.model_rebuild()


_PROBLEM_TEXTS: Final[Mapping[int, str]] = {
    304: "Not modified since the version that the client has",
    400: "The request can't be carried out",
    404: "There is no such record",
    408: "The request took too long to arrive",
    409: "The record conflicts with another one",
    412: "The record was changed since the version that the client has",
    413: "The body is too large",
    415: "The body is of another media type",
    422: "A parameter or field is not valid",
    428: "The request must say which version it changes",
    503: "The database can't serve the request at present",
}


def problem_response(status: int) -> dict[str, Any]:
    """Describe the answer with a problem of this status."""
    description = _PROBLEM_TEXTS[status]
    if status == 304:
        return {"description": description}
    found: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
    if status == 503:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}
    return found


def problem_fields() -> dict[int | str, Any]:
    """Return the problem's schema in the form in which a route keeps the schemas of its responses."""
    probe = APIRoute("/", lambda: None, responses={"default": {"model": ProblemDetails}}, methods=["GET"])
    return {"problem": probe.response_fields["default"]}
