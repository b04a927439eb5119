"""What the bulk routes of a resource do: create, update, upsert and delete many records in one transaction.

A request is atomic unless it says `?atomic=false`: either every item is carried out, or none is and the problem names
the first item at fault, `["body", 3, "email"]`. Not atomic, each item succeeds or fails by itself and the answer is 207
with a result for each; what succeeded is committed together. `Prefer: return=minimal` (RFC 7240) answers the count
alone, for which the database's fastest way is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pydantic_core
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.body import JSON, read_body, require_media_type, validated
from svc_infra.api.fastapi.db.sql.bulk_schemas import BulkBody, RefusedItem
from svc_infra.api.fastapi.db.sql.encode import Encoder
from svc_infra.api.fastapi.db.sql.item_problems import item_at, item_problem, located
from svc_infra.api.fastapi.db.sql.operations import RecordOperation, json_response
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import Problem, ProblemError, without_field

__all__ = ["BulkOperation", "BulkRequest", "Outcome"]

_ATOMIC: Final = ("true", "false")
_NO_SAVEPOINTS: Final = Problem(
    "not-supported", 422, "This database can't undo a part of a transaction; leave atomic=false away."
)


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


class BulkOperation(RecordOperation):
    """What the bulk operations share: reading the request, the two modes, the answer."""

    status = 200

    def __init__(self, binding: ResourceBinding) -> None:
        super().__init__(binding)
        self.body: BulkBody = BulkBody(self.item_schema(), binding.resource.max_bulk_items)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        return self.binding.schemas.create

    async def write_all(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Carry out every item, in as few statements as can be.

        Raises:
            ProblemError: An item is refused; the problem names it.
        """
        raise NotImplementedError

    async def write_one(self, session: AsyncSession, call: Call, item: Any) -> Outcome:
        """Carry out one item; an error is about it."""
        raise NotImplementedError

    async def write_in_turn(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Carry out one item after the other.

        Raises:
            ProblemError: As in `write_all`.
        """
        outcomes: list[Outcome] = []
        for place, item in request.items:
            with item_at(place):
                outcomes.append(await self.write_one(session, call, item))
        return outcomes

    @property
    def is_direct(self) -> bool:
        """Whether no service takes part, so that an attempt has no effect outside of the database."""
        raise NotImplementedError

    async def __call__(self, call: Call) -> Response:
        """Answer the request."""
        request = await self._read(call.request)
        async with call.open_session() as session:
            if request.is_atomic:
                outcomes = dict(enumerate(await self.write_all(session, call, request)))
            else:
                outcomes = await self._write_each(session, call, request)
        failed = sum(outcome.problem is not None for outcome in outcomes.values())
        shown = (
            [] if request.is_minimal and not failed else [outcomes[place].json(place) for place in range(request.size)]
        )
        content = b'{"succeeded":%d,"failed":%d,"results":[%b]}' % (request.size - failed, failed, b",".join(shown))
        applied = {"Preference-Applied": "return=minimal"} if request.is_minimal else None
        return json_response(content, 207 if failed else 200, applied)

    async def _read(self, request: Request) -> BulkRequest:
        resource = self.binding.resource
        is_atomic = self.binding.rules.parse_choice(request.scope["query_string"], "atomic", _ATOMIC) == "true"
        require_media_type(request, JSON)
        data = await read_body(request, resource.max_bulk_bytes)
        found: list[Any] = validated(self.body.whole if is_atomic else self.body.each, data)
        prefer = ",".join(request.headers.getlist("prefer")).replace(" ", "").lower()
        read = BulkRequest([], len(found), is_atomic, "return=minimal" in prefer.split(","))
        for place, item in enumerate(found):
            if isinstance(item, RefusedItem):
                read.outcomes[place] = Outcome(item.problem.status, problem=item.problem)
                continue
            try:
                read.items.append((place, self.prepared(item)))
            except ProblemError as error:
                if is_atomic:
                    raise ProblemError(located(error.problem, place)) from None
                read.outcomes[place] = Outcome(error.problem.status, problem=error.problem)
        self._refuse_repeated(read)
        return read

    def prepared(self, item: Any) -> Any:
        """Return what the operation needs of a validated item.

        Raises:
            ProblemError: The item holds what means nothing.
        """
        return written_fields(item, self.binding.schemas)

    def key_of(self, item: Any) -> object:
        """Return what tells the item's record apart, or None."""
        raise NotImplementedError

    def _refuse_repeated(self, read: BulkRequest) -> None:
        """Refuse items about the same record, of which nobody knows which is meant."""
        seen: set[object] = set()
        once: list[tuple[int, Any]] = []
        for place, item in read.items:
            key = self.key_of(item)
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

    async def _write_each(self, session: AsyncSession, call: Call, request: BulkRequest) -> dict[int, Outcome]:
        """Carry out each item within a savepoint; all at once first, where that can be undone without a trace."""
        if session.get_bind().dialect.name == "duckdb":
            raise ProblemError(_NO_SAVEPOINTS)
        outcomes = request.outcomes
        if self.is_direct:
            try:
                async with session.begin_nested():
                    written = await self.write_all(session, call, request)
                return {**outcomes, **dict(zip((place for place, _ in request.items), written, strict=True))}
            except Exception as error:  # noqa: BLE001 (raised again when it is not about an item)
                item_problem(error)
        for place, item in request.items:
            try:
                async with session.begin_nested():
                    outcomes[place] = await self.write_one(session, call, item)
            except Exception as error:  # noqa: BLE001 (as above)
                problem = without_field(item_problem(error), self.binding.resource.tenant_field)
                outcomes[place] = Outcome(problem.status, problem=problem)
        return outcomes

    def target(self, tenant: object) -> tuple[Any, Encoder]:
        """Return what writes the records, and what encodes them."""
        binding = self.binding
        if self.is_direct:
            return binding.rows(tenant), binding.encoder
        return binding.service(tenant), binding.object_encoder

    def shown(self, encoder: Encoder, record: Any, request: BulkRequest | None = None) -> Outcome:
        """Return the outcome of an item whose record is *record*."""
        if request is not None and request.is_minimal:
            return Outcome(self.status)
        content, etag = self.encoded(encoder, record)
        return Outcome(self.status, content, etag)
