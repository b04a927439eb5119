"""prepare_mongo, its lock, and `svc-infra mongo` on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from svc_infra.db.nosql.mongo.cli import app
from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.errors import DocumentRejected, LockTimeout, UniqueViolation, UnknownField
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.lease import lease
from svc_infra.db.nosql.mongo.prepare import prepare_mongo
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.settings import MongoSettings
from svc_infra.db.nosql.mongo.types import MongoDatabase

USERS: MongoRepository[dict[str, Any]] = MongoRepository(
    "users",
    soft_delete=True,
    indexes=[
        MongoIndex("email", unique=True, where={"deleted_at": None}),
        MongoIndex(("tenant_id", "-created_at")),
        MongoIndex("seen_at", expire_after_seconds=3600),
    ],
)


@pytest.fixture(params=["motor", "pymongo"])
async def db(request: pytest.FixtureRequest, mongo_url: str, mongo_db_name: str) -> AsyncIterator[MongoDatabase]:
    """A fresh database, through either driver."""
    async with Mongo(MongoSettings(url=mongo_url, db_name=mongo_db_name, driver=request.param)) as mongo:
        yield mongo.database()


async def test_declared_indexes_are_made_once(db: MongoDatabase) -> None:
    """A dry run says what would be done, the run does it, the next finds nothing to do."""
    planned = await prepare_mongo(db, [USERS], dry_run=True)
    assert [change.action for change in planned.pending] == ["create-collection"] + ["create-index"] * 3
    done = await prepare_mongo(db, [USERS])
    assert done.changes == planned.changes
    assert (await prepare_mongo(db, [USERS])).changes == ()
    information = await db.users.index_information()
    assert set(information) == {"_id_", "email_1", "tenant_id_1_created_at_-1", "seen_at_1"}
    assert information["email_1"]["unique"] is True
    assert information["seen_at_1"]["expireAfterSeconds"] == 3600


async def test_a_value_can_be_unique_among_live_documents(db: MongoDatabase) -> None:
    """A soft-deleted account does not block its address."""
    await prepare_mongo(db, [USERS])
    first = await USERS.create(db, {"email": "a"})
    with pytest.raises(UniqueViolation):
        await USERS.create(db, {"email": "a"})
    await USERS.delete(db, first["id"])
    await USERS.create(db, {"email": "a"})
    with pytest.raises(UniqueViolation):
        await USERS.restore(db, first["id"])


async def test_an_index_with_other_options_is_replaced_and_extra_ones_are_reported(db: MongoDatabase) -> None:
    """Extra ones are dropped only when asked for."""
    await db.users.create_index("email")
    await db.users.create_index("old")
    repo: MongoRepository[dict[str, Any]] = MongoRepository("users", indexes=[MongoIndex("email", unique=True)])
    report = await prepare_mongo(db, [repo])
    assert [(change.action, change.name) for change in report.changes] == [
        ("replace-index", "email_1"),
        ("extra-index", "old_1"),
    ]
    assert "unique" in report.changes[0].detail
    assert (await db.users.index_information())["email_1"]["unique"] is True
    await prepare_mongo(db, [repo], drop_extra=True)
    assert "old_1" not in await db.users.index_information()


async def test_documents_that_forbid_a_unique_index_are_named(db: MongoDatabase) -> None:
    """The error says what to change."""
    await db.users.insert_many([{"email": "a"}, {"email": "a"}])
    repo: MongoRepository[dict[str, Any]] = MongoRepository("users", indexes=[MongoIndex("email", unique=True)])
    with pytest.raises(UniqueViolation, match="same email"):
        await prepare_mongo(db, [repo])
    async with lease(db, "prepare", wait_seconds=0):
        pass  # the lock was let go


async def test_a_validator_is_set_once_and_refuses_documents(db: MongoDatabase) -> None:
    """The server keeps what the application forgets."""
    schema = {"$jsonSchema": {"bsonType": "object", "required": ["email"]}}
    repo: MongoRepository[dict[str, Any]] = MongoRepository("users", validator=schema)
    assert "set-validator" in [change.action for change in (await prepare_mongo(db, [repo])).changes]
    assert (await prepare_mongo(db, [repo])).changes == ()
    await repo.create(db, {"email": "a"})
    with pytest.raises(DocumentRejected):
        await repo.create(db, {"name": "a"})


def test_an_index_on_no_field_is_refused() -> None:
    """A typo in a declaration fails at import."""
    with pytest.raises(UnknownField, match="emial"):
        MongoRepository("users", fields=["email"], indexes=[MongoIndex("emial")])


async def test_many_replicas_prepare_once(db: MongoDatabase) -> None:
    """One works, the others wait and find it done."""
    reports = await asyncio.gather(*(prepare_mongo(db, [USERS], lock_timeout_seconds=30) for _ in range(6)))
    assert sum(bool(report.changes) for report in reports) == 1


async def test_a_lock_that_is_held_is_not_waited_for_longer_than_allowed(db: MongoDatabase) -> None:
    """And the one that died is taken over."""
    async with lease(db, "prepare"):
        with pytest.raises(LockTimeout, match="held by"):
            await prepare_mongo(db, [USERS], lock_timeout_seconds=0.3)
    await db.svc_infra_locks.insert_one(
        {"_id": "prepare", "owner": "dead", "until": __import__("datetime").datetime(2020, 1, 1)}
    )
    await prepare_mongo(db, [USERS], lock_timeout_seconds=1)
    assert await db.svc_infra_locks.count_documents({}) == 0


async def test_a_lock_is_renewed_while_it_is_held(db: MongoDatabase) -> None:
    """A long build of an index must not lose it."""
    async with lease(db, "prepare", lease_seconds=0.6):
        with pytest.raises(LockTimeout):
            await prepare_mongo(db, [USERS], lock_timeout_seconds=1.5)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_url: str, mongo_db_name: str) -> CliRunner:
    """A shell in a project with declarations."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"declared_{mongo_db_name}.py").write_text(
        "from svc_infra.db.nosql.mongo.indexes import MongoIndex\n"
        "from svc_infra.db.nosql.mongo.repository import MongoRepository\n"
        "users = MongoRepository('users', indexes=[MongoIndex('email', unique=True)])\n"
        "everything = [users]\n"
    )
    monkeypatch.setenv("MONGO_URL", mongo_url)
    monkeypatch.setenv("MONGO_DB", mongo_db_name)
    return CliRunner()


