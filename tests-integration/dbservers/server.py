"""What every server gives to a test, wherever it came from."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from dbservers.errors import ServerMissing
from dbservers.process import ServerProcess

__all__ = ["Origin", "Server", "new_name", "with_address", "with_database"]

Origin = Literal["environment", "container", "wheel", "system", "library"]


def new_name() -> str:
    """Return a name for a database that no other test has: 14 characters, safe in any SQL."""
    return f"t_{uuid.uuid4().hex[:12]}"


def with_database(url: str, database: str) -> str:
    """Return *url* with another database in its path."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def with_address(url: str, host: str, port: int) -> str:
    """Return *url* with another host and port, user and password kept."""
    parts: SplitResult = urlsplit(url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{userinfo}{at}{host}:{port}").geturl()


@dataclass
class Server:
    """A running server.

    Attributes:
        url: How an administrator connects.
        version: As the server names it.
        origin: Where it came from.
        process: The process, when this test run started it.
    """

    url: str
    version: str
    origin: Origin
    process: ServerProcess | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The host of `url`."""
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        """The port of `url`."""
        return urlsplit(self.url).port or 0

    def start(self) -> None:
        """Start it again on its port, with its data."""
        self._owned.start()

    def stop(self) -> None:
        """Stop it in good order."""
        self._owned.stop()

    def kill(self) -> None:
        """End it and all its processes by SIGKILL."""
        self._owned.kill()

    def freeze(self) -> None:
        """Stop it from running: connections stay open and silent until `thaw`. Backends of PostgreSQL run on."""
        self._owned.freeze()

    def thaw(self) -> None:
        """Let it run on."""
        self._owned.thaw()

    @property
    def _owned(self) -> ServerProcess:
        if self.process is None:
            raise ServerMissing(
                f"this server comes from the {self.origin}; only one that the test run started can be ended"
            )
        return self.process
