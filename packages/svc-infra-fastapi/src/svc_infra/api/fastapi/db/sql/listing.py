"""What the list and export routes of a resource do."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import pydantic_core
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response, StreamingResponse

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.encode import Encoder, ModelEncoder, RowEncoder, page_bytes
from svc_infra.api.fastapi.db.sql.operations import json_response
from svc_infra.api.fastapi.db.sql.query import ListQuery
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.problems import Problem, ProblemError
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.reading import Executor

__all__ = ["Export", "ListRecords"]

CAPPED_TOTAL: Final = 10_000
"""Where counting stops for `total=capped`."""

_BATCH: Final = 500


class ListRecords:
    """Answer a page of records."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Answer the page that the query string asks for, by position or by cursor."""
        binding = self.binding
        query = binding.rules.parse(call.request.scope["query_string"])
        source, encoder = binding.source(query, call.tenant)
        # One statement needs no transaction; a page and its total in two should see the same rows.
        is_one_statement = query.total in {"exact", "none"} and query.q is None and query.cursor is None
        is_direct = binding.reads_rows and is_one_statement and not query.include
        async with (call.open_reader if is_direct else call.open_session)() as session:
            if query.cursor is not None:
                return await self._page_by_key(session, source, encoder, query)
            records, total = await self._page(session, source, query)
            items = encoder.many(records)
        return json_response(page_bytes(items, total, query.limit, query.offset))

    async def _page(self, session: Executor, source: Any, query: ListQuery) -> tuple[Sequence[Any], int | None]:
        asked: dict[str, Any] = {"where": query.where or None}
        page: dict[str, Any] = {
            "limit": query.limit,
            "offset": query.offset,
            "order_by": query.order_by or None,
            **asked,
        }
        if query.q is not None:
            asked |= {"q": query.q, "fields": query.fields}
        if query.total == "exact" and self.binding.keeps_reads:
            found: tuple[Sequence[Any], int] = await source.list_and_count(session, **{**page, **asked})
            return found
        searched = {name: asked[name] for name in ("q", "fields") if name in asked}
        records = await (source.search(session, **page, **searched) if searched else source.list(session, **page))
        if query.total == "none":
            return records, None
        if query.total == "exact":
            return records, await source.count(session, **asked)
        if query.total == "estimated" and not asked["where"] and query.q is None:
            estimate = await self._estimate(session)
            if estimate is not None:
                return records, max(estimate, query.offset + len(records))
        return records, await source.count(session, **asked, at_most=CAPPED_TOTAL)

    async def _estimate(self, session: Executor) -> int | None:
        """Return what the database's statistics say, or None where they would say it of rows that are not shown."""
        binding = self.binding
        if binding.resource.tenant_field is not None or binding.repo.soft_delete:
            return None
        if not isinstance(session, AsyncSession) or session.get_bind().dialect.name != "postgresql":
            return None
        statement = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:name)")
        found = await session.scalar(statement, {"name": binding.repo.fields.table.fullname})
        return None if found is None or found < 0 else int(found)

    async def _page_by_key(self, session: Executor, source: Any, encoder: Encoder, query: ListQuery) -> Response:
        asked: dict[str, Any] = {"where": query.where or None}
        if query.q is not None:
            asked |= {"q": query.q, "fields": query.fields}
        try:
            page = await source.page(
                session, limit=query.limit, cursor=query.cursor or None, order_by=query.order_by or None, **asked
            )
        except InvalidValue:
            error = {"loc": ["query", "cursor"], "msg": "The cursor is of another list or damaged", "type": "cursor"}
            raise ProblemError(
                Problem("invalid-request", 422, "cursor: The cursor is of another list or damaged", errors=[error])  # type: ignore[list-item]
            ) from None
        envelope = page_bytes(encoder.many(page.items), None, query.limit, 0)
        ways = pydantic_core.to_json({"next_cursor": page.next_cursor, "previous_cursor": page.previous_cursor})
        return json_response(b"%b,%b" % (envelope[:-1], ways[1:]))


class Export:
    """Answer all records of a query, in constant memory."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Answer every record that the conditions allow, as NDJSON, or as CSV when `Accept` prefers text/csv."""
        binding = self.binding
        query = binding.rules.parse(call.request.scope["query_string"])
        accepted = call.request.headers.get("accept", "")
        as_csv = "text/csv" in accepted and "ndjson" not in accepted
        repo = binding.scoped(call.tenant).rows_of(*binding.shown_names)
        lines = self._csv(call, repo, query) if as_csv else self._ndjson(call, repo, query)
        # The first part is made before the status leaves, so that a database that is away is a 503.
        first = await anext(lines)

        async def whole() -> AsyncIterator[bytes]:
            async with aclosing(lines):
                yield first
                async for line in lines:
                    yield line

        media_type = "text/csv; charset=utf-8" if as_csv else "application/x-ndjson"
        return StreamingResponse(whole(), media_type=media_type, headers={"Cache-Control": "no-store"})

    async def _batches(self, call: Call, repo: Any, query: ListQuery) -> AsyncGenerator[list[Any], None]:
        batch: list[Any] = []
        # The request's own session ends before a stream is sent.
        async with call.database.session(readonly=True) as session:
            rows = repo.stream(session, order_by=query.order_by or None, where=query.where or None, batch_size=_BATCH)
            async with aclosing(rows):
                async for row in rows:
                    batch.append(row)
                    if len(batch) == _BATCH:
                        yield batch
                        batch = []
        yield batch

    async def _ndjson(self, call: Call, repo: Any, query: ListQuery) -> AsyncGenerator[bytes, None]:
        binding = self.binding
        encoder: Encoder = RowEncoder(binding.columns, binding.shown_names)
        if binding.resource.read_schema is not None:
            encoder = ModelEncoder(binding.schemas.read)
        async with aclosing(self._batches(call, repo, query)) as batches:
            async for batch in batches:
                yield b"".join(encoder.one(row) + b"\n" for row in batch)

    async def _csv(self, call: Call, repo: Any, query: ListQuery) -> AsyncGenerator[bytes, None]:
        names = self.binding.shown_names
        encoder = RowEncoder(self.binding.columns, names)
        yield _csv_bytes([names])
        async with aclosing(self._batches(call, repo, query)) as batches:
            async for batch in batches:
                records = pydantic_core.from_json(encoder.many(batch))
                yield _csv_bytes([[_cell(record[name]) for name in names] for record in records])


def _csv_bytes(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else pydantic_core.to_json(value).decode()
