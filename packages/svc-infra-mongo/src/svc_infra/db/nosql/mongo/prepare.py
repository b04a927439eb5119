"""Preparing a database: the collections, validators and indexes that repositories declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from svc_infra.db.nosql.mongo.errors import UniqueViolation
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.lease import lease
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.translate import translating
from svc_infra.db.nosql.mongo.types import MongoDatabase

__all__ = ["Change", "PrepareReport", "prepare_mongo"]

Action: TypeAlias = Literal[
    "create-collection", "set-validator", "create-index", "replace-index", "drop-index", "extra-index"
]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the declarations and the database.

    Attributes:
        action: What it takes. "extra-index" is reported and left, unless dropping was asked for.
        collection: The collection.
        name: The index' name, or "".
        detail: What is declared and what was found.
    """

    action: Action
    collection: str
    name: str = ""
    detail: str = ""

    def __str__(self) -> str:
        text = f"{self.action} {self.collection}" + (f".{self.name}" if self.name else "")
        return f"{text}: {self.detail}" if self.detail else text


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What was, or would be, changed.

    Attributes:
        changes: The differences, in the order in which they are dealt with.
        applied: Whether they were made.
    """

    changes: tuple[Change, ...]
    applied: bool

    @property
    def pending(self) -> tuple[Change, ...]:
        """What is still to be done: indexes that are merely extra don't count."""
        return () if self.applied else tuple(change for change in self.changes if change.action != "extra-index")

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON types."""
        return {
            "applied": self.applied,
            "changes": [
                {"action": change.action, "collection": change.collection, "name": change.name, "detail": change.detail}
                for change in self.changes
            ],
        }


async def prepare_mongo(
    db: MongoDatabase,
    repositories: Iterable[MongoRepository[Any]],
    *,
    dry_run: bool = False,
    drop_extra: bool = False,
    lock_timeout_seconds: float = 60.0,
) -> PrepareReport:
    """Create the collections, validators and indexes that the repositories declare. Running it again changes nothing.

    Many replicas may call it at once: one works, the others wait and find it done. An index whose options differ from
    the declaration is dropped and made again; for a change of keys give it another name. Of two repositories over one
    collection, all indexes and the last validator count.

    Args:
        db: The database.
        repositories: The declarations.
        dry_run: Only report.
        drop_extra: Also drop indexes that no repository declares.
        lock_timeout_seconds: How long to wait for another replica.

    Raises:
        LockTimeout: Another process prepares, and did not end in time.
        UniqueViolation: Documents that are there already have the same values in the fields of a unique index.
    """
    declared: dict[str, dict[str, MongoIndex]] = {}
    validators: dict[str, Mapping[str, object]] = {}
    for repository in repositories:
        indexes = declared.setdefault(repository.collection, {})
        indexes.update((index.index_name, index) for index in repository.indexes)
        if repository.validator is not None:
            validators[repository.collection] = repository.validator
    if dry_run:
        return PrepareReport(
            tuple(await _work(db, declared, validators, apply=False, drop_extra=drop_extra)), applied=False
        )
    async with lease(db, "prepare", wait_seconds=lock_timeout_seconds):
        changes = await _work(db, declared, validators, apply=True, drop_extra=drop_extra)
    return PrepareReport(tuple(changes), applied=True)


async def _work(
    db: MongoDatabase,
    declared: Mapping[str, Mapping[str, MongoIndex]],
    validators: Mapping[str, Mapping[str, object]],
    *,
    apply: bool,
    drop_extra: bool,
) -> list[Change]:
    database = cast("Any", db)
    found = await (await _cursor(database.list_collections())).to_list(None)
    options = {entry["name"]: entry.get("options", {}) for entry in found}
    changes: list[Change] = []
    for collection, indexes in declared.items():
        if collection not in options:
            changes.append(Change("create-collection", collection))
            if apply:
                await database.create_collection(collection)
        wanted = validators.get(collection)
        if wanted is not None and options.get(collection, {}).get("validator") != wanted:
            changes.append(Change("set-validator", collection))
            if apply:
                await database.command("collMod", collection, validator=dict(wanted))
        changes += await _indexes(
            database[collection], indexes, collection in options, apply=apply, drop_extra=drop_extra
        )
    return changes


async def _indexes(
    collection: Any,
    declared: Mapping[str, MongoIndex],
    exists: bool,
    *,
    apply: bool,
    drop_extra: bool,
) -> list[Change]:
    present: dict[str, Mapping[str, Any]] = {}
    if exists:
        listed = await (await _cursor(collection.list_indexes())).to_list(None)
        present = {entry["name"]: entry for entry in listed if entry["name"] != "_id_"}
    changes: list[Change] = []
    for name, index in declared.items():
        if name not in present:
            changes.append(Change("create-index", collection.name, name))
        elif (difference := _difference(index, present[name])) is not None:
            changes.append(Change("replace-index", collection.name, name, difference))
            if apply:
                await collection.drop_index(name)
        else:
            continue
        if apply:
            await _create(collection, index)
    for name in present:
        if name not in declared:
            changes.append(Change("drop-index" if drop_extra else "extra-index", collection.name, name))
            if apply and drop_extra:
                await collection.drop_index(name)
    return changes


async def _create(collection: Any, index: MongoIndex) -> None:
    try:
        with translating():
            await collection.create_index(list(index.order), name=index.index_name, **index.options())
    except UniqueViolation as error:
        raise UniqueViolation(
            f"the unique index {index.index_name} of {collection.name} can't be made: documents that are there have "
            f"the same {', '.join(index.names)}; change or remove them first",
            fields=index.names,
        ) from error


def _difference(index: MongoIndex, present: Mapping[str, Any]) -> str | None:
    keys = tuple((name, int(direction)) for name, direction in present["key"].items())
    if keys != index.order:
        return f"its keys are {keys}, declared are {index.order}"
    wanted = index.options()
    for option in ("unique", "sparse", "expireAfterSeconds", "partialFilterExpression"):
        found = present.get(option) or (present.get(option) if option == "expireAfterSeconds" else None)
        if found != wanted.get(option):
            return f"{option} is {found!r}, declared is {wanted.get(option)!r}"
    return None


async def _cursor(given: Any) -> Any:
    return await given if hasattr(given, "__await__") else given
