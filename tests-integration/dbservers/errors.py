"""Why a server is not there.

RuntimeError
  ServerMissing   this machine doesn't have what the server needs: a skip, or a failure where CI is set
  ServerFailed    it is there and didn't come up, or didn't answer: always a failure
"""

from __future__ import annotations

__all__ = ["ServerFailed", "ServerMissing"]


class ServerMissing(RuntimeError):
    """This machine doesn't have what the server needs; the message says what that is."""


class ServerFailed(RuntimeError):
    """A server that should be there doesn't run; the message ends with the last lines of its log."""
