"""Runs an operation once per idempotency key, and gives its answer again to the same request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import pydantic_core
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from fastapi import Depends
from svc_infra.api.fastapi.db.sql.body import read_body, replayed
from svc_infra.api.fastapi.db.sql.idempotency import IdempotencyKeys, StoredAnswer, try_lock
from svc_infra.api.fastapi.db.sql.route import Call, Operation
from svc_infra.api.fastapi.problems import Problem, ProblemError
from svc_infra.db.sql.errors import IntegrityViolation, LockTimeout, RetryableError
from svc_infra.db.sql.translate import translate

__all__ = ["Idempotent", "header_parameter", "principal_guard"]

HEADER: Final = "Idempotency-Key"

# A Structured Field string (RFC 9651, section 3.3.3), as the draft has it, or the bare key, as most clients send it.
_KEY: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"|([!#-~]{1,255})')
_STATE: Final = "svc_infra_principal"

_MISSING: Final = Problem("idempotency-key-missing", 400, f"This request needs the header {HEADER}.")
_INVALID: Final = Problem(
    "idempotency-key-invalid", 400, f"{HEADER} has to be one text of 1 to 255 visible ASCII characters."
)
_REUSED: Final = Problem("idempotency-key-reused", 422, f"This {HEADER} came with another request before.")
_IN_USE: Final = Problem(
    "idempotency-key-in-use",
    409,
    f"The first request with this {HEADER} is still carried out. Try again.",
    headers={"Retry-After": "1"},
)


class Idempotent:
    """An operation that is carried out once per key.

    Args:
        operation: What to do; it has to write on the session of the call alone.
        keys: Where keys are kept.
        resource: Prefix of the resource.
        action: What is done, so that the keys of two actions do not meet.
        max_body_bytes: The largest body.
    """

    def __init__(
        self, operation: Operation, keys: IdempotencyKeys, *, resource: str, action: str, max_body_bytes: int
    ) -> None:
        self.operation = operation
        self._keys = keys
        self._resource = resource
        self._action = action
        self._max_body_bytes = max_body_bytes
        # Requests of this process that still run: a duplicate is answered without waiting for a connection.
        self._running: set[str] = set()

    async def __call__(self, call: Call) -> Response:
        """Carry the request out, or give the answer that its key has already."""
        key = _key_of(call.request)
        if key is None:
            if self._keys.is_required:
                raise ProblemError(_MISSING)
            return await self.operation(call)
        body = await read_body(call.request, self._max_body_bytes)
        principal = getattr(call.request.state, _STATE, None)
        key_id = _hash([self._resource, self._action, call.tenant, principal, key])
        scope = call.request.scope
        fingerprint = _hash([scope["method"], scope["path"], scope["query_string"].decode("latin-1")], body)
        if key_id in self._running:
            raise ProblemError(_IN_USE)
        self._running.add(key_id)
        try:
            async with call.open_session() as session:
                stored = await self._claimed(session, key_id, fingerprint)
                if stored is not None:
                    return self._replayed(stored, fingerprint)
                answer = await self.operation(_on(call, session, body))
                kept = StoredAnswer(fingerprint, answer.status_code, _headers_of(answer), bytes(answer.body))
                await self._keys.keep(session, key_id, kept)
            return answer
        finally:
            self._running.discard(key_id)

    async def _claimed(self, session: AsyncSession, key_id: str, fingerprint: str) -> StoredAnswer | None:
        """Take the key for this request, or return what is kept of it.

        Raises:
            ProblemError: 409 when another request is about to take it.
        """
        try:
            if not await try_lock(session, key_id, session.get_bind().dialect.name):
                raise ProblemError(_IN_USE)
            stored = await self._keys.find(session, key_id)
            if stored is None:
                await self._keys.claim(session, key_id, self._resource, fingerprint)
        except DBAPIError as error:
            if isinstance(translate(error), IntegrityViolation | LockTimeout | RetryableError):
                raise ProblemError(_IN_USE) from error
            raise
        return stored

    def _replayed(self, stored: StoredAnswer, fingerprint: str) -> Response:
        if stored.fingerprint != fingerprint:
            raise ProblemError(_REUSED)
        if stored.status is None:
            raise ProblemError(_IN_USE)
        return Response(stored.body, stored.status, {**stored.headers, "Idempotent-Replayed": "true"})


def _key_of(request: Request) -> str | None:
    given = request.headers.getlist(HEADER)
    if not given:
        return None
    found = _KEY.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None:
        raise ProblemError(_INVALID)
    return found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1])


def _hash(parts: list[object], data: bytes = b"") -> str:
    texts = [None if part is None else str(part) for part in parts]
    return sha256(pydantic_core.to_json(texts) + data).hexdigest()


def _headers_of(answer: Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in {"content-length", "date"}}


def _on(call: Call, session: AsyncSession, body: bytes) -> Call:
    """Return the call with its body to be read again, on the session that keeps the answer too."""
    return replace(call, request=replayed(call.request, body), session=session)


def principal_guard(principal: Callable[..., object]) -> Callable[..., object]:
    """Return a dependency that resolves *principal* and keeps it for the operation."""

    async def keep_principal(request: Request, found: object = Depends(principal)) -> None:
        setattr(request.state, _STATE, found)

    return keep_principal


def header_parameter(keys: IdempotencyKeys) -> dict[str, Any]:
    """Return the OpenAPI parameter object of the header."""
    return {
        "name": HEADER,
        "in": "header",
        "required": keys.is_required,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
        "description": "The same request with the same key is carried out once and gets the same answer again.",
    }
