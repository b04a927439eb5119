"""The style sheet of the page and the policy that lets a browser use nothing else."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

__all__ = ["content_security_policy", "style_sheet"]


@cache
def style_sheet() -> str:
    """Return the style sheet, which stands in every page, so that none has to be fetched."""
    return files("svc_infra.api.fastapi.admin").joinpath("page.css").read_text("utf-8")


@cache
def content_security_policy() -> str:
    """Return the policy: no script, frame, font or connection; this very style sheet, and forms that lead back here."""
    digest = b64encode(sha256(style_sheet().encode()).digest()).decode()
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src 'sha256-{digest}'",
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )
