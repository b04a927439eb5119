"""FastAPI on svc-infra: lifespan, session dependency, generated CRUD routes and health routes."""

from __future__ import annotations
