"""The server that answers on the port."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

__all__ = ["serve"]


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
