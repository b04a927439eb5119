"""The guide's service, with a hook that hashes the password."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from myapp.models import User
from svc_infra.db.sql.service import SqlService


def hash_password(password: str) -> str:
    """Salt and hash *password*; 2**14 rounds keep the tests quick."""
    salt = os.urandom(8)
    return f"{salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether *stored* is a hash of *password*."""
    salt, _, digest = stored.partition("$")
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex() == digest


class UserService(SqlService[User]):
    async def pre_create(self, data: dict[str, Any]) -> dict[str, Any]:
        # Hash password, validate email, etc.
        data["password_hash"] = hash_password(data.pop("password"))
        return data

    async def pre_update(self, data: dict[str, Any]) -> dict[str, Any]:
        # Audit logging, validation
        return data
