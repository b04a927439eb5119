"""What the routes of a resource do to one record: get, create, update, replace, delete and restore.

Each operation takes rows when nothing asks for objects, and the resource's service otherwise. Answers are encoded to
bytes; a write answers only after its transaction was committed.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.body import parse_json
from svc_infra.api.fastapi.db.sql.conditional import (
    PRECONDITION_FAILED,
    etag_of,
    is_unchanged,
    required_etags,
    version_in,
)
from svc_infra.api.fastapi.db.sql.encode import Encoder
from svc_infra.api.fastapi.db.sql.route import Call, Operation
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import NOT_FOUND, ProblemError
from svc_infra.db.sql.errors import StaleVersion
from svc_infra.db.sql.reading import Executor

__all__ = ["Create", "Delete", "Get", "Head", "RecordOperation", "Replace", "Restore", "Update", "json_response"]


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response of bytes that are JSON already."""
    return Response(content, status, headers, "application/json")


class RecordOperation:
    """What operations on records share."""

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding

    def encoded(self, encoder: Encoder, record: Any) -> tuple[bytes, str]:
        """Return a record's JSON and its ETag."""
        content, binding = encoder.one(record), self.binding
        if binding.version_field is not None:
            return content, etag_of(content, encoder.member(record, binding.version_field))
        if not binding.tagged_names:
            return content, etag_of(content)
        values = [encoder.member(record, name) for name in binding.tagged_names]
        return content, etag_of(binding.tagged_encoder.one(values))

    def reader(self, tenant: object) -> tuple[Any, Encoder]:
        """Return what reads records, and what encodes them."""
        binding = self.binding
        if binding.reads_rows:
            return binding.rows(tenant), binding.encoder
        return binding.service(tenant), binding.object_encoder

    async def require_match(self, session: Executor, key: object, call: Call, etags: frozenset[str]) -> None:
        """Lock the record and make sure that it is a version in *etags*, for the rest of the transaction.

        Raises:
            ProblemError: 404 when there is no such record, 412 when it is another version.
        """
        if await self._locked_etag(session, key, call) not in etags:
            raise ProblemError(PRECONDITION_FAILED)

    async def require_no_match(self, session: Executor, key: object, call: Call) -> None:
        """Lock the record and make sure that it is no version in If-None-Match, for the rest of the transaction.

        `If-None-Match: *` on a write means "only if there is none yet", and these writes never create one.

        Raises:
            ProblemError: 404 when there is no such record, 412 when it is one of these versions.
        """
        if is_unchanged(call.request.headers, await self._locked_etag(session, key, call)):
            raise ProblemError(PRECONDITION_FAILED)

    async def _locked_etag(self, session: Executor, key: object, call: Call) -> str:
        binding = self.binding
        repo: Any = binding.rows(call.tenant) if binding.shows_columns else binding.scoped(call.tenant)
        encoder = binding.encoder if binding.shows_columns else binding.object_encoder
        record = await repo.get(session, key, lock="update")
        if record is None:
            raise ProblemError(NOT_FOUND)
        return self.encoded(encoder, record)[1]


class Get(RecordOperation):
    """Answer one record."""

    async def __call__(self, call: Call) -> Response:
        """Answer the record that the path addresses; 404 when there is none, 304 when If-None-Match has its ETag."""
        binding, request = self.binding, call.request
        key = binding.parse_id(request)
        query = binding.rules.parse_item(request.scope["query_string"])
        source, encoder = self.reader(call.tenant) if query.is_plain else binding.source(query, call.tenant)
        if binding.reads_rows and not query.include:
            async with call.open_reader() as reader:
                record = await source.get(reader, key)
        else:
            async with call.open_session() as session:
                record = await source.get(session, key)
        if record is None:
            raise ProblemError(NOT_FOUND)
        if not query.is_plain:
            return json_response(encoder.one(record))
        content, etag = self.encoded(encoder, record)
        if is_unchanged(request.headers, etag):
            return Response(status_code=304, headers={"ETag": etag})
        return json_response(content, headers={"ETag": etag})


class Create(RecordOperation):
    """Create a record."""

    @property
    def body_schema(self) -> type[BaseModel]:
        """The schema of the body."""
        return self.binding.schemas.create

    @property
    def shown_schema(self) -> type[BaseModel]:
        """The schema of the answer."""
        return self.binding.schemas.read

    async def __call__(self, call: Call) -> Response:
        """Create the record that the body describes and answer it, with its place in `Location`."""
        binding = self.binding
        body = await parse_json(call.request, binding.create_adapter, binding.resource.max_body_bytes)
        data = written_fields(body, binding.schemas)
        direct = binding.creates_rows
        target: Any = binding.rows(call.tenant) if direct else binding.service(call.tenant)
        encoder = binding.encoder if direct else binding.object_encoder
        async with (call.open_writer if direct and binding.writes_alone else call.open_session)() as session:
            record = await target.create(session, data)
            content, etag = self.encoded(encoder, record)
            location = location_of(call, binding, encoder, record)
        return json_response(content, 201, {"Location": location, "ETag": etag})


