"""Conditional requests (RFC 9110, section 13): ETag, If-None-Match, If-Match.

A record's ETag is its version where the model counts versions, and a hash of its JSON elsewhere. Both are strong: two
equal ETags mean the same bytes.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request

from svc_infra.api.fastapi.problems import Problem, ProblemError

__all__ = [
    "ETAGS_PATTERN",
    "PRECONDITION_FAILED",
    "PRECONDITION_REQUIRED",
    "etag_of",
    "etags_in",
    "is_unchanged",
    "required_etags",
    "version_in",
]

PRECONDITION_FAILED: Final = Problem(
    "precondition-failed", 412, "The record is not a version that the request asks for. Read it again."
)
PRECONDITION_REQUIRED: Final = Problem("precondition-required", 428, "Say by If-Match which version is to be changed.")
_VERSION: Final = re.compile(r'"v([0-9]{1,18})"')

_ONE: Final = '(?:W/)?"[!#-~]*"'
_ETAG: Final = re.compile(_ONE)
_LIST: Final = re.compile(rf"{_ONE}(?:[ \t]*,[ \t]*{_ONE})*")
ETAGS_PATTERN: Final = rf"^(?:\*|{_LIST.pattern})$"
"""What If-Match looks like, for the document."""
_NO_LIST: Final = Problem(
    "invalid-request",
    422,
    'If-Match: Input should be * or ETags as a read gave them, in their quotes: "..."',
    errors=[{"loc": ["header", "if-match"], "msg": "Input should be * or ETags in quotes", "type": "etag_parsing"}],
)


def etag_of(content: bytes, version: object = None) -> str:
    """Return the ETag of a record: of its version when it has one, else of its JSON."""
    if version is not None:
        return f'"v{version}"'
    return f'"{blake2b(content, digest_size=12).hexdigest()}"'


def _list_in(headers: Headers, name: str) -> str | None:
    """Return the value of a header that is a list: several lines of it are one (RFC 9110, section 5.3)."""
    lines = headers.getlist(name)
    return ", ".join(line for line in lines if line) if lines else None


def is_unchanged(headers: Headers, etag: str) -> bool:
    """Whether If-None-Match says that the client has this version, so that 304 answers."""
    given = _list_in(headers, "if-none-match")
    if given is None:
        return False
    # A weak comparison (RFC 9110, section 13.1.2): W/ makes no difference.
    return given.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in given.split(",")}


def required_etags(request: Request, *, must: bool) -> frozenset[str] | None:
    """Return the ETags of If-Match, one of which the record must have; None when any version will do.

    Args:
        request: The request.
        must: Whether the header has to be there.

    Raises:
        ProblemError: 428 when it has to be there and is not, 422 when it is no list of ETags: one without its quotes
            would else be taken for one of an older version.
    """
    given = _list_in(request.headers, "if-match")
    if given is None and must:
        raise ProblemError(PRECONDITION_REQUIRED)
    return etags_in(given)


def etags_in(given: str | None) -> frozenset[str] | None:
    """Return the ETags in the value of If-Match; None when any version will do.

    Weak ones are kept as they are and so equal none of ours: If-Match compares strongly (RFC 9110, section 13.1.1).

    Raises:
        ProblemError: 422 when it is no list of ETags.
    """
    given = "*" if given is None else given.strip()
    if given == "*":
        return None
    if _LIST.fullmatch(given) is None:
        raise ProblemError(_NO_LIST)
    return frozenset(_ETAG.findall(given))


def version_in(etags: frozenset[str]) -> int | None:
    """Return the version when *etags* is exactly one of a version, so that the database itself can compare it."""
    found = _VERSION.fullmatch(next(iter(etags))) if len(etags) == 1 else None
    return None if found is None else int(found[1])
