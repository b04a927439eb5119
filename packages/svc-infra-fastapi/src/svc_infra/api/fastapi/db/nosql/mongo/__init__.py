"""MongoDB in a FastAPI application: `add` opens the client and generates routes."""

from __future__ import annotations

try:
    import svc_infra.db.nosql.mongo.errors  # noqa: F401
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("svc_infra."):
        raise
    raise ModuleNotFoundError(
        "MongoDB in a FastAPI application needs svc-infra-mongo: pip install 'svc-infra-fastapi[mongo]'",
        name=error.name,
    ) from error
