"""What the routes of a MongoDB resource do: list, get, create, update, replace, delete and restore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pydantic_core
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.db.nosql.mongo.binding import MongoBinding
from svc_infra.api.fastapi.db.sql.body import parse_json
from svc_infra.api.fastapi.db.sql.conditional import PRECONDITION_FAILED, etag_of, is_unchanged, required_etags
from svc_infra.api.fastapi.db.sql.query import ListQuery
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import NOT_FOUND, FieldError, Problem, ProblemError
from svc_infra.db.nosql.mongo.errors import InvalidQuery, StaleVersion
from svc_infra.db.nosql.mongo.types import MongoDatabase

__all__ = ["Create", "Delete", "DocumentOperation", "Get", "ListDocuments", "MongoCall", "Replace", "Restore", "Update"]

CAPPED_TOTAL: Final = 10_000
"""Where counting stops for `total=capped`, and for `total=estimated` where statistics would count what is not shown."""

_JSON: Final = "application/json"
_NO_VERSION: Final = Problem("invalid-request", 422, "If-Match: This resource counts no versions of its records.")


@dataclass(slots=True)
class MongoCall:
    """One request to a generated route.

    Attributes:
        request: The request.
        db: The database.
        tenant: The tenant of the request, None where the resource has none.
    """

    request: Request
    db: MongoDatabase
    tenant: object = None


class DocumentOperation:
    """What the operations share."""

    def __init__(self, binding: MongoBinding) -> None:
        self.binding = binding

    def key(self, call: MongoCall) -> str:
        """Return the id in the path, as text; the repository finds nothing for one that no document can have."""
        return str(call.request.path_params[self.binding.resource.id_attr])

    def etag(self, content: bytes, document: object) -> str:
        """Return the ETag of a document: of its version, else of its JSON."""
        name = self.binding.resource.version_field
        return etag_of(content, None if name is None else getattr(document, name, None))

    def response(self, document: object, status: int = 200, **headers: str) -> Response:
        """Return the response that shows a document."""
        content = self.binding.encoded(document)
        return Response(content, status, {"ETag": self.etag(content, document), **headers}, _JSON)

    async def updated(
        self, call: MongoCall, key: object, data: dict[str, object], etags: frozenset[str] | None
    ) -> object:
        """Set fields of a document that must be one of the versions *etags*, and return it.

        Raises:
            ProblemError: As `expected_version`, and 404 when there is no such document.
        """
        service, version = self.binding.service(call.tenant), await self.expected_version(call, key, etags)
        try:
            document = await service.update(call.db, key, data, version=version)
        except StaleVersion:
            raise ProblemError(PRECONDITION_FAILED) from None
        if document is None:
            raise ProblemError(NOT_FOUND)
        found: object = document
        return found

    async def delete(self, call: MongoCall, key: object, etags: frozenset[str] | None) -> None:
        """Delete a document that must be one of the versions *etags*.

        Raises:
            ProblemError: As `updated`.
        """
        service, version = self.binding.service(call.tenant), await self.expected_version(call, key, etags)
        try:
            if not await service.delete(call.db, key, version=version):
                raise ProblemError(NOT_FOUND)
        except StaleVersion:
            raise ProblemError(PRECONDITION_FAILED) from None

    async def expected_version(self, call: MongoCall, key: object, etags: frozenset[str] | None) -> int | None:
        """Return the version that *etags* ask for, for the write itself to compare; None when any will do.

        Raises:
            ProblemError: 404, 412, or 422 when the resource counts no versions, because then nothing could be compared
                without a moment between the look and the write.
        """
        if etags is None:
            return None
        name = self.binding.resource.version_field
        if name is None:
            raise ProblemError(_NO_VERSION)
        document = await self.binding.service(call.tenant).get(call.db, key)
        if document is None:
            raise ProblemError(NOT_FOUND)
        if self.etag(b"", document) not in etags:
            raise ProblemError(PRECONDITION_FAILED)
        version: int = getattr(document, name)
        return version


class ListDocuments(DocumentOperation):
    """Answer a page of documents."""

    async def __call__(self, call: MongoCall) -> Response:
        """Answer the page that the query string asks for, by position or by cursor."""
        query = self.binding.rules.parse(call.request.scope["query_string"])
        if query.cursor is not None:
            return await self._page_by_key(call, query)
        service, where = self.binding.service(call.tenant), self.binding.conditions(query)
        page: dict[str, Any] = {
            "limit": query.limit,
            "offset": query.offset,
            "order_by": query.order_by or None,
            "where": where or None,
        }
        searched: dict[str, Any] = {} if query.q is None else {"q": query.q, "fields": query.fields}
        found = await (service.search(call.db, **page, **searched) if searched else service.list(call.db, **page))
        total = await self._total(call, query, {"where": where or None, **searched})
        members = {"limit": query.limit, "offset": query.offset}
        return self._envelope(found, query, {"total": total}, members)

    async def _total(self, call: MongoCall, query: ListQuery, asked: dict[str, Any]) -> int | None:
        resource = self.binding.resource
        if query.total == "none":
            return None
        if query.total == "exact":
            return await self.binding.service(call.tenant).count(call.db, **asked)
        shows_all = not resource.soft_delete and resource.tenant_field is None and self.binding.keeps_reads
        if query.total == "estimated" and shows_all and asked == {"where": None}:
            estimate: int = await call.db[self.binding.repo.collection].estimated_document_count()
            return estimate
        return await self.binding.service(call.tenant).count(call.db, **asked, at_most=CAPPED_TOTAL)

    async def _page_by_key(self, call: MongoCall, query: ListQuery) -> Response:
        # A cursor says which way it leads by its first letter; the rest is the repository's.
        way, cursor = (query.cursor or "n")[0], (query.cursor or "n")[1:] or None
        if way not in {"n", "p"} or (way == "p" and cursor is None):
            raise _bad_cursor()
        try:
            page = await self.binding.scoped(call.tenant).page(
                call.db,
                limit=query.limit,
                after=cursor if way == "n" else None,
                before=cursor if way == "p" else None,
                order_by=query.order_by or None,
                where=[*self.binding.conditions(query), *self.binding.searched(query)] or None,
            )
        except InvalidQuery:
            raise _bad_cursor() from None
        ways = {
            "next_cursor": None if page.next is None else f"n{page.next}",
            "previous_cursor": None if page.previous is None else f"p{page.previous}",
        }
        return self._envelope(page.items, query, {"total": None}, {"limit": query.limit, "offset": 0, **ways})

    def _envelope(
        self, items: Sequence[object], query: ListQuery, before: Mapping[str, object], after: Mapping[str, object]
    ) -> Response:
        shown = b",".join(self.binding.encoded(item, query.select) for item in items)
        head, tail = pydantic_core.to_json(before)[:-1], pydantic_core.to_json(after)[1:]
        return Response(b'%b,"items":[%b],%b' % (head, shown, tail), media_type=_JSON)


def _bad_cursor() -> ProblemError:
    error: FieldError = {
        "loc": ["query", "cursor"],
        "msg": "The cursor is of another list or damaged",
        "type": "cursor",
    }
    return ProblemError(
        Problem("invalid-request", 422, "cursor: The cursor is of another list or damaged", errors=[error])
    )


class Get(DocumentOperation):
    """Answer a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Answer the document; 304 when the client has this version, 404 when there is none."""
        query = self.binding.rules.parse_item(call.request.scope["query_string"])
        document = await self.binding.service(call.tenant).get(call.db, self.key(call))
        if document is None:
            raise ProblemError(NOT_FOUND)
        content = self.binding.encoded(document, query.select)
        etag = self.etag(content, document)
        if is_unchanged(call.request.headers, etag):
            return Response(status_code=304, headers={"ETag": etag})
        return Response(content, 200, {"ETag": etag}, _JSON)


class Create(DocumentOperation):
    """Create a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Create a document of the body and answer it; 409 when another one has its unique values."""
        binding = self.binding
        body = await parse_json(call.request, binding.create_adapter, binding.resource.max_body_bytes)
        data = written_fields(body, binding.schemas)
        document = await binding.service(call.tenant).create(call.db, data)
        key = quote(str(getattr(document, binding.resource.id_attr)), safe="")
        return self.response(document, 201, Location=f"{call.request.scope['path'].rstrip('/')}/{key}")


class Update(DocumentOperation):
    """Change fields of a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Set the fields that the body has and answer the document; 412 when it is not the If-Match version."""
        binding = self.binding
        body = await parse_json(call.request, binding.update_adapter, binding.resource.max_body_bytes)
        return await self.write(call, written_fields(body, binding.schemas))

    async def write(self, call: MongoCall, data: dict[str, object]) -> Response:
        """Set *data* in the document that the path addresses."""
        etags = required_etags(call.request, must=False)
        return self.response(await self.updated(call, self.key(call), data, etags))


class Replace(Update):
    """Replace a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Replace the writable fields of the document; what the body leaves out takes its default or becomes null."""
        binding = self.binding
        body = await parse_json(call.request, binding.replace_adapter, binding.resource.max_body_bytes)
        return await self.write(call, {**self._defaults(body), **written_fields(body, binding.schemas)})

    def _defaults(self, body: BaseModel) -> dict[str, object]:
        fields = self.binding.fields
        return {
            name: fields[name].info.get_default(call_default_factory=True, validated_data={})
            for name in type(body).model_fields
            if name in fields and not fields[name].is_hidden and not fields[name].info.is_required()
        }


class Delete(DocumentOperation):
    """Delete a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Delete the document, or mark it as deleted; 412 when it is not the If-Match version."""
        await self.delete(call, self.key(call), required_etags(call.request, must=False))
        return Response(status_code=204)


class Restore(DocumentOperation):
    """Undo a soft delete."""

    async def __call__(self, call: MongoCall) -> Response:
        """Make a deleted record live again and answer it; one that is live already stays. 404 when there is none."""
        repo = self.binding.scoped(call.tenant)
        document = await repo.restore(call.db, self.key(call))
        if document is None:
            # So that a client that did not get the first answer may ask again.
            document = await repo.get(call.db, self.key(call))
        if document is None:
            raise ProblemError(NOT_FOUND)
        return self.response(document)
