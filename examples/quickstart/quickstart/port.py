"""The port, taken before anything else is done, so that a wrong one ends the program before it writes anything."""

from __future__ import annotations

import socket

__all__ = ["PortError", "bind", "parse_port"]


class PortError(Exception):
    """The port is no port, or can't be had."""


def parse_port(text: str) -> int:
    """Return the port that *text* names.

    Raises:
        PortError: It is not a whole number from 1 to 65535.
    """
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535:
        return int(text)
    raise PortError(f"PORT must be a whole number from 1 to 65535, not {text!r}")


def bind(host: str, port: int) -> socket.socket:
    """Take *port* on the address *host* without answering on it yet.

    Raises:
        PortError: Another program has the port, this user may not take it, or the address is not this machine's.
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
