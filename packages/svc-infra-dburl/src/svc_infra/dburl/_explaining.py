"""Says in lines of text how a URL was found and what was made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svc_infra.dburl.redaction import redact

if TYPE_CHECKING:
    from svc_infra.dburl.resolved import ResolvedUrl

__all__ = ["explain"]


def explain(resolved: ResolvedUrl) -> str:
    """The places in order, then the result, without secrets."""
    lines = ["looked at:"]
    width = max(len(look.place) for look in resolved._origin.looks)
    lines += [f"  {look.place:<{width}}  {look.found}" for look in resolved._origin.looks]
    lines += [
        "result:",
        f"  source        {resolved.source}",
        f"  url           {resolved.url}",
        f"  driver        {resolved.driver} ({resolved.mode})",
    ]
    lines += [f"  connect_args  {name}={value!r}" for name, value in resolved.connect_args.items()]
    lines += [f"  note          {note}" for note in resolved.notes]
    return redact("\n".join(lines))
