"""Conditional requests (RFC 9110, section 13): ETag, If-None-Match, If-Match.

A record's ETag is its version where the model counts versions, and a hash of its JSON elsewhere. Both are strong: two
equal ETags mean the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from starlette.requests import Request

from svc_infra.api.fastapi.problems import Problem, ProblemError

__all__ = ["etag_of", "is_unchanged", "required_etags"]

PRECONDITION_FAILED: Final = Problem(
    "precondition-failed", 412, "The record is not the version that If-Match names. Read it again."
)
_MISSING: Final = Problem("precondition-required", 428, "Say by If-Match which version is to be changed.")

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


def is_unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-None-Match says that the client has this version, so that 304 answers."""
    given = headers.get("if-none-match")
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
    given = request.headers.get("if-match")
    if given is None:
        if must:
            raise ProblemError(_MISSING)
        return None
    given = given.strip()
    if given == "*":
        return None
    if _LIST.fullmatch(given) is None:
        raise ProblemError(_NO_LIST)
    return frozenset(_ETAG.findall(given))


def version_in(etags: frozenset[str]) -> int | None:
    """Return the version when *etags* is exactly one of a version, so that the database itself can compare it."""
    if len(etags) != 1:
        return None
    text = next(iter(etags)).removeprefix('"v').removesuffix('"')
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
