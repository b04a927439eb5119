"""Errors as RFC 9457 problem details: one value, one table, one place that turns an exception into a response.

A problem's body has the members `type` (stable, meant for programs), `title`, `status`, `detail` (meant for people)
and, where fields are at fault, `errors`: a list of `{"loc": [...], "msg": ..., "type": ...}` as in FastAPI's own
validation errors. No body ever holds SQL, the text of a driver or a secret: only texts of this module and of Pydantic
appear.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, TypedDict

import pydantic_core
from sqlalchemy import exc as sqlalchemy_errors
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from svc_infra.db.sql import errors as sql
from svc_infra.db.sql.translate import translate

__all__ = [
    "FieldError",
    "Problem",
    "ProblemError",
    "add_problem_details",
    "answers_problems",
    "problem_of",
    "problem_response",
]

MEDIA_TYPE: Final = "application/problem+json"
_REASON_BYTES: Final = 123
"""What a close frame has room for (RFC 6455, section 5.5)."""
TYPE_PREFIX: Final = "urn:svc-infra:problem:"

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")


class FieldError(TypedDict):
    """What is wrong with one input: where it stands, a text for people and a word for programs."""

    loc: Sequence[str | int]
    msg: str
    type: str


# Python before 3.13 has the older names of these, and a title should not change with it.
_PHRASES: Final[Mapping[int, str]] = {413: "Content Too Large", 422: "Unprocessable Content"}


def _phrase(status: int) -> str:
    """Return the name of a status code as RFC 9110 has it; a code of the application's own has none."""
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Server Error" if status >= 500 else "Client Error"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem details object (RFC 9457, section 3).

    Attributes:
        slug: The last part of the `type` URI, `urn:svc-infra:problem:<slug>`. Slugs are stable across versions.
        status: The HTTP status code.
        detail: What happened in this case and what to do, for people.
        errors: The inputs at fault.
        headers: Response headers that belong to the problem, such as `Retry-After` (seconds).
    """

    slug: str
    status: int
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The status code's own phrase, the same for every problem of this status."""
        return _phrase(self.status)

    def body(self) -> dict[str, object]:
        """Return the members of the JSON object."""
        members: dict[str, object] = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            members["errors"] = [dict(error) for error in self.errors]
        return members


