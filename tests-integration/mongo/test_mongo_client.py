"""The MongoDB client functions on a real server, with both drivers."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbservers.proxy import FaultyProxy
from svc_infra.db.nosql.mongo.client import acquire_db, close_mongo, init_mongo, ping_mongo
from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.errors import (
    MongoAlreadyInitialised,
    MongoNotInitialised,
    MongoSettingsError,
    MongoUnreachable,
)
from svc_infra.db.nosql.mongo.settings import DriverName, MongoSettings

# PyMongo's asyncio client leaves the socket of a connection that is cancelled while it opens to the garbage collector
# (`_async_create_connection` of PyMongo 4.20 closes it on OSError alone); nothing of ours can reach that socket.
# `test_clients_that_never_got_through_leave_no_socket_open` shows that none stays open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


FILES, CONNECTIONS = Path("/proc/self/fd"), Path("/proc/net/tcp")


def open_sockets(port: int) -> int:
    """The number of sockets of this process that are connected, or connect, to a port."""
    own = set()
    for file in FILES.iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            own.add(str(file.readlink()))
    lines = [line.split() for line in CONNECTIONS.read_text().splitlines()[1:]]
    return sum(line[2].endswith(f":{port:04X}") and f"socket:[{line[9]}]" in own for line in lines)


@pytest.fixture(params=["motor", "pymongo"])
def driver(request: pytest.FixtureRequest) -> DriverName:
    """Each test runs on Motor and on its successor."""
    name: DriverName = request.param
    return name


@pytest.fixture
def settings(mongo_url: str, mongo_db_name: str, driver: DriverName) -> MongoSettings:
    """A fresh database."""
    return MongoSettings(url=mongo_url, db_name=mongo_db_name, driver=driver, max_pool_size=50)


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """The process's client is closed after each test."""
    yield
    await close_mongo()


async def test_the_guide_example_of_a_client_with_settings_works(settings: MongoSettings) -> None:
    """init, acquire, insert, find, close, with `find(...)` used in the same way on both drivers."""
    db = await init_mongo(settings)
    db = await acquire_db()
    await db.users.insert_one({"email": "test@example.com"})
    users = await db.users.find({}).to_list(100)
    assert [user["email"] for user in users] == ["test@example.com"]
    await close_mongo()


