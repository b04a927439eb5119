"""The four bulk operations of a resource: create, upsert, update and delete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import and_, or_
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.bulk import BulkOperation
from svc_infra.api.fastapi.db.sql.bulk_schemas import item_schema_of
from svc_infra.api.fastapi.db.sql.conditional import PRECONDITION_FAILED, PRECONDITION_REQUIRED, etags_in, version_in
from svc_infra.api.fastapi.db.sql.exchange import BulkRequest, Outcome
from svc_infra.api.fastapi.db.sql.item_problems import CountedRows, item_at, item_problem, located
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.db.sql.schemas import written_fields
from svc_infra.api.fastapi.problems import NOT_FOUND, Problem, ProblemError
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.conditions import Condition
from svc_infra.db.sql.errors import SqlError, StaleVersion
from svc_infra.db.sql.filters import field

__all__ = ["BulkCreate", "BulkDelete", "BulkUpdate", "BulkUpsert"]

_MOST_KEYS: Final = 200
"""Ids of several fields in one statement; SQLite takes conditions of a depth of 1,000."""
_CHANGED_MEANWHILE: Final = Problem(
    "conflict",
    409,
    "Records were deleted by another request at the same time. Try again.",
    headers={"Retry-After": "1"},
)


class BulkCreate(BulkOperation):
    """Create many records."""

    status = 201

    async def __call__(self, call: Call) -> Response:
        """Create the records that the array describes, all or none; with `?atomic=false` those that can be."""
        return await super().__call__(call)

    @property
    def is_direct(self) -> bool:
        """Whether no hook takes part."""
        return self.binding.creates_rows and self.binding.keeps("create_many")

    def key_of(self, item: Any) -> object:  # noqa: ARG002
        """Return None: what may not repeat, the database knows."""
        return None

    async def write_all(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Insert every row by few statements."""
        target, encoder = self.target(call.tenant)
        if not self.is_direct and not self.binding.keeps("create"):
            return await self.write_in_turn(session, call, request)
        rows = CountedRows(request.items)
        with rows.located():
            if request.is_minimal:
                await target.create_many(session, rows, returning=False)
                return [Outcome(201) for _ in request.items]
            written = await target.create_many(session, rows)
        return [self.shown(encoder, record) for record in written]

    async def write_one(self, session: AsyncSession, call: Call, item: Any) -> Outcome:
        """Insert one row."""
        target, encoder = self.target(call.tenant)
        return self.shown(encoder, await target.create(session, item))


