"""Request bodies: read up to a limit, checked for their media type, validated from bytes."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.types import Message

from svc_infra.api.fastapi.problems import Problem, ProblemError, invalid_request

__all__ = ["parse_json", "read_body", "replayed", "require_plain"]

T = TypeVar("T", bound=BaseModel)

JSON: Final = "application/json"


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body.

    Raises:
        ProblemError: 413 when it is larger than *limit* bytes; the rest is not read.
    """
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def replayed(request: Request, body: bytes) -> Request:
    """Return the request with its body, which was read already, to be read again."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(Problem("content-too-large", 413, f"The body is larger than {limit} bytes."))


def require_media_type(request: Request, *accepted: str) -> str:
    """Return the media type of the body without its parameters.

    Raises:
        ProblemError: 415 when it is none of *accepted*.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given in accepted or (JSON in accepted and given.startswith("application/") and given.endswith("+json")):
        return given
    found = repr(given) if given else "missing"
    raise ProblemError(
        Problem(
            "unsupported-media-type",
            415,
            f"The Content-Type is {found}; send {' or '.join(accepted)}.",
            headers={"Accept": ", ".join(accepted)},
        )
    )


async def parse_json(request: Request, adapter: TypeAdapter[T], limit: int) -> T:
    """Return the validated body of a request that must be JSON.

    Raises:
        ProblemError: 415, 413, or 422 with every mistake and its place.
    """
    require_media_type(request, JSON)
    data = await read_body(request, limit)
    try:
        return validated(adapter, data)
    except ProblemError:
        # What is not compressed is read at no further cost.
        require_plain(request)
        raise


def require_plain(request: Request) -> None:
    """Make sure that the body is not compressed.

    Raises:
        ProblemError: 415, with what is accepted (RFC 9110, section 15.5.16).
    """
    given = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if given not in {"", "identity"}:
        text = f"The Content-Encoding is {given!r}; send the body as it is."
        raise ProblemError(Problem("unsupported-media-type", 415, text, headers={"Accept-Encoding": "identity"}))


def validated(adapter: TypeAdapter[T], data: bytes, *, loc: tuple[str | int, ...] = ("body",)) -> T:
    """Return the value that *data*, a JSON text, holds.

    Raises:
        ProblemError: 422 with every mistake, placed under *loc*.
    """
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise ProblemError(
            invalid_request([{**mistake, "loc": (*loc, *mistake["loc"])} for mistake in mistakes])
        ) from None
