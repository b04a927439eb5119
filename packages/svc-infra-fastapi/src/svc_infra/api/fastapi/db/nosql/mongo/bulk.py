"""What the bulk routes of a MongoDB resource do: create, update and delete many documents, each by itself.

Without a replica set MongoDB has no transaction over several documents, so there is no "all or none" to promise: each
item succeeds or fails by itself, as with `?atomic=false` of SQL resources, and `?atomic=true` is refused. All items go
in one bulk write, except those with an `if_match`: a bulk write does not tell which of its conditions held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from svc_infra.api.fastapi.problems import NOT_FOUND, ProblemError, problem_of, without_field
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

    async def write_each(self, call: MongoCall, items: Sequence[Any]) -> Sequence[Outcome | Exception]:
        """Carry out the items, and return for each what became of it or the error that is about it."""
        raise NotImplementedError

    def shown(self, status: int, result: object) -> Outcome | Exception:
        """Return the outcome of an item that gave *result*: its document, None when there is none, or its error."""
        if isinstance(result, Exception):
            return result
        if result is None:
            return ProblemError(NOT_FOUND)
        content = self.binding.encoded(result)
        return Outcome(status, content, self.etag(content, result))

    def refused(self, error: Exception) -> Outcome:
        """Return the outcome of an item that *error* is about.

        Raises:
            Exception: *error* itself, when it is about the whole request, such as a lost connection.
        """
        problem = mongo_problem_of(error) or problem_of(error)
        if problem is None or problem.status >= 500:
            raise error
        return Outcome(problem.status, problem=without_field(problem, self.binding.resource.tenant_field))

    async def answer(self, call: MongoCall) -> Response:
        """Answer the request."""
        binding = self.binding
        request = await read_bulk(
            call.request, self.body, binding.rules, binding.resource.max_bulk_bytes,
            prepare=self.prepared, key_of=self.key_of, modes=("false",),
        )  # fmt: skip
        binding.scoped(call.tenant)  # a request without a tenant is refused as a whole
        results = await self.write_each(call, [item for _, item in request.items])
        for (place, _), result in zip(request.items, results, strict=True):
            request.outcomes[place] = self.refused(result) if isinstance(result, Exception) else result
        return bulk_response(request, request.outcomes)


class BulkCreate(BulkOperation):
    """Create many documents."""

    async def __call__(self, call: MongoCall) -> Response:
        """Create the documents that the array describes, each by itself; 207 when one is refused."""
        return await self.answer(call)

    async def write_each(self, call: MongoCall, items: Sequence[dict[str, object]]) -> Sequence[Outcome | Exception]:
        """Create the documents by one bulk write."""
        return [self.shown(201, each) for each in await self.binding.service(call.tenant).create_each(call.db, items)]


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

    async def write_each(self, call: MongoCall, items: Sequence[Addressed]) -> Sequence[Outcome | Exception]:
        """Write the items that are for any version at once, and those for some versions one by one."""
        plain = iter(await self.write_plain(call, [item for item in items if item.etags is None]))
        return [next(plain) if item.etags is None else await self._try_one(call, item) for item in items]

    async def _try_one(self, call: MongoCall, item: Addressed) -> Outcome | Exception:
        try:
            return await self.write_one(call, item)
        except Exception as error:  # noqa: BLE001 - raised again when it is not about the item
            return self.refused(error)

    async def write_plain(self, call: MongoCall, items: Sequence[Addressed]) -> Sequence[Outcome | Exception]:
        """Write items that are for any version, in a few round trips for all of them."""
        raise NotImplementedError

    async def write_one(self, call: MongoCall, item: Addressed) -> Outcome | Exception:
        """Write one item if its document is one of its versions."""
        raise NotImplementedError


class BulkUpdate(_BulkChange):
    """Change many documents."""

    async def __call__(self, call: MongoCall) -> Response:
        """Change the fields in `data` of each document, each by itself; 207 when one is refused."""
        return await self.answer(call)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        return self.addressed_schema("Update", self.binding.schemas.update)

    async def write_plain(self, call: MongoCall, items: Sequence[Addressed]) -> Sequence[Outcome | Exception]:
        """Change the documents by one bulk write."""
        changes = [(item.key, item.data) for item in items]
        return [self.shown(200, each) for each in await self.binding.service(call.tenant).update_each(call.db, changes)]

    async def write_one(self, call: MongoCall, item: Addressed) -> Outcome | Exception:
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

    async def write_plain(self, call: MongoCall, items: Sequence[Addressed]) -> Sequence[Outcome | Exception]:
        """Delete the documents by one write."""
        keys = [item.key for item in items]
        deleted = await self.binding.service(call.tenant).delete_each(call.db, keys)
        return [
            each if isinstance(each, Exception) else Outcome(204) if each else ProblemError(NOT_FOUND)
            for each in deleted
        ]

    async def write_one(self, call: MongoCall, item: Addressed) -> Outcome | Exception:
        """Delete one document."""
        await self.delete(call, item.key, item.etags)
        return Outcome(204)


BULK: Final[Mapping[MongoAction, type[BulkCreate | BulkUpdate | BulkDelete]]] = {
    "bulk_create": BulkCreate,
    "bulk_update": BulkUpdate,
    "bulk_delete": BulkDelete,
}
"""The operation of each bulk action."""
