"""What the export route of a MongoDB resource does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from svc_infra.api.fastapi.db.nosql.mongo.binding import MongoBinding
from svc_infra.api.fastapi.db.nosql.mongo.operations import MongoCall
from svc_infra.api.fastapi.db.sql.exporting import StreamedRecords
from svc_infra.api.fastapi.db.sql.query import ListQuery

__all__ = ["ExportDocuments"]


class ExportDocuments(StreamedRecords):
    """Answers all documents of a query."""

    def __init__(self, binding: MongoBinding) -> None:
        shown = binding.schemas.read.model_fields
        super().__init__(
            binding.rules, {name: name in binding.fields and binding.fields[name].is_json_text for name in shown}
        )
        self.binding = binding

    async def records(self, call: MongoCall, query: ListQuery) -> AsyncGenerator[Any, None]:
        """Give the documents."""
        documents: Any = self.binding.scoped(call.tenant).stream(
            call.db,
            order_by=query.order_by or None,
            where=self.binding.conditions(query) or None,
            batch_size=self.batch_size,
        )
        async with aclosing(documents):
            async for document in documents:
                yield document

    def line(self, record: Any) -> bytes:
        """Return a document as a JSON object."""
        return self.binding.encoded(record)