class ProblemError(HTTPException):
    """Raise a problem from a route, a dependency or a hook.

    Where no problem handler is installed, FastAPI answers it as an ordinary HTTPException with the same status and
    detail.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status, problem.detail, dict(problem.headers) or None)
        self.problem = problem


def problem_response(problem: Problem) -> Response:
    """Return the response of *problem*, with the media type application/problem+json."""
    return Response(
        pydantic_core.to_json(problem.body(), fallback=str, inf_nan_mode="null", bytes_mode="base64"),
        status_code=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
        media_type=MEDIA_TYPE,
    )


NOT_FOUND: Final = Problem("not-found", 404, "Not found")

_RETRY: Final = {"Retry-After": "1"}

# The texts and status codes of 404, 400 and 409 are those that clients of the first svc-infra already know.
_SQL_PROBLEMS: Final[Mapping[type[sql.SqlError], Problem]] = {
    sql.NotFound: NOT_FOUND,
    sql.StaleVersion: Problem("stale-version", 409, "The record was changed in the meantime. Read it again."),
    sql.UnknownField: Problem("unknown-field", 422, "A field is not known here."),
    sql.InvalidValue: Problem("invalid-value", 422, "A value can't be stored in its field."),
    sql.InvalidQuery: Problem("invalid-query", 422, "The request can't be turned into a query."),
    sql.UniqueViolation: Problem("unique-violation", 409, "Record already exists."),
    sql.ForeignKeyViolation: Problem(
        "foreign-key-violation", 409, "The record refers to one that does not exist, or is still referred to."
    ),
    sql.NotNullViolation: Problem("not-null-violation", 400, "Missing required field."),
    sql.CheckViolation: Problem("check-violation", 422, "A value breaks a rule of the database."),
    sql.ExclusionViolation: Problem("exclusion-violation", 409, "The record overlaps with another one."),
    sql.IntegrityViolation: Problem("integrity-violation", 409, "The record breaks a rule of the database."),
    sql.SerializationFailure: Problem("serialization-failure", 503, "Concurrent changes. Try again.", headers=_RETRY),
    sql.DeadlockDetected: Problem("deadlock", 503, "Concurrent changes. Try again.", headers=_RETRY),
    sql.SchemaChanged: Problem("schema-changed", 503, "The database was changed just now. Try again.", headers=_RETRY),
    sql.RetryableError: Problem("retryable", 503, "Concurrent changes. Try again.", headers=_RETRY),
    sql.LockTimeout: Problem("lock-timeout", 503, "The record is locked for too long. Try again.", headers=_RETRY),
    sql.StatementTimeout: Problem("statement-timeout", 503, "The query took too long and was stopped.", headers=_RETRY),
    sql.PoolTimeout: Problem("pool-exhausted", 503, "Too many requests at once. Try again.", headers=_RETRY),
    sql.Disconnected: Problem("database-unavailable", 503, "The database can't be reached. Try again.", headers=_RETRY),
    sql.ReadOnlyViolation: Problem("read-only", 503, "The database is read-only at present.", headers=_RETRY),
    sql.SqlError: Problem("internal-error", 500, "The request could not be completed."),
}

_FIELD_WORDS: Final[Mapping[type[sql.SqlError], tuple[str, str]]] = {
    sql.UniqueViolation: ("unique", "Another record has this value"),
    sql.ForeignKeyViolation: ("foreign_key", "Refers to a record that does not exist, or is still referred to"),
    sql.NotNullViolation: ("missing", "Field required"),
    sql.CheckViolation: ("check", "Breaks a rule of the database"),
    sql.ExclusionViolation: ("exclusion", "Overlaps with another record"),
}

_OF_FIELDS: Final = frozenset(_SQL_PROBLEMS[kind].slug for kind in (*_FIELD_WORDS, sql.InvalidValue))

_HTTP_SLUGS: Final[Mapping[int, str]] = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    412: "precondition-failed",
    413: "content-too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    428: "precondition-required",
    429: "too-many-requests",
    503: "unavailable",
}


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that *error* stands for, or None when it is none of ours (a bug, to be seen as such)."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, sql.SqlError):
        return _problem_of_sql(error)
    if isinstance(error, RequestValidationError):
        return invalid_request(error.errors())
    if isinstance(error, HTTPException):
        return _problem_of_http(error)
    translated = translate(error)
    return None if translated is None else _problem_of_sql(translated)


def invalid_request(errors: Sequence[Mapping[str, object]]) -> Problem:
    """Return the 422 problem for the validation errors of Pydantic, without the input's own values."""
    details: list[FieldError] = []
    for error in errors:
        place = error.get("loc")
        loc = [part if isinstance(part, int) else str(part) for part in place] if isinstance(place, Sequence) else []
        kind, text = str(error.get("type", "")), str(error.get("msg", ""))
        # Pydantic names the class of the schema, where the value came through a validator of Python's.
        text = "Input should be an object" if kind == "model_type" else text
        details.append({"loc": loc, "msg": text, "type": kind})
    first = details[0] if details else None
    text = "The request is not valid."
    if first is not None:
        text = f"{'.'.join(str(part) for part in first['loc'][1:] or first['loc'])}: {first['msg']}"
    return Problem("invalid-request", 422, text, errors=details)


def without_field(problem: Problem, name: str | None) -> Problem:
    """Return *problem* without the field *name* among those at fault, unless it is the only one.

    A unique key among a tenant's records holds the tenant, which no body does.
    """
    errors = [error for error in problem.errors if not error["loc"] or error["loc"][-1] != name]
    return replace(problem, errors=errors) if errors else problem


def with_members(problem: Problem, members: Mapping[str, str]) -> Problem:
    """Return *problem* with the fields that the database finds at fault called as the members of the body are.

    Args:
        problem: A problem about a record, or about an item of a bulk request.
        members: For each field and column that is called otherwise in the body, the member's name.
    """
    if not members or problem.slug not in _OF_FIELDS:
        return problem
    errors: list[FieldError] = [
        {**error, "loc": [*error["loc"][:-1], members.get(str(error["loc"][-1]), error["loc"][-1])]}
        # Between the body and a nested record stands the relationship's name; in bulk changes, "data".
        if error["loc"] and not any(isinstance(part, str) and part != "data" for part in error["loc"][1:-1])
        else error
        for error in problem.errors
    ]
    return replace(problem, errors=errors)