class BulkUpsert(BulkOperation):
    """Create many records or, where their key is taken, update the one that has it."""

    def __init__(self, binding: ResourceBinding) -> None:
        super().__init__(binding)
        self.key: tuple[str, ...] = binding.upsert_key

    async def __call__(self, call: Call) -> Response:
        """Create each record or update the one with the same key, all or none; with `?atomic=false` those that can."""
        return await super().__call__(call)

    @property
    def is_direct(self) -> bool:
        """Whether no hook takes part."""
        return self.binding.upserts_rows

    def prepared(self, item: Any) -> Any:
        """Return the fields; those of the key must be among them."""
        found = super().prepared(item)
        missing = [name for name in self.key if found.get(name) is None]
        if missing:
            raise ProblemError(
                Problem(
                    "invalid-request",
                    422,
                    f"{missing[0]}: Field required",
                    errors=[{"loc": ["body", name], "msg": "Field required", "type": "missing"} for name in missing],
                )
            )
        return found

    def key_of(self, item: Any) -> object:
        """Return the key's values."""
        return tuple(item[name] for name in self.key)

    async def write_all(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Upsert every row by few statements."""
        target, encoder = self.target(call.tenant)
        if not self.is_direct and not self.binding.keeps("upsert"):
            return await self.write_in_turn(session, call, request)
        rows = CountedRows(request.items)
        with rows.located():
            written = await target.upsert_many(session, rows, on=self.key)
        return [self.shown(encoder, record, request) for record in written]

    async def write_one(self, session: AsyncSession, call: Call, item: Any) -> Outcome:
        """Upsert one row."""
        target, encoder = self.target(call.tenant)
        return self.shown(encoder, await target.upsert(session, item, on=self.key))


@dataclass(frozen=True, slots=True)
class Addressed:
    """An item that names its record.

    Attributes:
        key: The id, a tuple for a composite one.
        etags: The versions that the record may have, or None for any.
        data: The fields to change.
    """

    key: Any
    etags: frozenset[str] | None
    data: dict[str, object]


class _BulkChange(BulkOperation):
    """What updates and deletes share."""

    def addressed_schema(self, name: str, data: type[BaseModel] | None, description: str) -> type[BaseModel]:
        """Return the schema of an item that names its record."""
        binding = self.binding
        requires = binding.resource.require_if_match
        return item_schema_of(name, binding.id_columns, data, description, requires_match=requires)

    def prepared(self, item: Any) -> Addressed:
        """Return the id, the versions and the fields of an item."""
        binding = self.binding
        parts = [getattr(item, column.name) for column in binding.id_columns]
        if item.if_match is None and binding.resource.require_if_match:
            raise ProblemError(
                replace(PRECONDITION_REQUIRED, detail="Say by if_match which version of the record is meant.")
            )
        data: dict[str, object] = {}
        if hasattr(item, "data"):
            with item_at("data"):
                data = written_fields(item.data, binding.schemas)
        return Addressed(parts[0] if len(parts) == 1 else tuple(parts), etags_in(item.if_match), data)

    def key_of(self, item: Any) -> object:
        """Return the id."""
        return item.key

    async def write_in_turn(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Write the items by id, so that two requests about the same records wait for each other, not for ever."""
        ordered = BulkRequest(sorted(request.items, key=lambda each: each[1].key), size=request.size)
        written = await super().write_in_turn(session, call, ordered)
        by_place = {place: outcome for (place, _), outcome in zip(ordered.items, written, strict=True)}
        return [by_place[place] for place, _ in request.items]

    def not_found(self) -> ProblemError:
        """Return the error of an item whose record is not there."""
        name = self.binding.id_columns[0].name
        return ProblemError(
            replace(NOT_FOUND, errors=[{"loc": ["body", name], "msg": "There is no such record", "type": "not_found"}])
        )

    def require_all(self, request: BulkRequest, there: set[Any]) -> None:
        """Make sure that every record is there.

        Raises:
            ProblemError: 404 for the first item whose record is not.
        """
        for place, item in request.items:
            if item.key not in there:
                raise ProblemError(located(self.not_found().problem, place))

    async def require_matches(self, session: AsyncSession, call: Call, items: Sequence[tuple[int, Addressed]]) -> None:
        """Lock the records of *items*, and make sure that each is one of the versions that its item asks for.

        Raises:
            ProblemError: 404 or 412 for the first item at fault.
        """
        binding, by_id = self.binding, self.binding.repo.id_fields
        repo: Any = binding.rows(call.tenant) if binding.shows_columns else binding.scoped(call.tenant)
        encoder = binding.encoder if binding.shows_columns else binding.object_encoder
        found: dict[Any, str] = {}
        for chosen in self.chosen([item for _, item in items]):
            # By id, so that two requests about the same records wait for each other, not for ever.
            records = await repo.list(session, where=chosen, order_by=by_id, limit=len(items), lock="update")
            for record in records:
                key = tuple(encoder.member(record, name) for name in by_id)
                found[key[0] if len(key) == 1 else key] = self.encoded(encoder, record)[1]
        for place, item in items:
            if item.key not in found:
                raise ProblemError(located(self.not_found().problem, place))
            if item.etags is not None and found[item.key] not in item.etags:
                raise ProblemError(located(PRECONDITION_FAILED, place))

    def chosen(self, items: Sequence[Addressed]) -> Iterator[Condition]:
        """Give conditions that hold for the records of the items, each for as many as a statement takes."""
        names, model = self.binding.repo.id_fields, self.binding.resource.model
        if len(names) == 1 and items:
            yield field(names[0]).in_([item.key for item in items])
            return
        for start in range(0, len(items), _MOST_KEYS):
            keys = (zip(names, item.key, strict=True) for item in items[start : start + _MOST_KEYS])
            yield or_(*(and_(*(getattr(model, name) == part for name, part in key)) for key in keys))


class BulkUpdate(_BulkChange):
    """Change many records."""

    async def __call__(self, call: Call) -> Response:
        """Change the fields in `data` of each record, all or none; with `?atomic=false` those that can be changed."""
        return await super().__call__(call)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        name = f"{self.binding.noun}BulkUpdate"
        return self.addressed_schema(name, self.binding.schemas.update, "Changes one record.")

    @property
    def is_direct(self) -> bool:
        """Whether no hook takes part."""
        return self.binding.updates_rows

    async def write_all(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Update every row, in a few statements for all of them where no hook takes part."""
        if not self.is_direct:
            return await self.write_in_turn(session, call, request)
        rows, encoder = self.target(call.tenant)
        counts = self.binding.version_field is not None
        versions = [version_in(item.etags) if counts and item.etags is not None else None for _, item in request.items]
        pairs = list(zip(request.items, versions, strict=True))
        # Where there is no one version that the database could compare, the record itself has to be looked at.
        await self.require_matches(
            session, call, [each for each, version in pairs if each[1].etags is not None and version is None]
        )
        changes = [Change(item.key, item.data, version) for (_, item), version in pairs]
        try:
            found = await rows.update_each(session, changes)
        except SqlError as error:
            is_stale = isinstance(error, StaleVersion)
            problem = PRECONDITION_FAILED if is_stale else item_problem(error)
            if error.row is not None:
                problem = located(problem, request.items[error.row][0], *(() if is_stale else ("data",)))
            raise ProblemError(problem) from error
        self.require_all(request, {item.key for (_, item), row in zip(request.items, found, strict=True) if row})
        return [self.shown(encoder, record, request) for record in found]

    async def write_one(self, session: AsyncSession, call: Call, item: Any) -> Outcome:
        """Update one row."""
        target, encoder = self.target(call.tenant)
        counted = None if item.etags is None or self.binding.version_field is None else version_in(item.etags)
        version = counted if self.is_direct else None
        if item.etags is not None and version is None:
            await self.require_match(session, item.key, call, item.etags)
        try:
            with item_at("data"):
                more = {} if version is None else {"version": version}
                record = await target.update(session, item.key, item.data, **more)
        except ProblemError as error:
            if isinstance(error.__cause__, StaleVersion):
                raise ProblemError(PRECONDITION_FAILED) from None
            raise
        if record is None:
            raise self.not_found()
        return self.shown(encoder, record)


class BulkDelete(_BulkChange):
    """Delete many records."""

    status = 204

    async def __call__(self, call: Call) -> Response:
        """Delete each record, or mark it as deleted, all or none; with `?atomic=false` those that can be deleted."""
        return await super().__call__(call)

    def item_schema(self) -> type[BaseModel]:
        """Return the schema of an item."""
        name = f"{self.binding.noun}BulkDelete"
        return self.addressed_schema(name, None, "Deletes one record.")

    @property
    def is_direct(self) -> bool:
        """Whether no hook takes part."""
        return self.binding.deletes_rows

    async def write_all(self, session: AsyncSession, call: Call, request: BulkRequest) -> list[Outcome]:
        """Delete every row, in a few statements for all of them where no hook takes part."""
        if not self.is_direct:
            return await self.write_in_turn(session, call, request)
        rows, _ = self.target(call.tenant)
        await self.require_matches(session, call, [each for each in request.items if each[1].etags is not None])
        parts = list(self.chosen([item for _, item in request.items]))
        # What was compared is locked and there.
        there = {item.key for _, item in request.items if item.etags is not None}
        if len(there) < len(request.items):
            for part in parts:
                there.update(await rows.ids_of(session, where=part))
        self.require_all(request, there)
        if sum([await rows.delete_many(session, where=part) for part in parts]) != len(request.items):
            raise ProblemError(_CHANGED_MEANWHILE)
        return [Outcome(204) for _ in request.items]

    async def write_one(self, session: AsyncSession, call: Call, item: Any) -> Outcome:
        """Delete one row."""
        target, _ = self.target(call.tenant)
        if item.etags is not None:
            await self.require_match(session, item.key, call, item.etags)
        if not await target.delete(session, item.key):
            raise self.not_found()
        return Outcome(204)
