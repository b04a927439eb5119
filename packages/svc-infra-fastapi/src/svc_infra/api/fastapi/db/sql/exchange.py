"""Bulk requests and their answers, whatever database the records are in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.body import JSON, read_body, require_media_type, require_plain, validated
from svc_infra.api.fastapi.db.sql.bulk_schemas import BulkBody, RefusedItem
from svc_infra.api.fastapi.db.sql.item_problems import located
from svc_infra.api.fastapi.db.sql.operations import json_response
from svc_infra.api.fastapi.db.sql.query import ListRules
from svc_infra.api.fastapi.problems import Problem, ProblemError

__all__ = ["BulkRequest", "Outcome", "bulk_response", "read_bulk"]

_ATOMIC: Final = ("true", "false")


@dataclass(slots=True)
class Outcome:
    """What became of one item.

    Attributes:
        status: The status that it would have had as a request of its own.
        content: The record's JSON, where it is shown.
        etag: The record's ETag, where it is shown.
        problem: Why it was refused, or None.
    """

    status: int
    content: bytes | None = None
    etag: str = ""
    problem: Problem | None = None

    def json(self, index: int) -> bytes:
        """Return the entry of the answer."""
        if self.problem is not None:
            return b'{"index":%d,"status":%d,"problem":%b}' % (
                index,
                self.status,
                pydantic_core.to_json(self.problem.body()),
            )
        if self.content is None:
            return b'{"index":%d,"status":%d}' % (index, self.status)
        etag = pydantic_core.to_json(self.etag)
        return b'{"index":%d,"status":%d,"etag":%b,"item":%b}' % (index, self.status, etag, self.content)


@dataclass(slots=True)
class BulkRequest:
    """A bulk request after parsing.

    Attributes:
        items: The valid items with their places in the body.
        size: The number of all items.
        outcomes: What became of each item so far, by place.
        is_atomic: Whether all items succeed or none does.
        is_minimal: Whether the answer is the count alone.
    """

    items: list[tuple[int, Any]]
    size: int
    is_atomic: bool = True
    is_minimal: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)


async def read_bulk(
    request: Request,
    body: BulkBody,
    rules: ListRules,
    max_bytes: int,
    *,
    prepare: Callable[[Any], Any],
    key_of: Callable[[Any], object],
    modes: tuple[str, ...] = _ATOMIC,
) -> BulkRequest:
    """Read a bulk request.

    Args:
        request: The request.
        body: Validates its body.
        rules: What its query string may hold.
        max_bytes: The largest body.
        prepare: Returns what the operation needs of a validated item.
        key_of: Returns what tells the record of a prepared item apart, or None.
        modes: What `atomic` may be, the default first.

    Raises:
        ProblemError: 413, 415 or 422; of an item, where the request is atomic.
    """
    is_atomic = rules.parse_choice(request.scope["query_string"], "atomic", modes) == "true"
    require_media_type(request, JSON)
    require_plain(request)
    data = await read_body(request, max_bytes)
    found: list[Any] = validated(body.whole if is_atomic else body.each, data)
    prefer = ",".join(request.headers.getlist("prefer")).replace(" ", "").lower()
    read = BulkRequest([], len(found), is_atomic, "return=minimal" in prefer.split(","))
    for place, item in enumerate(found):
        if isinstance(item, RefusedItem):
            read.outcomes[place] = Outcome(item.problem.status, problem=item.problem)
            continue
        try:
            read.items.append((place, prepare(item)))
        except ProblemError as error:
            if is_atomic:
                raise ProblemError(located(error.problem, place)) from None
            read.outcomes[place] = Outcome(error.problem.status, problem=error.problem)
    _refuse_repeated(read, key_of)
    return read


def _refuse_repeated(read: BulkRequest, key_of: Callable[[Any], object]) -> None:
    """Refuse items about the same record, of which nobody knows which is meant."""
    seen: set[object] = set()
    once: list[tuple[int, Any]] = []
    for place, item in read.items:
        key = key_of(item)
        if key is None or key not in seen:
            seen.add(key)
            once.append((place, item))
            continue
        problem = Problem(
            "invalid-request",
            422,
            "An earlier item is about the same record.",
            errors=[{"loc": ["body"], "msg": "An earlier item is about the same record", "type": "repeated"}],
        )
        if read.is_atomic:
            raise ProblemError(located(problem, place))
        read.outcomes[place] = Outcome(422, problem=problem)
    read.items = once


def bulk_response(request: BulkRequest, outcomes: Mapping[int, Outcome]) -> Response:
    """Return the answer: 200, or 207 when an item was refused."""
    failed = sum(outcome.problem is not None for outcome in outcomes.values())
    shown = [] if request.is_minimal and not failed else [outcomes[place].json(place) for place in range(request.size)]
    content = b'{"succeeded":%d,"failed":%d,"results":[%b]}' % (request.size - failed, failed, b",".join(shown))
    applied = {"Preference-Applied": "return=minimal"} if request.is_minimal else None
    return json_response(content, 207 if failed else 200, applied)
