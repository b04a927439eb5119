"""What the export route of a resource does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Final

import pydantic_core
from starlette.responses import Response, StreamingResponse

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.delimited import cell_of, csv_line
from svc_infra.api.fastapi.db.sql.encode import Encoder, ModelEncoder, RowEncoder
from svc_infra.api.fastapi.db.sql.query import ListQuery, ListRules
from svc_infra.api.fastapi.db.sql.route import Call

__all__ = ["CSV", "EXPORTED", "NDJSON", "Export", "StreamedRecords"]

NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"

EXPORTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {NDJSON: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}},
        "description": "One record per line",
    }
}
"""The answer, for the document."""

_BATCH: Final = 500


class StreamedRecords:
    """Answers all records of a query, in constant memory; what they are read from and how is for others to say."""

    batch_size: ClassVar[int] = _BATCH

    def __init__(self, rules: ListRules, texts: Mapping[str, bool]) -> None:
        """Take what may be asked, and for each field that is shown whether its JSON is always a text."""
        self.rules = rules
        self.texts = texts

    def records(self, call: Any, query: ListQuery) -> AsyncGenerator[Any, None]:
        """Give the records one after the other."""
        raise NotImplementedError

    def line(self, record: Any) -> bytes:
        """Return a record as a JSON object."""
        raise NotImplementedError

    def cells(self, records: list[Any]) -> list[dict[str, Any]]:
        """Return the JSON of records as CSV shows them."""
        return [pydantic_core.from_json(self.line(record)) for record in records]

    async def __call__(self, call: Any) -> Response:
        """Answer every record that the conditions allow, as NDJSON, or as CSV when `Accept` prefers text/csv."""
        query = self.rules.parse(call.request.scope["query_string"])
        accepted = ",".join(call.request.headers.getlist("accept"))
        as_csv = CSV in accepted and "ndjson" not in accepted
        media_type, headers = f"{CSV}; charset=utf-8" if as_csv else NDJSON, {"Cache-Control": "no-store"}
        if call.request.method == "HEAD":
            return StreamingResponse((), headers=headers, media_type=media_type)
        lines = self._csv(call, query) if as_csv else self._ndjson(call, query)
        # The first part is made before the status leaves, so that a database that is away is a 503.
        first = await anext(lines)

        async def whole() -> AsyncIterator[bytes]:
            async with aclosing(lines):
                yield first
                async for line in lines:
                    yield line

        return StreamingResponse(whole(), media_type=media_type, headers=headers)

    async def _batches(self, call: Any, query: ListQuery) -> AsyncGenerator[list[Any], None]:
        batch: list[Any] = []
        async with aclosing(self.records(call, query)) as records:
            async for record in records:
                batch.append(record)
                if len(batch) == self.batch_size:
                    yield batch
                    batch = []
        yield batch

    async def _ndjson(self, call: Any, query: ListQuery) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._batches(call, query)) as batches:
            async for batch in batches:
                yield b"".join(self.line(record) + b"\n" for record in batch)

    async def _csv(self, call: Any, query: ListQuery) -> AsyncGenerator[bytes, None]:
        texts = self.texts
        head = csv_line(cell_of(name, is_text=True) for name in texts).encode()
        async with aclosing(self._batches(call, query)) as batches:
            async for batch in batches:
                lines = (
                    csv_line(cell_of(record[name], is_text=is_text) for name, is_text in texts.items())
                    for record in self.cells(batch)
                )
                yield head + "".join(lines).encode()
                head = b""


class Export(StreamedRecords):
    """Answers all rows of a query."""

    def __init__(self, binding: ResourceBinding) -> None:
        super().__init__(binding.rules, {name: binding.text_members[name] for name in binding.shown_names})
        self.binding = binding
        self._rows = RowEncoder(binding.columns, binding.shown_names)
        given = binding.resource.read_schema is not None
        self._lines: Encoder = ModelEncoder(binding.schemas.read) if given else self._rows

    async def records(self, call: Call, query: ListQuery) -> AsyncGenerator[Any, None]:
        """Give the rows, read by a session of the stream's own: that of the request ends before it is sent."""
        repo = self.binding.scoped(call.tenant).rows_of(*self.binding.shown_names)
        async with call.database.session(readonly=True) as session:
            rows: Any = repo.stream(
                session, order_by=query.order_by or None, where=query.where or None, batch_size=self.batch_size
            )
            async with aclosing(rows):
                async for row in rows:
                    yield row

    def line(self, record: Any) -> bytes:
        """Return a row as a JSON object."""
        return self._lines.one(record)

    def cells(self, records: list[Any]) -> list[dict[str, Any]]:
        """Return the JSON of rows with every column that is shown."""
        found: list[dict[str, Any]] = pydantic_core.from_json(self._rows.many(records))
        return found