def _problem_of_sql(error: sql.SqlError) -> Problem:
    for cls in type(error).__mro__:
        found = _SQL_PROBLEMS.get(cls)
        if found is None:
            continue
        if isinstance(error, sql.InvalidQuery):
            # The text is for the application's author: it lists fields of the model, hidden ones among them.
            logger.info("%s: %s", type(error).__name__, error)
            # Named by the database only, when it refuses what a body has set.
            word, text = "invalid_value", "Can't be stored in this field"
            return replace(found, errors=[{"loc": ["body", name], "msg": text, "type": word} for name in error.fields])
        if isinstance(error, sql.IntegrityViolation) and error.columns and cls in _FIELD_WORDS:
            word, text = _FIELD_WORDS[cls]
            names = error.fields or error.columns
            return replace(found, errors=[{"loc": ["body", name], "msg": text, "type": word} for name in names])
        if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.warning(
                "%s: %s", type(error).__name__, error, exc_info=error if found.slug == "internal-error" else None
            )
        return found
    return _SQL_PROBLEMS[sql.SqlError]


def _problem_of_http(error: HTTPException) -> Problem:
    given: object = error.detail  # FastAPI's HTTPException takes any JSON value
    detail = given if isinstance(given, str) else _phrase(error.status_code)
    slug = _HTTP_SLUGS.get(error.status_code, "about-status")
    return Problem(slug, error.status_code, detail, headers=dict(error.headers or {}))


async def _answer(connection: HTTPConnection, error: Exception) -> Response | None:
    problem = problem_of(error)
    if problem is None:
        raise error
    if isinstance(connection, WebSocket):
        await _end(connection, problem)
        return None
    return problem_response(problem)


async def _end(socket: WebSocket, problem: Problem) -> None:
    """End a WebSocket as a response would end a request: before it is accepted by that response, else by a close."""
    if socket.application_state is WebSocketState.DISCONNECTED or socket.client_state is WebSocketState.DISCONNECTED:
        return
    is_early = socket.application_state is WebSocketState.CONNECTING
    if is_early and "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(problem_response(problem))
        return
    # RFC 6455, section 7.4, and the registry of IANA: try again later, internal error, policy violation.
    code = 1013 if problem.status == 503 else 1011 if problem.status >= 500 else 1008
    await socket.close(code, problem.detail.encode()[:_REASON_BYTES].decode(errors="ignore"))


# Starlette hands WebSockets to the same handlers; its types know of requests alone.
_HANDLER: Final[Any] = _answer


def answers_problems(app: FastAPI, error: type[Exception]) -> bool:
    """Whether *app* answers errors of this class as problems."""
    return app.exception_handlers.get(error) is _HANDLER


def handle_database_errors(app: FastAPI) -> None:
    """Answer `ProblemError` and database errors of all routes as problems; a handler that is already there stays."""
    from svc_infra.api.fastapi.problem_document import document_problems

    document_problems(app)
    for cls in (ProblemError, sql.SqlError, sqlalchemy_errors.StatementError, sqlalchemy_errors.TimeoutError):
        app.exception_handlers.setdefault(cls, _HANDLER)


async def _answer_bug(request: Request, _error: Exception) -> Response:
    # Starlette raises the error again once this is sent, so that the server logs it and ends the connection. A client
    # of HTTP/1 that is not told sends its next request into that end.
    is_told = request.scope.get("http_version", "1.1").startswith("1")
    headers = {"Connection": "close"} if is_told else {}
    return problem_response(replace(_SQL_PROBLEMS[sql.SqlError], headers=headers))


def add_problem_details(app: FastAPI) -> None:
    """Answer every HTTPException and validation error of *app* as application/problem+json, not only generated routes.

    An error that nothing handles is a 500 of the same form, which tells nothing of it; the server logs it as before.
    Handlers that the application registered itself stay. The OpenAPI document says the same of every 422.
    """
    handle_database_errors(app)
    defaults = {HTTPException: http_exception_handler, RequestValidationError: request_validation_exception_handler}
    for cls, default in defaults.items():
        if app.exception_handlers.get(cls) is default:
            app.exception_handlers[cls] = _HANDLER
    if 500 not in app.exception_handlers:
        app.exception_handlers.setdefault(Exception, _answer_bug)
