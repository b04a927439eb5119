"""MongoDB Configuration: settings of one's own, the database reference, the ping."""

from __future__ import annotations

import pytest

from dbservers.mongo import MongoServer
from svc_infra.db.nosql.mongo.client import acquire_db, close_mongo, init_mongo, ping_mongo

# Initialize with custom settings
from svc_infra.db.nosql.mongo.settings import MongoSettings


@pytest.fixture(params=["motor", "pymongo"], autouse=True)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every example with Motor and with PyMongo's own asyncio client."""
    monkeypatch.setenv("MONGO_DRIVER", request.param)
    return str(request.param)


async def test_the_client_example(mongo_url: str, mongo_db_name: str) -> None:
    """Initialise with settings, acquire, insert, find, close."""
    settings = MongoSettings(
        url=mongo_url,
        db_name=mongo_db_name,
        max_pool_size=50,
    )
    db = await init_mongo(settings)
    assert db.name == mongo_db_name

    # Get database reference
    db = await acquire_db()

    # Operations
    await db.users.insert_one({"email": "test@example.com"})
    users = await db.users.find({}).to_list(100)
    assert [user["email"] for user in users] == ["test@example.com"]

    # Cleanup
    await close_mongo()
    await close_mongo()


async def test_the_environment_configures_the_client(
    mongo_url: str, mongo_db_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONGO_URL, MONGO_DB and the pool variables of the guide's table reach the driver."""
    for name, value in {
        "MONGO_URL": mongo_url,
        "MONGO_DB": mongo_db_name,
        "MONGO_APPNAME": "orders",
        "MONGO_MIN_POOL": "1",
        "MONGO_MAX_POOL": "7",
    }.items():
        monkeypatch.setenv(name, value)
    db = await init_mongo()
    try:
        options = db.client.options.pool_options
        assert (options.min_pool_size, options.max_pool_size, options.appname) == (1, 7, "orders")
    finally:
        await close_mongo()


async def test_the_url_comes_from_its_file(
    mongo_url: str, mongo_db_name: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONGO_URL_FILE names a file that holds the URL."""
    (tmp_path / "url").write_text(f"{mongo_url}\n")
    monkeypatch.setenv("MONGO_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("MONGO_DB", mongo_db_name)
    db = await init_mongo()
    try:
        assert await db.users.count_documents({}) == 0
    finally:
        await close_mongo()


async def test_ping_says_whether_the_server_answers(own_mongo: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """True while it lives, False when it was killed, True again when it is back."""
    monkeypatch.setenv("MONGO_URL", own_mongo.url)
    monkeypatch.setenv("MONGO_DB", "pinged")
    await init_mongo()
    try:
        is_healthy = await ping_mongo()  # Returns True if connected
        assert is_healthy is True
        own_mongo.kill()
        assert await ping_mongo() is False
        own_mongo.start()
        assert await ping_mongo(timeout=60) is True
    finally:
        await close_mongo()
    assert await ping_mongo() is False
