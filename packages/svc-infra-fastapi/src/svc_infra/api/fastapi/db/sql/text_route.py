"""Routes to records whose id is a text, which may hold a slash: `/airports/N1%2F2` is the record "N1/2".

A server decodes the path before it is matched, and of a decoded slash nobody can tell what it was. So a path that holds
an encoded one is matched as it was sent.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from starlette.routing import Match
from starlette.types import Scope

from svc_infra.api.fastapi.db.sql.route import ResourceRoute

__all__ = ["TextIdRoute"]

_SLASH: Final = "\ud800"
"""Stands for an encoded slash while a path is matched; no decoded text holds it, as it is half of a character."""


class TextIdRoute(ResourceRoute):
    """A `ResourceRoute` whose path parameters may hold slashes, sent as `%2F`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the route serves a request, by the path as it was sent where that makes a difference."""
        sent: bytes = scope.get("raw_path") or b""
        if b"%2" not in sent:
            return super().matches(scope)
        kept = unquote(sent.decode("latin-1").replace("%2F", _SLASH).replace("%2f", _SLASH))
        # What was put in front of the application may have changed the path and left the one that was sent.
        if kept.replace(_SLASH, "/") != scope["path"]:
            return super().matches(scope)
        match, found = super().matches({**scope, "path": kept})
        if match is not Match.NONE:
            parameters: dict[str, object] = found["path_params"]
            found["path_params"] = {
                name: value.replace(_SLASH, "/") if isinstance(value, str) else value
                for name, value in parameters.items()
            }
        return match, found
