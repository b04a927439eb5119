"""Servers in containers, where a Docker engine answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from dbservers.errors import ServerFailed

__all__ = ["Container", "engine_answers"]

READY_SECONDS = 120.0


@cache
def engine_answers(host: str | None = None, *, timeout_seconds: float = 2.0) -> bool:
    """Whether a Docker engine replies at *host*, by default ``DOCKER_HOST`` or the usual socket.

    The command-line client says nothing about it: it is often there without an engine.
    """
    address = urlsplit(host or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    target: str | tuple[str, int]
    if address.scheme == "unix":
        family, target = socket.AF_UNIX, address.path
    elif address.scheme == "tcp":
        family, target = socket.AF_INET, (address.hostname or "127.0.0.1", address.port or 2375)
    else:
        return False
    try:
        with socket.socket(family) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(target)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


@dataclass
class Container:
    """A container with one published port, removed at the end of the ``with`` block.

    testcontainers' reaper removes it too when the test run is killed.
    """

    image: str
    inner_port: int
    environment: Mapping[str, str]
    command: Sequence[str] = ()

    def __enter__(self) -> Self:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(self.image).with_exposed_ports(self.inner_port)
        for name, value in self.environment.items():
            container = container.with_env(name, value)
        if self.command:
            container = container.with_command(list(self.command))
        self._container = container.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.stop()

    @property
    def host(self) -> str:
        """Where the port is published."""
        return str(self._container.get_container_host_ip())

    @property
    def port(self) -> int:
        """The published port."""
        return int(self._container.get_exposed_port(self.inner_port))

    def wait_until(self, is_ready: Callable[[], object], *, timeout_seconds: float = READY_SECONDS) -> None:
        """Wait until *is_ready* raises nothing.

        Raises:
            ServerFailed: Not in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                is_ready()
            except Exception as error:
                if time.monotonic() > deadline:
                    raise ServerFailed(f"container {self.image} not ready after {timeout_seconds:g} s") from error
                time.sleep(0.2)
            else:
                return
