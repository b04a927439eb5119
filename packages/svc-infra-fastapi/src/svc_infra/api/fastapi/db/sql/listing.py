"""What the list route of a resource does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pydantic_core
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.encode import Encoder, page_bytes
from svc_infra.api.fastapi.db.sql.operations import json_response
from svc_infra.api.fastapi.db.sql.query import ListQuery
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.problems import Problem, ProblemError
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.reading import Executor

__all__ = ["ListRecords"]

CAPPED_TOTAL: Final = 10_000
"""Where counting stops for `total=capped`."""


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
        is_one_statement = query.total == "none" or (query.total == "exact" and query.q is None)
        is_direct = binding.reads_rows and is_one_statement and query.cursor is None and not query.include
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
