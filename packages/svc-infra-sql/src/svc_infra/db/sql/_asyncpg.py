"""asyncpg's connection, sending what a transaction starts with in the round trip of its BEGIN."""

from __future__ import annotations

from typing import Any

import asyncpg


class ConnectionClosed(asyncpg.InterfaceError):  # type: ignore[misc]
    """What asyncpg raises as a bare `InterfaceError`, with the SQLSTATE by which it is recognised."""

    sqlstate = "08003"  # connection_does_not_exist


class PrologueConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg 0.32 types it by a metaclass
    """A connection whose next BEGIN is followed by `prologue`.

    asyncpg sends a BEGIN as a simple query, which may hold several statements.
    """

    __slots__ = ("prologue",)

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.prologue = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """Execute a command, see asyncpg."""
        if self.prologue and query.startswith("BEGIN"):
            query, self.prologue = f"{query} {self.prologue}", ""
        return str(await super().execute(query, *args, timeout=timeout))

    def _check_open(self) -> None:
        """Refuse to work on a connection that was lost, also while SQLAlchemy sets it up, when it wraps no errors."""
        if self.is_closed():
            raise ConnectionClosed("connection is closed")
