"""What the routes of a resource do: list, get, create, update, replace and delete.

Each operation takes rows when nothing asks for objects, and the resource's service otherwise. Answers are encoded to
bytes; a write answers only after its transaction was committed.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.body import parse_json
from svc_infra.api.fastapi.db.sql.encode import Encoder, page_bytes
from svc_infra.api.fastapi.db.sql.query import ListQuery
from svc_infra.api.fastapi.db.sql.route import Call, Operation
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import NOT_FOUND, ProblemError

__all__ = ["Create", "Delete", "Get", "Head", "ListRows", "Update"]


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response of bytes that are JSON already."""
    return Response(content, status, headers, "application/json")


class ListRows:
    """Answer a page of rows."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Answer the page that the query string asks for."""
        binding = self.binding
        query = binding.rules.parse(call.request.scope["query_string"])
        async with call.open_session() as session:
            records, encoder = await self._records(session, query, call.tenant)
            total = await self._total(session, query, call.tenant)
        return json_response(page_bytes(encoder.many(records), total, query.limit, query.offset))

    async def _records(self, session: AsyncSession, query: ListQuery, tenant: object) -> tuple[list[Any], Encoder]:
        binding = self.binding
        source: Any = binding.rows(tenant) if binding.reads_rows else binding.service(tenant)
        encoder = binding.encoder if binding.reads_rows else binding.object_encoder
        page: dict[str, Any] = {
            "limit": query.limit,
            "offset": query.offset,
            "order_by": query.order_by or None,
            "where": binding.where(query.conditions),
        }
        if query.q is not None:
            return await source.search(session, q=query.q, fields=query.fields, **page), encoder
        return await source.list(session, **page), encoder

    async def _total(self, session: AsyncSession, query: ListQuery, tenant: object) -> int | None:
        if query.total == "none":
            return None
        binding = self.binding
        source: Any = binding.rows(tenant) if binding.reads_rows else binding.service(tenant)
        where = binding.where(query.conditions)
        if query.q is not None:
            found: int = await source.count(session, where=where, q=query.q, fields=query.fields)
        else:
            found = await source.count(session, where=where)
        return found


class Get:
    """Answer one row."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Answer the row that the path addresses; 404 when there is none."""
        binding = self.binding
        key = binding.parse_id(call.request)
        source: Any = binding.rows(call.tenant) if binding.reads_rows else binding.service(call.tenant)
        async with call.open_session() as session:
            record = await source.get(session, key)
        if record is None:
            raise ProblemError(NOT_FOUND)
        encoder = binding.encoder if binding.reads_rows else binding.object_encoder
        return json_response(encoder.one(record))


class Create:
    """Create a row."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Create the row that the body describes and answer it, with its place in `Location`."""
        binding = self.binding
        body = await parse_json(call.request, binding.create_adapter, binding.max_body_bytes)
        data = written_fields(body, binding.schemas)
        direct = binding.creates_rows
        target: Any = binding.rows(call.tenant) if direct else binding.service(call.tenant)
        encoder = binding.encoder if direct else binding.object_encoder
        async with call.open_session() as session:
            record = await target.create(session, data)
            content = encoder.one(record)
        return json_response(content, 201, {"Location": location_of(call, binding, encoder, record)})


class Update:
    """Change some fields of a row."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Change the fields that the body holds and answer the row; 404 when there is none."""
        binding = self.binding
        key = binding.parse_id(call.request)
        body = await parse_json(call.request, binding.update_adapter, binding.max_body_bytes)
        data = written_fields(body, binding.schemas)
        direct = binding.updates_rows
        target: Any = binding.rows(call.tenant) if direct else binding.service(call.tenant)
        encoder = binding.encoder if direct else binding.object_encoder
        async with call.open_session() as session:
            record = await target.update(session, key, data)
            if record is None:
                raise ProblemError(NOT_FOUND)
            content = encoder.one(record)
        return json_response(content)


class Delete:
    """Delete a row."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Delete the row, or mark it as deleted; 404 when there is none."""
        binding = self.binding
        key = binding.parse_id(call.request)
        target: Any = binding.rows(call.tenant) if binding.deletes_rows else binding.service(call.tenant)
        async with call.open_session() as session:
            if not await target.delete(session, key):
                raise ProblemError(NOT_FOUND)
        return Response(status_code=204)


class Head:
    """Answer what another operation answers, without the body."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation

    async def __call__(self, call: Call) -> Response:
        """Answer the status and headers alone."""
        found = await self.operation(call)
        return Response(status_code=found.status_code, headers=dict(found.headers))


def location_of(call: Call, binding: ResourceBinding, encoder: Encoder, record: Any) -> str:
    """Return the path of a row that was just created in the collection that *call* addresses."""
    parts = [quote(str(encoder.member(record, column.name)), safe="") for column in binding.id_columns]
    return "/".join([call.request.scope["path"].rstrip("/"), *parts])
