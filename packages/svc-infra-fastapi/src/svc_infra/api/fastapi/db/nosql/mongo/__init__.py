"""MongoDB in a FastAPI application: `add` opens the client and generates routes."""

from __future__ import annotations

try:
    import svc_infra.db.nosql.mongo.errors  # noqa: F401
except ModuleNotFoundError as _error:
    if not (_error.name or "").startswith("svc_infra."):
        raise
    raise ModuleNotFoundError(
        "MongoDB in a FastAPI application needs svc-infra-mongo: pip install 'svc-infra-fastapi[mongo]'",
        name=_error.name,
    ) from _error
