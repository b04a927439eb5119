"""What the export route of a resource does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import pydantic_core
from starlette.responses import Response, StreamingResponse

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.delimited import cell_of, csv_line
from svc_infra.api.fastapi.db.sql.encode import Encoder, ModelEncoder, RowEncoder
from svc_infra.api.fastapi.db.sql.query import ListQuery
from svc_infra.api.fastapi.db.sql.route import Call

__all__ = ["CSV", "NDJSON", "Export"]

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"

_BATCH: Final = 500


class Export:
    """Answer all records of a query, in constant memory."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    async def __call__(self, call: Call) -> Response:
        """Answer every record that the conditions allow, as NDJSON, or as CSV when `Accept` prefers text/csv."""
        binding = self.binding
        query = binding.rules.parse(call.request.scope["query_string"])
        accepted = call.request.headers.get("accept", "")
        as_csv = CSV in accepted and "ndjson" not in accepted
        repo = binding.scoped(call.tenant).rows_of(*binding.shown_names)
        lines = self._csv(call, repo, query) if as_csv else self._ndjson(call, repo, query)
        # The first part is made before the status leaves, so that a database that is away is a 503.
        first = await anext(lines)

        async def whole() -> AsyncIterator[bytes]:
            async with aclosing(lines):
                yield first
                async for line in lines:
                    yield line

        media_type = f"{CSV}; charset=utf-8" if as_csv else NDJSON
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
        names, texts = self.binding.shown_names, self.binding.text_members
        encoder = RowEncoder(self.binding.columns, names)
        yield csv_line(cell_of(name, is_text=True) for name in names).encode()
        async with aclosing(self._batches(call, repo, query)) as batches:
            async for batch in batches:
                records = pydantic_core.from_json(encoder.many(batch))
                lines = (csv_line(cell_of(row[name], is_text=texts[name]) for name in names) for row in records)
                yield "".join(lines).encode()
