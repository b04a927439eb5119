"""What the bulk routes of a MongoDB resource do: create, update and delete many documents, each by itself.

Without a replica set MongoDB has no transaction over several documents, so there is no "all or none" to promise: each
item succeeds or fails by itself, as with `?atomic=false` of SQL resources, and `?atomic=true` is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from svc_infra.api.fastapi.db.nosql.mongo.binding import MongoBinding
from svc_infra.api.fastapi.db.nosql.mongo.operations import DocumentOperation, MongoCall
from svc_infra.api.fastapi.db.nosql.mongo.problems import mongo_problem_of
from svc_infra.api.fastapi.db.sql.bulk_schemas import BulkBody, item_schema_of
from svc_infra.api.fastapi.db.sql.conditional import etags_in
from svc_infra.api.fastapi.db.sql.exchange import Outcome, bulk_response, read_bulk
from svc_infra.api.fastapi.db.sql.item_problems import item_at
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import problem_of
from svc_infra.db.nosql.mongo.resource import MongoAction

__all__ = ["BULK", "BulkOperation"]


class BulkOperation(DocumentOperation):
    """What the bulk operations share."""

    def __init__(self, binding: MongoBinding) -> None:
        super().__init__(binding)
        self.body: BulkBody = BulkBody(self.item_schema(), binding.resource.max_bulk_items)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        return self.binding.schemas.create

    def prepared(self, item: Any) -> Any:
        """Return what the operation needs of a validated item.

        Raises:
            ProblemError: The item holds what means nothing.
        """
        return written_fields(item, self.binding.schemas)

    def key_of(self, item: Any) -> object:  # noqa: ARG002
        """Return what tells the item's document apart, or None."""
        return None

    async def write(self, call: MongoCall, item: Any) -> Outcome:
        """Carry out one item; an error is about it."""
        raise NotImplementedError

    def shown(self, status: int, document: object) -> Outcome:
        """Return the outcome of an item whose document is *document*."""
        content = self.binding.encoded(document)
        return Outcome(status, content, self.etag(content, document))

    async def answer(self, call: MongoCall) -> Response:
        """Answer the request."""
        binding = self.binding
        request = await read_bulk(
            call.request, self.body, binding.rules, binding.resource.max_bulk_bytes,
            prepare=self.prepared, key_of=self.key_of, modes=("false",),
        )  # fmt: skip
        binding.scoped(call.tenant)  # a request without a tenant is refused as a whole
        for place, item in request.items:
            try:
                request.outcomes[place] = await self.write(call, item)
            except Exception as error:
                problem = mongo_problem_of(error) or problem_of(error)
                if problem is None or problem.status >= 500:
                    raise
                request.outcomes[place] = Outcome(problem.status, problem=problem)
        return bulk_response(request, request.outcomes)


class BulkCreate(BulkOperation):
    """Create many documents."""

    async def __call__(self, call: MongoCall) -> Response:
        """Create the documents that the array describes, each by itself; 207 when one is refused."""
        return await self.answer(call)

    async def write(self, call: MongoCall, item: dict[str, object]) -> Outcome:
        """Create one document."""
        return self.shown(201, await self.binding.service(call.tenant).create(call.db, item))


@dataclass(frozen=True, slots=True)
class Addressed:
    """An item that names its document.

    Attributes:
        key: The id.
        etags: The versions that the document may have, or None for any.
        data: The fields to change.
    """

    key: object
    etags: frozenset[str] | None
    data: dict[str, object]


class _BulkChange(BulkOperation):
    """What updates and deletes share."""

    def addressed_schema(self, verb: str, data: type[BaseModel] | None) -> type[BaseModel]:
        """Return the schema of an item that names its document."""
        key = self.binding.fields[self.binding.resource.id_attr]
        return item_schema_of(f"{self.binding.noun}Bulk{verb}", [key], data, f"{verb}s one record.")

    def prepared(self, item: Any) -> Addressed:
        """Return the id, the versions and the fields of an item."""
        data: dict[str, object] = {}
        if hasattr(item, "data"):
            with item_at("data"):
                data = written_fields(item.data, self.binding.schemas)
        return Addressed(getattr(item, self.binding.resource.id_attr), etags_in(item.if_match), data)

    def key_of(self, item: Any) -> object:
        """Return the id."""
        return item.key


class BulkUpdate(_BulkChange):
    """Change many documents."""

    async def __call__(self, call: MongoCall) -> Response:
        """Change the fields in `data` of each document, each by itself; 207 when one is refused."""
        return await self.answer(call)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        return self.addressed_schema("Update", self.binding.schemas.update)

    async def write(self, call: MongoCall, item: Addressed) -> Outcome:
        """Change one document."""
        return self.shown(200, await self.updated(call, item.key, item.data, item.etags))


class BulkDelete(_BulkChange):
    """Delete many documents."""

    async def __call__(self, call: MongoCall) -> Response:
        """Delete each document, or mark it as deleted, each by itself; 207 when one is refused."""
        return await self.answer(call)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        return self.addressed_schema("Delete", None)

    async def write(self, call: MongoCall, item: Addressed) -> Outcome:
        """Delete one document."""
        await self.delete(call, item.key, item.etags)
        return Outcome(204)


BULK: Final[Mapping[MongoAction, type[BulkCreate | BulkUpdate | BulkDelete]]] = {
    "bulk_create": BulkCreate,
    "bulk_update": BulkUpdate,
    "bulk_delete": BulkDelete,
}
"""The operation of each bulk action."""
