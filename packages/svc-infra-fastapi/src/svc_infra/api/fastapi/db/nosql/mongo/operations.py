"""What the routes of a MongoDB resource do: list, get, create, update, delete and restore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pydantic_core
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

__all__ = ["Create", "Delete", "Get", "ListDocuments", "MongoCall", "Restore", "Update"]

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


class _Operation:
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

    async def expected_version(self, call: MongoCall) -> int | None:
        """Return the version that If-Match asks for, for the write itself to compare; None when any will do.

        Raises:
            ProblemError: 404, 412, or 422 when the resource counts no versions, because then nothing could be compared
                without a moment between the look and the write.
        """
        etags = required_etags(call.request, must=False)
        if etags is None:
            return None
        name = self.binding.resource.version_field
        if name is None:
            raise ProblemError(_NO_VERSION)
        document = await self.binding.service(call.tenant).get(call.db, self.key(call))
        if document is None:
            raise ProblemError(NOT_FOUND)
        if self.etag(b"", document) not in etags:
            raise ProblemError(PRECONDITION_FAILED)
        version: int = getattr(document, name)
        return version


class ListDocuments(_Operation):
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


class Get(_Operation):
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


class Create(_Operation):
    """Create a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Create a document of the body and answer it; 409 when another one has its unique values."""
        binding = self.binding
        body = await parse_json(call.request, binding.create_adapter, binding.resource.max_body_bytes)
        data = written_fields(body, binding.schemas)
        document = await binding.service(call.tenant).create(call.db, data)
        key = quote(str(getattr(document, binding.resource.id_attr)), safe="")
        return self.response(document, 201, Location=f"{call.request.scope['path'].rstrip('/')}/{key}")


class Update(_Operation):
    """Change fields of a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Set the fields that the body has and answer the document; 412 when it is not the If-Match version."""
        binding = self.binding
        body = await parse_json(call.request, binding.update_adapter, binding.resource.max_body_bytes)
        data, version = written_fields(body, binding.schemas), await self.expected_version(call)
        try:
            document = await binding.service(call.tenant).update(call.db, self.key(call), data, version=version)
        except StaleVersion:
            raise ProblemError(PRECONDITION_FAILED) from None
        if document is None:
            raise ProblemError(NOT_FOUND)
        return self.response(document)


class Delete(_Operation):
    """Delete a document."""

    async def __call__(self, call: MongoCall) -> Response:
        """Delete the document, or mark it as deleted; 412 when it is not the If-Match version."""
        version = await self.expected_version(call)
        try:
            if not await self.binding.service(call.tenant).delete(call.db, self.key(call), version=version):
                raise ProblemError(NOT_FOUND)
        except StaleVersion:
            raise ProblemError(PRECONDITION_FAILED) from None
        return Response(status_code=204)


class Restore(_Operation):
    """Undo a soft delete."""

    async def __call__(self, call: MongoCall) -> Response:
        """Make a deleted document live again and answer it; 404 when no deleted document has the id."""
        document = await self.binding.scoped(call.tenant).restore(call.db, self.key(call))
        if document is None:
            raise ProblemError(NOT_FOUND)
        return self.response(document)
