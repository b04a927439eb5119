"""The proxy that cuts or freezes the network between a test and its server."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator

import psycopg
import pytest
import redis

from dbservers.containers import engine_answers
from dbservers.proxy import FaultyProxy

Proxies = Callable[[str], FaultyProxy]


@pytest.fixture
def client(redis_url: str, faulty_proxy: Proxies) -> Iterator[tuple[FaultyProxy, redis.Redis]]:
    """A Redis client behind a proxy; it gives up after half a second and doesn't retry."""
    proxy = faulty_proxy(redis_url)
    with redis.Redis.from_url(proxy.url, socket_timeout=0.5, socket_connect_timeout=0.5, retry=None) as connected:
        yield proxy, connected


def test_bytes_pass_in_both_directions(postgres_url: str, faulty_proxy: Proxies) -> None:
    """Forwarding, the proxy isn't noticed, with megabytes either way."""
    text = "x" * 3_000_000
    with psycopg.connect(faulty_proxy(postgres_url).url) as connection:
        assert connection.execute("SELECT %s::text", [text]).fetchone() == (text,)


def test_a_dropping_proxy_resets_old_and_new_connections(client: tuple[FaultyProxy, redis.Redis]) -> None:
    """Dropping, every use fails at once; forwarding again, the next connection works."""
    proxy, connection = client
    assert connection.ping()
    proxy.drop()
    begin = time.monotonic()
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            connection.ping()
    assert time.monotonic() - begin < 0.4
    proxy.forward()
    assert connection.ping()


def test_a_frozen_proxy_is_silent_on_old_and_new_connections(client: tuple[FaultyProxy, redis.Redis]) -> None:
    """Frozen, a client waits to the end of its own patience, on the old connection and on a new one."""
    proxy, connection = client
    assert connection.ping()
    proxy.freeze()
    for _ in range(2):
        with pytest.raises(redis.TimeoutError):
            connection.ping()
    proxy.forward()
    assert connection.ping()


def test_a_connection_survives_a_short_freeze(redis_url: str, faulty_proxy: Proxies) -> None:
    """What was sent into the freeze arrives afterwards, on the same connection."""
    proxy = faulty_proxy(redis_url)
    with redis.Redis.from_url(proxy.url, socket_timeout=10, retry=None) as connection:
        assert connection.ping()
        proxy.freeze()
        threading.Timer(0.3, proxy.forward).start()
        assert connection.ping()
        assert proxy.connections == 1


def test_a_proxy_without_a_server_behind_it_closes(faulty_proxy: Proxies) -> None:
    """A client of a proxy whose server is gone isn't left waiting."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = faulty_proxy(f"redis://127.0.0.1:{unused.getsockname()[1]}")
        with (
            redis.Redis.from_url(proxy.url, socket_timeout=5, retry=None) as connection,
            pytest.raises(redis.ConnectionError),
        ):
            connection.ping()


def test_a_proxy_leaves_no_thread(redis_url: str) -> None:
    """The thread ends with the block, open connections or not."""
    with FaultyProxy(redis_url) as proxy:
        connection = redis.Redis.from_url(proxy.url)
        connection.ping()
        proxy.freeze()
    connection.close()
    assert "faulty-proxy" not in {thread.name for thread in threading.enumerate()}


def test_clients_that_connect_while_a_proxy_closes_leave_no_socket(redis_url: str) -> None:
    """Whatever stage of accepting a connection was at, its socket is closed with the proxy."""
    gc.collect()
    stop = threading.Event()
    port = 0

    def connect() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.socket() as client:
                client.connect(("127.0.0.1", port))

    with warnings.catch_warnings(record=True, action="always", category=ResourceWarning) as leaks:
        for _ in range(3):
            with FaultyProxy(redis_url) as proxy:
                port = proxy.port
                clients = [threading.Thread(target=connect) for _ in range(2)]
                for client in clients:
                    client.start()
                time.sleep(0.01)
            stop.set()
            for client in clients:
                client.join()
            stop.clear()
        gc.collect()
    assert not leaks, [str(leak.message) for leak in leaks]


def test_a_silent_docker_socket_does_not_hold_up_the_run() -> None:
    """An engine that accepts and says nothing counts as absent, within the bound."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        assert not engine_answers(f"tcp://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.3)
        assert time.monotonic() - begin < 2
