"""A TCP proxy between a client and a server that can cut or freeze the network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from dbservers.server import with_address

__all__ = ["FaultyProxy", "Mode"]

Mode = Literal["forward", "drop", "freeze"]
CHUNK_BYTES = 65536
T = TypeVar("T")


class FaultyProxy:
    """Forwards TCP connections to a server, in a thread of its own, until told otherwise.

    Modes:
        forward: Bytes pass, in both directions.
        drop: Every connection is reset, and new ones are accepted and reset at once.
        freeze: Every connection stays open and nothing passes; new ones are accepted and stay silent. What the
            kernel has taken from the client is delivered when the proxy forwards again.

    Args:
        url: The server's URL; `url` is the same through the proxy.

    Example:
        >>> with FaultyProxy("postgresql://127.0.0.1:5432/db") as proxy:
        ...     proxy.freeze()
        ...     proxy.mode
        'freeze'
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._upstream_url = url
        self._mode: Mode = "forward"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_pass = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """The server's URL with the address of the proxy."""
        return with_address(self._upstream_url, "127.0.0.1", self.port)

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._tasks)

    def forward(self) -> None:
        """Let bytes pass again."""
        self._do(self._set("forward"))

    def drop(self) -> None:
        """Reset every connection, now and until `forward`."""
        self._do(self._set("drop"))

    def freeze(self) -> None:
        """Keep every connection open and silent until `forward`."""
        self._do(self._set("freeze"))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        self._may_pass.set()
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "forward":
            self._may_pass.set()
        else:
            self._may_pass.clear()
        if mode == "drop":
            self._reset_all()

    async def _close(self) -> None:
        # Stop accepting before the server is closed: asyncio loses what it accepted and had not yet begun to serve.
        for listener in self._server.sockets:
            self._loop.remove_reader(listener.fileno())
        self._mode = "drop"
        # Whoever was accepted has a task of asyncio first, then one of ours. Asyncio's ends by itself; cancelled, it
        # would leave its socket open.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            self._reset_all()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(others, timeout=0.1)
        self._server.close()
        await asyncio.sleep(0)  # a reset connection is closed by a callback of the next turn

    def _reset_all(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        # A cancelled connection is how the proxy ends; asyncio's stream callback would report it as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                await self._serve(reader, writer)
            finally:
                self._tasks.discard(task)
                self._writers.discard(writer)
                _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "drop":
            return
        await self._may_pass.wait()
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._writers.add(upstream_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream_writer))
                group.create_task(self._pump(upstream_reader, writer))
        except* OSError:
            pass
        finally:
            self._writers.discard(upstream_writer)
            _reset(upstream_writer)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._may_pass.wait()
            sink.write(data)
            await sink.drain()
        await self._may_pass.wait()
        with contextlib.suppress(OSError):
            sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close by RST instead of FIN, as a cut line or a firewall does."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
