"""The socket, taken before anything else is done, and the server that answers on it."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

__all__ = ["PortError", "bind", "parse_port", "serve"]


class PortError(Exception):
    """The port is no port, or another program has it."""


def parse_port(text: str) -> int:
    """Return the port that *text* names.

    Raises:
        PortError: It is not a whole number from 1 to 65535.
    """
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535:
        return int(text)
    raise PortError(f"PORT must be a whole number from 1 to 65535, not {text!r}")


def bind(host: str, port: int) -> socket.socket:
    """Take *port* on the address *host*, so that a port in use ends the program before it writes anything.

    Raises:
        PortError: Another program has the port, or this user may not take it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortError(f"port {port} on {host} can't be used: {error.strerror}; choose another, PORT=8001") from error
    return listener


class _AnnouncingServer(uvicorn.Server):
    """A server that says so when it answers."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._announcement, flush=True)


def serve(app: FastAPI, listener: socket.socket, announcement: str) -> bool:
    """Answer requests on *listener* until Ctrl-C or SIGTERM; requests in flight get 5 s to end.

    Args:
        app: The service.
        listener: A bound socket.
        announcement: What to print once requests are answered.

    Returns:
        Whether the service came up.
    """
    config = uvicorn.Config(app, timeout_graceful_shutdown=5)
    # Of what uvicorn says, only requests and errors are news to the reader.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = _AnnouncingServer(config, announcement)
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once it has shut down
        server.run(sockets=[listener])
    return server.started
