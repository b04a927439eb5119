"""What the import route of a resource does: many records from a file, in one transaction and constant memory.

The body is what export writes: NDJSON (one JSON object per line) or CSV (`delimited` tells its rules), in UTF-8. What a
create body ignores is ignored here too, so that an export can be imported again: the records become new ones, unless
`?mode=upsert` updates those whose key is there. Either every line is written or none is, and the problem names the
line at fault, from 1: `["body", 17, "email"]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeAlias

import pydantic_core
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.body import require_media_type, require_plain, validated
from svc_infra.api.fastapi.db.sql.delimited import CsvError, CsvRecords, members_of
from svc_infra.api.fastapi.db.sql.exporting import CSV, NDJSON
from svc_infra.api.fastapi.db.sql.item_problems import CountedRows, located
from svc_infra.api.fastapi.db.sql.operations import json_response
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.db.sql.schemas import NO_SUCH_FIELD, written_fields
from svc_infra.api.fastapi.problems import Problem, ProblemError, invalid_request

__all__ = ["Import", "ImportResult"]

_ROWS: Final = 2000
_BYTES: Final = 1_048_576
_BOM: Final = b"\xef\xbb\xbf"
_NDJSON_TYPES: Final = (NDJSON, "application/ndjson", "application/jsonl")
# Each keeps a connection for as long as its client takes to send: a few slow ones should not take them all.
_BUSY: Final = Problem(
    "too-many-imports", 503, "Too many imports at the same time. Try again.", headers={"Retry-After": "10"}
)

_Record: TypeAlias = dict[str, object]
_Batch: TypeAlias = list[tuple[int, _Record]]
_Parser: TypeAlias = Callable[[bytes], tuple[int, _Record] | None]


class ImportResult(BaseModel):
    """What an import did."""

    written: int = Field(description="Records that were written.")


class Import:
    """Create records from a file.

    Args:
        binding: The resource.
    """

    def __init__(self, binding: ResourceBinding) -> None:
        self.binding = binding
        self._running = 0
        resource, columns = binding.resource, binding.columns
        fields = binding.schemas.create.model_fields
        self._left_out = frozenset(columns) - frozenset(fields)
        self._schemas = replace(binding.schemas, ignored=binding.schemas.ignored | self._left_out)
        self._nullable = {name: bool(column.column.nullable) for name, column in columns.items()}
        self.modes: tuple[str, ...] = ("create", "upsert") if "bulk_upsert" in resource.actions else ("create",)

    async def __call__(self, call: Call) -> Response:
        """Write every record of the file, or none; the problem names the line at fault."""
        request, resource = call.request, self.binding.resource
        mode = self.binding.rules.parse_choice(request.scope["query_string"], "mode", self.modes)
        media_type = require_media_type(request, *_NDJSON_TYPES, CSV)
        require_plain(request)
        _require_utf8(request)
        parser = self._csv_parser() if media_type == CSV else self._ndjson_parser()
        limit = asyncio.timeout(resource.import_timeout_seconds)
        try:
            async with limit, aclosing(self._batches(request, parser)) as batches:
                written = await self._write_all(call, batches, mode)
        except TimeoutError:
            if not limit.expired():
                raise
            detail = f"The import took longer than {resource.import_timeout_seconds:g} seconds; nothing was written."
            raise ProblemError(Problem("request-timeout", 408, detail)) from None
        return json_response(b'{"written":%d}' % written)

    async def _write_all(self, call: Call, batches: AsyncGenerator[_Batch, None], mode: str) -> int:
        written = 0
        # The first records are read before a connection is taken, so a bad file takes none.
        batch: _Batch = await anext(batches, [])
        if self._running >= self.binding.resource.max_imports:
            raise ProblemError(_BUSY)
        self._running += 1
        try:
            async with call.open_session() as session:
                while batch:
                    await self._write(session, call.tenant, batch, mode)
                    written += len(batch)
                    batch = await anext(batches, [])
        finally:
            self._running -= 1
        return written

    async def _write(self, session: AsyncSession, tenant: object, batch: _Batch, mode: str) -> None:
        binding, rows = self.binding, CountedRows(batch, name="line")
        keeps = binding.upserts_rows if mode == "upsert" else binding.creates_rows and binding.keeps("create_many")
        target: Any = binding.rows(tenant) if keeps else binding.service(tenant)
        options: dict[str, Any] = {} if mode == "create" else {"on": binding.upsert_key}
        with rows.located():
            if not keeps and not binding.keeps(mode):
                for record in rows:
                    await getattr(target, mode)(session, record, **options)
            elif mode == "create":
                await target.create_many(session, rows, returning=False)
            else:
                await target.upsert_many(session, rows, **options)

    async def _batches(self, request: Request, parse: _Parser) -> AsyncGenerator[_Batch, None]:
        """Give the records in batches that are bounded by their number and by their size."""
        batch: _Batch = []
        size = 0
        async with aclosing(self._lines(request)) as lines:
            async for line in lines:
                found = parse(line)
                size += len(line)
                if found is not None:
                    batch.append(found)
                if len(batch) >= _ROWS or (batch and size >= _BYTES):
                    yield batch
                    batch, size = [], 0
        found = parse(b"")
        if found is not None:
            batch.append(found)
        yield batch

    async def _lines(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Give the lines of the body, each with its line break and none of them empty."""
        resource = self.binding.resource
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > resource.max_import_bytes:
            raise _too_large(resource.max_import_bytes)
        rest, size, number = b"", 0, 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > resource.max_import_bytes:
                raise _too_large(resource.max_import_bytes)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                number += 1
                self._require_short(line, number)
                yield (line.removeprefix(_BOM) if number == 1 else line) + b"\n"
            self._require_short(rest, number + 1)
        if rest:
            yield rest.removeprefix(_BOM) if number == 0 else rest

    def _require_short(self, line: bytes, number: int) -> None:
        limit = self.binding.resource.max_body_bytes
        if len(line) > limit:
            raise ProblemError(located(_too_large(limit).problem, number, name="line"))

    def _ndjson_parser(self) -> _Parser:
        number = 0

        def parse(line: bytes) -> tuple[int, _Record] | None:
            nonlocal number
            number += 1
            return (number, self._record(line, number)) if line.strip() else None

        return parse

    def _csv_parser(self) -> _Parser:
        records, names = CsvRecords(self.binding.resource.max_body_bytes), list[str]()
        texts = self.binding.text_members

        def parse(line: bytes) -> tuple[int, _Record] | None:
            try:
                if not line:
                    records.end()
                    return None
                cells = records.add(line)
                if not cells:
                    return None
                if not names:
                    names.extend(_header_of(cells))
                    self._require_known(names, records.started_at)
                    return None
                members = members_of(names, cells, texts, self._nullable)
            except CsvError as error:
                mistake = invalid_request([{"loc": ["body"], "msg": str(error), "type": "csv"}])
                raise ProblemError(located(mistake, records.started_at, name="line")) from None
            return records.started_at, self._record(pydantic_core.to_json(members), records.started_at)

        return parse

    def _require_known(self, names: list[str], line: int) -> None:
        """Refuse a column that means nothing at once, as a record in which it is empty would not show it."""
        schemas = self.binding.schemas
        if schemas.takes_more or schemas.create not in schemas.made:
            return
        unknown = [name for name in names if name not in self.binding.columns]
        if unknown:
            mistakes = [{"loc": ["body", name], "msg": NO_SUCH_FIELD, "type": "extra_forbidden"} for name in unknown]
            raise ProblemError(located(invalid_request(mistakes), line, name="line"))

    def _record(self, data: bytes, line: int) -> _Record:
        """Return the fields of one record.

        Raises:
            ProblemError: 422 with the line.
        """
        binding = self.binding
        try:
            if binding.resource.create_schema is not None:
                data = self._without_left_out(data)
            return written_fields(validated(binding.create_adapter, data), self._schemas)
        except ProblemError as error:
            raise ProblemError(located(error.problem, line, name="line")) from None

    def _without_left_out(self, data: bytes) -> bytes:
        """Return the record without the columns that its schema does not have, which it might refuse."""
        try:
            members = pydantic_core.from_json(data)
        except ValueError:
            return data
        if not isinstance(members, dict) or self._left_out.isdisjoint(members):
            return data
        return pydantic_core.to_json({name: value for name, value in members.items() if name not in self._left_out})


def _header_of(cells: list[str | None]) -> list[str]:
    found = [cell for cell in cells if cell]
    if len(found) != len(cells):
        raise CsvError("The first line has to name every column")
    if len(set(found)) != len(found):
        raise CsvError("The first line names a column twice")
    return found


def _require_utf8(request: Request) -> None:
    parameters = request.headers.get("content-type", "").lower().replace(" ", "").replace('"', "").split(";")[1:]
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name == "charset" and value not in {"utf-8", "utf8", "us-ascii"}:
            raise ProblemError(Problem("unsupported-media-type", 415, "The charset has to be utf-8."))


def _too_large(limit: int) -> ProblemError:
    return ProblemError(Problem("content-too-large", 413, f"The body or line is larger than {limit} bytes."))