def test_ping_says_the_version(runner: CliRunner) -> None:
    """Exit code 0 and JSON on request."""
    result = runner.invoke(app, ["ping", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"] is True


def test_ping_of_nobody_is_one_message_and_exit_code_1(runner: CliRunner, unused_tcp_port: int) -> None:
    """Without the password, without a traceback."""
    url = f"mongodb://u:s3cret@127.0.0.1:{unused_tcp_port}"
    result = runner.invoke(app, ["ping", "--mongo-url", url, "--timeout", "0.3"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no MongoDB server answered")
    assert "s3cret" not in result.output
    assert result.stdout == ""


def test_status_and_prepare_exit_by_what_there_is_to_do(runner: CliRunner, mongo_db_name: str) -> None:
    """3 pending, 0 done, 2 for a wrong reference."""
    module = f"declared_{mongo_db_name}"
    assert runner.invoke(app, ["status", f"{module}:users"]).exit_code == 3
    result = runner.invoke(app, ["prepare", f"{module}:everything"])
    assert result.exit_code == 0, result.output
    assert "create-index users.email_1" in result.stdout
    result = runner.invoke(app, ["status", module, "--json"])
    assert (result.exit_code, json.loads(result.stdout)["changes"]) == (0, [])
    assert runner.invoke(app, ["status", f"{module}:nothing"]).exit_code == 2
    assert runner.invoke(app, ["status", "no_such_module"]).exit_code == 2


def test_a_missing_database_name_is_one_message(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, mongo_db_name: str
) -> None:
    """It names the variable."""
    monkeypatch.delenv("MONGO_DB")
    result = runner.invoke(app, ["status", f"declared_{mongo_db_name}:users"])
    assert result.exit_code == 1
    assert "MONGO_DB" in result.stderr
