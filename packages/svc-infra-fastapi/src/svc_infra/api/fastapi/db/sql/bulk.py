"""What the bulk routes of a resource do: create, update, upsert and delete many records in one transaction.

A request is atomic unless it says `?atomic=false`: either every item is carried out, or none is and the problem names
the first item at fault, `["body", 3, "email"]`. Not atomic, each item succeeds or fails by itself and the answer is 207
with a result for each; what succeeded is committed together. `Prefer: return=minimal` (RFC 7240) answers the count
alone, for which the database's fastest way is taken.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.bulk_schemas import BulkBody
from svc_infra.api.fastapi.db.sql.encode import Encoder
from svc_infra.api.fastapi.db.sql.exchange import BulkRequest, Outcome, bulk_response, read_bulk
from svc_infra.api.fastapi.db.sql.item_problems import item_at, item_problem
from svc_infra.api.fastapi.db.sql.operations import RecordOperation
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import Problem, ProblemError, with_members, without_field

__all__ = ["BulkOperation"]

_NO_SAVEPOINTS: Final = Problem(
    "not-supported", 422, "This database can't undo a part of a transaction; leave atomic=false away."
)


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
        resource, rules = self.binding.resource, self.binding.rules
        request = await read_bulk(
            call.request, self.body, rules, resource.max_bulk_bytes, prepare=self.prepared, key_of=self.key_of
        )
        async with call.open_session() as session:
            if request.is_atomic:
                outcomes = dict(enumerate(await self.write_all(session, call, request)))
            else:
                outcomes = await self._write_each(session, call, request)
        return bulk_response(request, outcomes)

    def prepared(self, item: Any) -> Any:
        """Return what the operation needs of a validated item.

        Raises:
            ProblemError: The item holds what means nothing.
        """
        return written_fields(item, self.binding.schemas)

    def key_of(self, item: Any) -> object:
        """Return what tells the item's record apart, or None."""
        raise NotImplementedError

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
                problem = with_members(item_problem(error), self.binding.body_members)
                problem = without_field(problem, self.binding.resource.tenant_field)
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