class Update(RecordOperation):
    """Change some fields of a record."""

    async def __call__(self, call: Call) -> Response:
        """Change the fields that the body holds and answer the record; 412 when it is not the version in If-Match."""
        binding = self.binding
        body = await parse_json(call.request, binding.update_adapter, binding.resource.max_body_bytes)
        return await self.write(call, written_fields(body, binding.schemas))

    async def write(self, call: Call, data: dict[str, object]) -> Response:
        """Set *data* on the record that the path addresses."""
        binding = self.binding
        key = binding.parse_id(call.request)
        etags = required_etags(call.request, must=binding.resource.require_if_match)
        version = None if etags is None or binding.version_field is None else version_in(etags)
        direct = binding.updates_rows
        target: Any = binding.rows(call.tenant) if direct else binding.service(call.tenant)
        encoder = binding.encoder if direct else binding.object_encoder
        excludes = "if-none-match" in call.request.headers
        is_one_statement = direct and binding.writes_alone and (etags is None or version is not None) and not excludes
        async with (call.open_writer if is_one_statement else call.open_session)() as session:
            if excludes:
                await self.require_no_match(session, key, call)
            if etags is not None and (version is None or not direct):
                await self.require_match(session, key, call, etags)
            if version is not None and direct:
                record = await self._update_version(session, target, key, data, version)
            else:
                record = await target.update(session, key, data)
            if record is None:
                raise ProblemError(NOT_FOUND)
            content, etag = self.encoded(encoder, record)
        return json_response(content, headers={"ETag": etag})

    async def _update_version(
        self, session: Executor, target: Any, key: object, data: dict[str, object], version: int
    ) -> Any:
        try:
            return await target.update(session, key, data, version=version)
        except StaleVersion:
            raise ProblemError(PRECONDITION_FAILED) from None


class Replace(Update):
    """Replace a record."""

    async def __call__(self, call: Call) -> Response:
        """Replace the writable fields of the record; what the body leaves out takes its default or becomes null."""
        binding = self.binding
        body = await parse_json(call.request, binding.replace_adapter, binding.resource.max_body_bytes)
        return await self.write(call, {**self._defaults(body), **written_fields(body, binding.schemas)})

    def _defaults(self, body: BaseModel) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in type(body).model_fields:
            column = self.binding.columns.get(name)
            if column is None or column.is_hidden:
                continue
            default = column.column.default
            if isinstance(default, ScalarElementColumnDefault):
                found[name] = default.arg
            elif default is None and column.column.server_default is None and column.column.nullable:
                found[name] = None
        return found


class Delete(RecordOperation):
    """Delete a record."""

    async def __call__(self, call: Call) -> Response:
        """Delete the record, or mark it as deleted; 404 when there is none, 412 when it is not the If-Match version."""
        binding = self.binding
        key = binding.parse_id(call.request)
        etags = required_etags(call.request, must=binding.resource.require_if_match)
        target: Any = binding.rows(call.tenant) if binding.deletes_rows else binding.service(call.tenant)
        excludes = "if-none-match" in call.request.headers
        is_one_statement = binding.deletes_rows and binding.deletes_alone and etags is None and not excludes
        async with (call.open_writer if is_one_statement else call.open_session)() as session:
            if excludes:
                await self.require_no_match(session, key, call)
            if etags is not None:
                await self.require_match(session, key, call, etags)
            if not await target.delete(session, key):
                raise ProblemError(NOT_FOUND)
        return Response(status_code=204)


class Restore(RecordOperation):
    """Undo a soft delete."""

    async def __call__(self, call: Call) -> Response:
        """Make a deleted record live again and answer it; one that is live already stays. 404 when there is none."""
        binding = self.binding
        key = binding.parse_id(call.request)
        direct = binding.shows_columns
        repo: Any = binding.rows(call.tenant) if direct else binding.scoped(call.tenant)
        encoder = binding.encoder if direct else binding.object_encoder
        async with call.open_session() as session:
            record = await repo.restore(session, key)
            if record is None:
                # So that a client that did not get the first answer may ask again.
                record = await repo.get(session, key)
            if record is None:
                raise ProblemError(NOT_FOUND)
            content, etag = self.encoded(encoder, record)
        return json_response(content, headers={"ETag": etag})


class Head:
    """Answer what another operation answers, without the body."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation

    async def __call__(self, call: Call) -> Response:
        """Answer the status and headers alone."""
        found = await self.operation(call)
        answer = Response(status_code=found.status_code, headers=dict(found.headers))
        if "content-length" not in found.headers:
            del answer.headers["content-length"]  # which a stream does not know, and which is not 0
        return answer


def location_of(call: Call, binding: ResourceBinding, encoder: Encoder, record: Any) -> str:
    """Return the path of a record that was just created in the collection that *call* addresses."""
    parts = [quote(str(encoder.member(record, column.name)), safe="") for column in binding.id_columns]
    path, root = call.request.scope["path"].rstrip("/"), call.request.scope.get("root_path", "").rstrip("/")
    if root and not path.startswith(f"{root}/"):
        path = root + path  # a proxy has taken it away
    return "/".join([path, *parts])
