"""Notice a peer that has vanished: without its answer the kernel ends the connection, and the wait for it, in a minute.

A host that lost power, or a firewall that forgot the connection, sends nothing. Linux would ask after two hours
(tcp(7), tcp_keepalive_time) and resend unanswered data for a quarter of one (tcp_retries2).
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event

#: Seconds of silence before the peer is asked, seconds between two questions, and how many go unanswered.
IDLE_SECONDS, INTERVAL_SECONDS, QUESTIONS = 30, 10, 3
#: Milliseconds that sent data may stay unacknowledged.
UNACKNOWLEDGED_MS = 60_000

_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", IDLE_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", INTERVAL_SECONDS),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", QUESTIONS),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
)


def keep_connections_alive(engine: Engine) -> None:
    """Set the options on the socket of each new connection whose driver lets it be found."""

    def connect(dbapi_connection: Any, _record: object) -> None:
        number = _file_number(getattr(dbapi_connection, "driver_connection", None))
        if number is None:
            return
        # A duplicate: its options are those of the driver's socket, and closing it does not close that.
        with suppress(OSError), socket.socket(fileno=socket.dup(number)) as duplicate:
            if duplicate.family not in (socket.AF_INET, socket.AF_INET6):
                return
            for level, name, value in _OPTIONS:
                option = getattr(socket, name, None)  # not every system has all of them
                if option is not None:
                    duplicate.setsockopt(level, option, value)

    event.listen(engine, "connect", connect)


def _file_number(driver: Any) -> int | None:
    """Find the socket of asyncpg's, psycopg's, asyncmy's or aiomysql's connection."""
    with suppress(Exception):
        if hasattr(driver, "fileno"):
            return int(driver.fileno())
        transport = getattr(driver, "_transport", None) or getattr(driver, "_writer", None)
        found = transport.get_extra_info("socket") if transport is not None else None
        return None if found is None else int(found.fileno())
    return None