async def test_the_environment_is_read_when_no_settings_are_given(
    mongo_url: str, mongo_db_name: str, driver: DriverName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONGO_URL, MONGO_DB and MONGO_DRIVER are enough."""
    for name, value in (("MONGO_URL", mongo_url), ("MONGO_DB", mongo_db_name), ("MONGO_DRIVER", driver)):
        monkeypatch.setenv(name, value)
    await close_mongo()
    db = await init_mongo()
    assert db.name == mongo_db_name
    assert ("motor" in type(db).__module__) == (driver == "motor")


async def test_init_again_gives_the_same_database(settings: MongoSettings) -> None:
    """A second lifespan, or a test client, must not open a second pool."""
    one = await init_mongo(settings)
    two = await init_mongo(settings)
    three = await init_mongo()
    assert one.client is two.client
    assert one.client is three.client


async def test_init_with_other_settings_is_refused(settings: MongoSettings, mongo_url: str) -> None:
    """The predecessor returned the first database silently."""
    await init_mongo(settings)
    with pytest.raises(MongoAlreadyInitialised, match="close_mongo"):
        await init_mongo(MongoSettings(url=mongo_url, db_name="another"))


async def test_many_inits_at_once_make_one_client(settings: MongoSettings) -> None:
    """Idempotent under concurrency."""
    databases = await asyncio.gather(*(init_mongo(settings) for _ in range(20)))
    assert len({id(db.client) for db in databases}) == 1


async def test_close_is_idempotent_and_final(settings: MongoSettings) -> None:
    """After close, asking for the database says what to do."""
    await init_mongo(settings)
    await close_mongo()
    await close_mongo()
    with pytest.raises(MongoNotInitialised, match="init_mongo"):
        await acquire_db()
    assert await ping_mongo() is False
    await init_mongo(settings)
    assert await ping_mongo() is True


async def test_another_database_of_the_deployment_is_had_by_name(settings: MongoSettings) -> None:
    """Many databases are one client."""
    db = await init_mongo(settings)
    other = await acquire_db("other")
    assert other.name == "other"
    assert other.client is db.client


async def test_uuids_and_aware_datetimes_survive_the_round_trip(settings: MongoSettings) -> None:
    """The drivers' own defaults refuse the one and strip the zone of the other."""
    db = await init_mongo(settings)
    document = {"_id": uuid.uuid4(), "at": datetime(2026, 11, 22, 12, 0, tzinfo=UTC)}
    await db.things.insert_one(document)
    assert await db.things.find_one({}) == document


async def test_a_server_that_is_away_fails_the_start_in_time_without_the_password(
    driver: DriverName, unused_tcp_port: int
) -> None:
    """PyMongo's default would wait for 30 s."""
    url = f"mongodb://app:s3cret@127.0.0.1:{unused_tcp_port}"
    away = MongoSettings(url=url, db_name="app", driver=driver, server_selection_timeout_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(MongoUnreachable, match="argument") as caught:
        await init_mongo(away)
    assert time.monotonic() - began < 2
    assert "s3cret" not in str(caught.value)


async def test_wrong_credentials_fail_the_start_and_say_so(mongo_url: str, driver: DriverName) -> None:
    """Not as a server that is away."""
    url = mongo_url.replace("://", "://nobody:s3cret@")
    with pytest.raises(MongoUnreachable, match="refused, check user") as caught:
        await init_mongo(MongoSettings(url=url, db_name="app", driver=driver))
    assert "s3cret" not in str(caught.value)


async def test_a_failed_start_can_be_repaired(settings: MongoSettings, unused_tcp_port: int) -> None:
    """Nothing of it stays behind."""
    away = MongoSettings(
        url=f"mongodb://127.0.0.1:{unused_tcp_port}", db_name="app", server_selection_timeout_seconds=0.2
    )
    with pytest.raises(MongoUnreachable):
        await init_mongo(away)
    assert (await init_mongo(settings)).name == settings.db_name


async def test_without_ping_a_server_that_is_away_does_not_fail_the_start(
    driver: DriverName, unused_tcp_port: int
) -> None:
    """For services that can start without it."""
    url = f"mongodb://127.0.0.1:{unused_tcp_port}"
    await init_mongo(MongoSettings(url=url, db_name="app", driver=driver), ping=False)
    began = time.monotonic()
    assert await ping_mongo(timeout=0.3) is False
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("option", ["nosuchoption=1", "maxPoolSize=many", "readPreference=nearby"])
async def test_an_option_that_the_driver_does_not_know_fails_the_start(
    mongo_url: str, driver: DriverName, option: str
) -> None:
    """The driver only warns, and goes on without it."""
    with pytest.raises((MongoSettingsError, ValueError)):
        await init_mongo(MongoSettings(url=f"{mongo_url}/?{option}", db_name="app", driver=driver))


async def test_ping_of_a_frozen_server_is_false_in_time_and_true_after_it(
    mongo_url: str, mongo_db_name: str, driver: DriverName
) -> None:
    """A health endpoint must not hang with its database."""
    with FaultyProxy(mongo_url) as proxy:
        url = proxy.url + "/?directConnection=true"
        await init_mongo(MongoSettings(url=url, db_name=mongo_db_name, driver=driver))
        assert await ping_mongo() is True
        proxy.freeze()
        began = time.monotonic()
        assert await ping_mongo(timeout=0.5) is False
        assert time.monotonic() - began < 1.5
        proxy.forward()
        deadline = time.monotonic() + 30
        while not await ping_mongo():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        began = time.monotonic()
        proxy.freeze()
        await close_mongo(timeout=3.0)
        assert time.monotonic() - began < 5


async def test_a_pool_that_is_full_fails_in_time(mongo_url: str, mongo_db_name: str, driver: DriverName) -> None:
    """The driver's own default is to wait for a connection for ever."""
    from pymongo.errors import WaitQueueTimeoutError

    with FaultyProxy(mongo_url) as proxy:
        small = MongoSettings(
            url=proxy.url + "/?directConnection=true",
            db_name=mongo_db_name,
            driver=driver,
            max_pool_size=1,
            wait_queue_timeout_seconds=0.3,
        )
        async with Mongo(small) as mongo:
            proxy.freeze()
            stuck = asyncio.ensure_future(mongo.database().things.find_one({}))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            with pytest.raises(WaitQueueTimeoutError):
                await mongo.database().things.find_one({})
            assert time.monotonic() - began < 2
            proxy.forward()
            assert await stuck is None


@pytest.mark.parametrize("driver", ["motor"])
async def test_clients_that_never_got_through_leave_no_socket_open(driver: DriverName) -> None:
    """The server's machine swallows connections: each client is closed while it connects, and its sockets are then.

    Motor's threads end at the connect timeout. PyMongo's tasks end at once, their sockets when they are collected, for
    which no time can be promised while somebody, such as a log handler, still holds the error.
    """
    if not FILES.exists():  # noqa: ASYNC240 (nothing but a look)
        pytest.skip("open sockets are counted in /proc, which this system does not have")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(3):
            # With the backlog full the kernel answers no further connection.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        settings = MongoSettings(url=f"mongodb://127.0.0.1:{address[1]}/x?connectTimeoutMS=500", driver=driver)

        async def try_once() -> None:
            mongo = Mongo(settings)
            assert not await mongo.ping(timeout=0.2)
            await mongo.close()

        before = open_sockets(address[1])
        assert before == 3
        for _ in range(5):
            await try_once()
        async with asyncio.timeout(60):
            while open_sockets(address[1]) > before:
                gc.collect()
                await asyncio.sleep(0.05)


def test_one_loop_after_another_each_has_its_client(settings: MongoSettings) -> None:
    """`asyncio.run` twice, as tests and scripts do, without a close in between and without a warning."""
    mongo = Mongo(settings)

    async def write(number: int) -> int:
        await mongo.database().things.insert_one({"number": number})
        count: int = await mongo.database().things.count_documents({})
        if settings.driver == "pymongo":
            # A client that is not closed in its loop can't be closed any more, and Python warns of it.
            await mongo.client().close()
        return count

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(write(number)) for number in range(3)] == [1, 2, 3]
        asyncio.run(mongo.close())
        gc.collect()


def test_threads_with_loops_of_their_own_can_share_one_object(settings: MongoSettings) -> None:
    """Each loop has its client, and closing from one closes all."""
    mongo = Mongo(settings)
    ready, done = threading.Barrier(4), threading.Event()
    failures: list[BaseException] = []

    async def work() -> None:
        await mongo.database().things.insert_one({})
        ready.wait(60)
        while not done.is_set():  # noqa: ASYNC110 - set in another thread
            await asyncio.sleep(0.01)

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait(60)

    async def close() -> int:
        count: int = await mongo.database().things.count_documents({})
        await mongo.close()
        return count

    assert asyncio.run(close()) == 3
    done.set()
    for thread in threads:
        thread.join(20)
    assert failures == []


def test_a_forked_child_opens_its_own_client(mongo_url: str, mongo_db_name: str, driver: DriverName) -> None:
    """Gunicorn with preload forks after the client was used."""
    script = """
import asyncio, os, sys
from svc_infra.db.nosql.mongo.connection import Mongo
from svc_infra.db.nosql.mongo.settings import MongoSettings
mongo = Mongo(MongoSettings(url=sys.argv[1], db_name=sys.argv[2], driver=sys.argv[3]))
async def use():
    await mongo.database().things.insert_one({})
    return await mongo.database().things.count_documents({})
asyncio.run(use())
child = os.fork()
if child == 0:
    try:
        os._exit(0 if asyncio.run(use()) == 2 else 3)
    except BaseException:
        import traceback; traceback.print_exc(); os._exit(4)
assert os.waitpid(child, 0)[1] == 0
print(asyncio.run(use()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, mongo_url, mongo_db_name, driver],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
